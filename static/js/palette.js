/* The command palette: the search page's results in a dialog, as you type. Without this file the field in the header leads to that page. */
"use strict";
(function () {
  var R = window.Remit, field = R.one("#jump"), box = R.one("#palette");
  if (!field || !box) return;
  var input = R.one("input", box), list = R.one("[role=listbox]", box), note = R.one("[role=status]", box), at = -1, turn = 0, timer = 0, chosen = false;

  function options() { return R.all("[role=option]", list); }
  function mark(i) {
    var found = options();
    at = found.length ? (i + found.length) % found.length : -1;
    found.forEach(function (o, n) { o.setAttribute("aria-selected", String(n === at)); });
    if (at < 0) { input.removeAttribute("aria-activedescendant"); return; }
    input.setAttribute("aria-activedescendant", found[at].id);
    found[at].scrollIntoView({ block: "nearest" });
  }
  function ask() {
    var mine = ++turn, words = input.value.trim();
    return fetch(R.root + "/go?q=" + encodeURIComponent(words), { headers: { "HX-Request": "true", "HX-Target": "options" } }).then(function (answer) {
      if (!answer.ok) throw new Error(answer.status);
      return answer.text();
    }).then(function (html) {
      if (mine !== turn) return;
      list.innerHTML = html; chosen = false;
      mark(0);
      var n = options().length;
      note.textContent = n ? n + (n === 1 ? " result" : " results") : words ? "Nothing here is called that" : "";
      input.setAttribute("aria-expanded", String(n > 0));
    }).catch(function () { if (mine === turn) note.textContent = "Searching failed. Press Enter for the search page."; });
  }
  function open(words) {
    if (!box.open) box.showModal();
    input.value = words || ""; list.replaceChildren(); at = -1;
    input.focus();
    ask();
  }
  function take(option) { var address = option.dataset.href; box.close(); location = address; }
  input.addEventListener("input", function () { turn++; clearTimeout(timer); timer = setTimeout(ask, 120); });
  input.addEventListener("keydown", function (event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { mark(at + (event.key === "ArrowDown" ? 1 : -1)); chosen = true; event.preventDefault(); }
    if (event.key !== "Enter" || event.repeat) return;
    event.preventDefault();
    clearTimeout(timer);
    // What was typed a moment ago is asked before it is taken.
    var words = input.value.trim();
    (chosen ? Promise.resolve() : ask()).then(function () { var o = options()[at]; if (o) take(o); else if (words) location = R.root + "/go?q=" + encodeURIComponent(words); });
  });
  list.addEventListener("click", function (event) { var o = event.target.closest("[role=option]"); if (o) take(o); });
  box.addEventListener("click", function (event) { if (event.target === box) box.close(); });
  field.addEventListener("pointerdown", function (event) { event.preventDefault(); open(field.value); });
  R.palette = { open: open };
})();

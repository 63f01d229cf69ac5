/* What every page shares: saying things, copying, dialogs, countdowns, local times, forms that are sent once. Links and forms do all of
   this without it. */
"use strict";
window.Remit = (function () {
  document.documentElement.classList.add("js");
  var body = document.body, root = body.dataset.root || "";
  function one(selector, within) { return (within || document).querySelector(selector); }
  function all(selector, within) { return Array.from((within || document).querySelectorAll(selector)); }
  function make(tag, name, text) { var e = document.createElement(tag); if (name) e.className = name; if (text) e.textContent = text; return e; }
  function typing(e) { return !!e && (/^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName) || e.isContentEditable); }

  // One polite voice for people who do not see the page; at most one message in five seconds.
  var spoke = 0, next = 0;
  function speak(text) {
    var voice = one("#said"), rest = spoke + 5000 - performance.now();
    clearTimeout(next);
    if (!voice) return;
    if (spoke && rest > 0) { next = setTimeout(speak, rest, text); return; }
    spoke = performance.now(); voice.textContent = text;
  }
  // Toasts answer my own actions and nothing else.
  function toast(text) {
    var shelf = one("#toasts"), note = make("p", "toast", text);
    if (!shelf) return;
    shelf.append(note);
    setTimeout(function () { note.remove(); }, 6000);
  }
  function copy(text, what) {
    var done = function () { toast(what + " copied"); }, lost = function () { toast("The browser does not let this page copy"); };
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text).then(done, lost);
    lost();
  }

  // A link with data-dialog opens in a dialog: the named part of its page, or the fragment at data-from. Forms in it that only look stay in it.
  var panel = null, opener = null;
  function show(address, part, name, alone) {
    return fetch(address, alone ? { headers: { "HX-Request": "true" } } : {}).then(function (answer) {
      if (!answer.ok) throw new Error(answer.status);
      return answer.text();
    }).then(function (html) {
      var page = new DOMParser().parseFromString(html, "text/html"), found = one(part, page) || one("main", page), title;
      if (!found) { found = make("section", "in"); found.append(make("h2", "", name), ...page.body.childNodes); }
      if (!panel) { panel = make("dialog", "panel card"); body.append(panel); panel.addEventListener("close", function () { if (opener) opener.focus(); }); }
      title = one("h1,h2", found);
      panel.replaceChildren(head(title), found);
      panel.setAttribute("aria-label", title ? title.textContent : name || page.title);
      all("form", found).forEach(function (form) {
        if (form.method !== "get") return;
        form.addEventListener("submit", function (event) {
          event.preventDefault();
          show(form.action + "?" + new URLSearchParams(new FormData(form)), part, name, alone).then(function () { (one(".btn.no,.btn.pri", panel) || panel).focus(); });
        });
      });
      if (window.htmx) window.htmx.process(found);
      if (!panel.open) panel.showModal();
      fresh(found);
    });
  }
  // What the dialog is about stands beside the button that closes it.
  function head(title) {
    var bar = make("div", "row head"), button = make("button", "btn ghost sp shut", "Close");
    button.type = "button"; button.dataset.shut = "";
    bar.append(...(title ? [title, button] : [button]));
    return bar;
  }

  // Countdowns by the server's clock: what was left when the page was made, less the time since. Times in the reader's zone, named.
  var made = performance.now();
  function words(s) { return s >= 3600 ? Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min" : Math.floor(s / 60) + ":" + String(s % 60).padStart(2, "0"); }
  function tick() {
    all("[data-left]").forEach(function (e) {
      var rest = Math.max(0, Math.round(e.dataset.left - (performance.now() - (e.dataset.made || made)) / 1000)), text = rest ? words(rest) + " left" : "expired";
      if (e.textContent !== text) e.textContent = text;
    });
  }
  var zone = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  var day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  function fresh(within) {
    all("[data-left]", within).forEach(function (e) { e.dataset.made = performance.now(); });
    all("time[datetime]:not([data-local])", within).forEach(function (e) { e.dataset.local = "1"; e.textContent = ("day" in e.dataset ? day : zone).format(new Date(e.dateTime)); });
    tick(); arm();
  }
  setInterval(tick, 1000);
  document.addEventListener("htmx:afterSwap", function (event) { fresh(event.detail.target || document); });

  // What would be approved must have been on screen for 0.7 s; saying no does not wait.
  var armed = false, plan = "", turn = 0;
  function arm() {
    var shown = all("form [name=plan]").map(function (e) { return e.value; }).join(), now = shown && location.pathname + shown, mine;
    if (now !== plan) {
      plan = now; armed = false; mine = ++turn;
      if (plan) requestAnimationFrame(function () { requestAnimationFrame(function () { setTimeout(function () { if (mine === turn) { armed = true; mark(); } }, 700); }); });
    }
    mark();
  }
  function mark() { all("button[value=APPROVE]").forEach(function (b) { if (armed) b.removeAttribute("aria-disabled"); else b.setAttribute("aria-disabled", "true"); }); }
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[value=APPROVE]");
    if (button && !armed) { event.preventDefault(); event.stopPropagation(); toast("Read it first: this button works in a moment"); }
  }, true);

  document.addEventListener("click", function (event) {
    var it = event.target.closest("[data-copy],[data-dialog],[data-shut]");
    if (!it) return;
    if (it.dataset.copy !== undefined) { copy(it.dataset.copy || it.parentNode.querySelector("pre,code").textContent, it.dataset.what || it.dataset.copy); event.preventDefault(); return; }
    if (it.dataset.shut !== undefined) { it.closest("dialog").close(); return; }
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (it.pathname === location.pathname) return;
    event.preventDefault(); opener = it;
    show(it.dataset.from || it.href, it.dataset.dialog || "main", it.textContent.trim(), !!it.dataset.from).catch(function () { location = it.href; });
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post") { form.dataset.sent = "1"; setTimeout(function () { delete form.dataset.sent; }, 4000); }
  });
  all("form[data-once]").forEach(function (form) { form.requestSubmit(); });
  // A menu closes when it is left.
  document.addEventListener("click", function (event) { all("details.me[open]").forEach(function (d) { if (!d.contains(event.target)) d.open = false; }); });
  fresh(document);
  return { one: one, all: all, make: make, typing: typing, speak: speak, toast: toast, copy: copy, fresh: fresh, root: root };
})();

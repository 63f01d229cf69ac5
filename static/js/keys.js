/* Keys: one registry, and the help is made from it. Single letters are off while typing and when switched off (WCAG 2.1.4). A held key
   never repeats. Each has a visible control that does the same. */
"use strict";
(function () {
  var R = window.Remit, body = document.body, on = body.dataset.keys !== "off", prefix = "", forget = 0, registry = [];

  // Names a key or two ("g o"), what it does in words, and when it is there.
  function key(combination, words, act, when) { registry.push({ key: combination, words: words, act: act, when: when || function () { return true; } }); }
  function there() {
    var marked = R.all("[data-key]").map(function (e) {
      return { key: e.dataset.key, words: e.dataset.says || e.textContent.replace(/\s+/g, " ").trim().replace(new RegExp(" ?" + e.dataset.key + "$", "i"), ""), act: function () { e.click(); } };
    });
    return registry.filter(function (k) { return k.when(); }).concat(marked);
  }
  function single(k) { return !/^(Escape|Enter|Space|Ctrl )/.test(k.key); }

  // Lists -------------------------------------------------------------------------------------------------------------------------------
  function links() { return R.all(".list .item, main table.tbl tbody tr, main ul.feed > li, main ul.todo > li").map(function (r) { return r.matches("a") ? r : R.one("a[href]", r); }).filter(function (a, i, found) { return a && a.offsetParent && found.indexOf(a) === i; }); }
  function at(found) { var row = document.activeElement && document.activeElement.closest("tr,li"), i = found.findIndex(function (a) { return a === document.activeElement || row && row.contains(a); }); return i < 0 ? found.findIndex(function (a) { return a.hasAttribute("aria-current"); }) : i; }
  function move(step) {
    var found = links(), here = at(found), to = found[here < 0 ? (step > 0 ? 0 : found.length - 1) : here + step];
    if (!to) return;
    if (to.matches(".list .item") && R.one(".detail")) { to.click(); return; }
    to.focus(); to.scrollIntoView({ block: "nearest" });
    if (side && !side.hidden) peek(to);
  }

  // Peek: the row's page beside the list, to read; its controls are on the page itself.
  var side = null, from = null;
  function peek(link) {
    from = link;
    return fetch(link.href).then(function (answer) { if (!answer.ok) throw new Error(answer.status); return answer.text(); }).then(function (html) {
      if (from !== link) return;
      var page = new DOMParser().parseFromString(html, "text/html"), found = R.one("#detail .body", page) || R.one("main", page), bar, open, shut;
      R.all("form,.bar,.banner,dialog,details.deny,nav", found).forEach(function (e) { e.remove(); });
      R.all("[id],[aria-labelledby],[data-topics],[data-key],[aria-label]", found).concat(found).forEach(function (e) { ["id", "aria-labelledby", "data-topics", "data-key", "data-calm"].forEach(function (a) { e.removeAttribute(a); }); if (e.matches("section,header")) e.removeAttribute("aria-label"); });
      if (!side) { side = R.make("aside", "peek"); side.setAttribute("aria-label", "Peek"); body.append(side); }
      bar = R.make("div", "row"); open = R.make("a", "btn", "Open"); open.href = link.href;
      shut = R.make("button", "btn ghost sp", "Close"); shut.type = "button"; shut.addEventListener("click", unpeek);
      bar.append(open, shut);
      var box = R.make("div", "peeked"); box.tabIndex = 0; box.setAttribute("role", "group"); box.setAttribute("aria-label", page.title); box.append.apply(box, Array.from(found.childNodes));
      side.replaceChildren(bar, box); side.hidden = false;
      R.fresh(side);
    }).catch(function () { R.toast("This row cannot be shown beside the list"); });
  }
  function unpeek() { if (!side || side.hidden) return false; side.hidden = true; if (from && from.isConnected) from.focus(); return true; }
  function row() { var a = document.activeElement; return a && a.matches("a[href]") && links().includes(a) ? a : null; }

  // The filtered list that a page was opened from: remembered in this tab, walked with [ and ].
  var walk = R.one("#walk"), section = (location.pathname.slice(R.root.length).split("/")[1] || ""), slot = "remit:list:" + R.root + "/" + section;
  var own = location.pathname, is_list = own === R.root + "/" + section;
  function remember() {
    var found = links().map(function (a) { return a.getAttribute("href"); }).filter(function (h) { return new URL(h, location).pathname.startsWith(R.root + "/" + section + "/"); });
    if (found.length) sessionStorage.setItem(slot, JSON.stringify({ from: location.pathname + location.search, items: found.slice(0, 200) }));
  }
  function neighbours() {
    var list = null, i, before = R.one("main header a[rel=prev]"), after = R.one("main header a[rel=next]");
    if (before || after) return { shown: true, before: before && before.href, after: after && after.href };
    try { list = JSON.parse(sessionStorage.getItem(slot)); } catch (e) { sessionStorage.removeItem(slot); }
    if (!list || is_list) return null;
    i = list.items.findIndex(function (h) { return new URL(h, location).pathname === own; });
    return i < 0 ? null : { from: list.from, at: i, many: list.items.length, before: list.items[i - 1], after: list.items[i + 1] };
  }
  if (is_list || R.one(".list .item")) window.addEventListener("pagehide", remember);
  var near = section && !R.one(".list .item") ? neighbours() : null;
  if (near && walk && !near.shown) {
    R.all("a", walk).forEach(function (a, i) { var to = i ? near.after : near.before; if (to) a.href = to; else { a.removeAttribute("href"); a.setAttribute("aria-disabled", "true"); } });
    R.one("span", walk).textContent = near.at + 1 + " of " + near.many;
    walk.hidden = false;
  }
  function go(to) { if (to) location = to; else R.toast("That was the end of the list"); }

  // The map -----------------------------------------------------------------------------------------------------------------------------
  key("/", "Search, or jump to anything", function () { R.palette.open(""); }, function () { return !!R.palette; });
  key("Ctrl K", "Search, also while typing", function () { R.palette.open(""); }, function () { return !!R.palette; });
  key("?", "These keys", help);
  R.all("a[data-go]").forEach(function (a) { key("g " + a.dataset.go, "Go to " + R.one("span", a).firstChild.textContent, function () { R.one("a[data-go=" + a.dataset.go + "]").click(); }); });
  key("j", "Next row", function () { move(1); }, function () { return links().length > 0; });
  key("k", "Previous row", function () { move(-1); }, function () { return links().length > 0; });
  key("Enter", "Open the row", null, function () { return links().length > 0; });
  key("Space", "Peek: the row beside the list", function () { var a = row(); if (!a) return false; if (side && !side.hidden && from === a) unpeek(); else peek(a); }, function () { return links().length > 0 && !R.one(".list .item"); });
  key("Shift A", "Decide identical requests together: the folded row", function () {
    var found = links(), a = found[at(found)];
    if (a && a.dataset.together !== undefined) location = a.href; else R.toast("Go to a folded row first, with J and K");
  }, function () { return !!R.one(".item[data-together]"); });
  key("[", "Previous in the list it was opened from", function () { go(near.before); }, function () { return !!near; });
  key("]", "Next in the list it was opened from", function () { go(near.after); }, function () { return !!near; });
  key(".", "Copy the link", function () { var a = row(); R.copy(a ? a.href : location.href, "Link"); });
  key("n", "Show what is new in the list", function () { R.takeNew(); }, function () { return !!R.takeNew && !!R.one("[data-calm],.list"); });
  key("Shift P", "Pause or go on with live updates", function () { R.pause(); }, function () { return !!R.pause; });
  key("Escape", "Close what is open", function () {
    if (unpeek()) return;
    R.all("details.me[open],details.deny[open],details.act[open]").forEach(function (d) { var inside = d.contains(document.activeElement); d.open = false; if (inside) R.one("summary", d).focus(); });
  });

  function help() {
    var box = R.one("#help"), table = R.one("tbody", box);
    table.replaceChildren.apply(table, there().map(function (k) {
      var line = R.make("tr"), cell = R.make("td");
      k.key.split(" ").forEach(function (part) { cell.append(R.make("kbd", "", part.length === 1 ? part.toUpperCase() : part), " "); });
      line.dataset.for = k.key;
      line.append(cell, R.make("td", "", k.words));
      return line;
    }));
    R.one("[data-off]", box).hidden = on;
    box.showModal();
  }
  R.all("[data-help]").forEach(function (b) { b.hidden = false; b.addEventListener("click", help); });

  document.addEventListener("keydown", function (event) {
    var name = event.key === " " ? "Space" : event.key;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && name.toLowerCase() === "k" && R.palette) { event.preventDefault(); if (!event.repeat) R.palette.open(""); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || R.one("dialog[open]")) return;
    if (R.typing(event.target) && name !== "Escape") return;
    if (event.shiftKey && /^[A-Z]$/i.test(name)) name = "Shift " + name.toUpperCase();
    if (prefix) name = "g " + name;
    else if (name === "g" && on && there().some(function (k) { return k.key[1] === " " && k.key[0] === "g"; })) { prefix = "g"; clearTimeout(forget); forget = setTimeout(function () { prefix = ""; }, 1500); return; }
    prefix = "";
    var hit = there().find(function (k) { return k.key === name && k.act; });
    if (!hit || (!on && single(hit))) return;
    if (name === "Space" && !row()) return;
    event.preventDefault();
    hit.act();
  });
  R.keys = function () { return there().map(function (k) { return k.key; }); };
})();

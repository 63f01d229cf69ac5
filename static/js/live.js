/* Live: a signal says that a topic changed, and the page asks again at its ordinary address. Never stale in silence: the server repeats how
   many signals each topic has had; a number that does not fit, a return to the tab and a new connection are looked into before it says Live.
   An element names the topics it follows (data-topics), its address (data-get), and, where that is a page, which part of it (data-select). */
"use strict";
(function () {
  var R = window.Remit, body = document.body, pill = R.one("#live");
  if (!pill || !body.dataset.live) return;
  var GAP = 100, SHARE = 2, SILENCE = 60000, POLL = 5000, GIVE_UP = 5000;
  var WORDS = { live: "Live", again: "Reconnecting", poll: "Updating every 5 s", paused: "Paused", out: "Signed out" };
  var still = !!R.one("[data-still]");  // a page that must not move under its reader's eyes: what is new is counted, and waits behind its button
  var paused = false, socket = null, counts = null, heard = 0, wait = 500, retry = 0, poll = 0, state = "";

  function say(name) {
    if (state === name) return;
    if (state && (name !== "live" || state === "again" || state === "paused")) R.speak(WORDS[name]);
    state = name;
    pill.dataset.state = still && name === "live" ? "paused" : name;
    pill.lastElementChild.textContent = still && name === "live" ? WORDS.paused : WORDS[name];
    pill.title = still && name === "live" ? "This page stands still: load what is new" : name === "paused" ? "Paused by you: go on" : name === "live" ? "Pause live updates" : WORDS[name];
    pill.setAttribute("aria-label", pill.lastElementChild.textContent);
    pill.setAttribute("aria-pressed", String(name === "paused"));
  }

  // Looking again ----------------------------------------------------------------------------------------------------------------------
  function topicsOf(e) { return e.dataset.topics.split(" "); }
  function followers(topics) {
    return R.all("[data-topics]").filter(function (e) { return !topics || topicsOf(e).some(function (t) { return topics.has(t); }); });
  }
  function plain(html) { return html.replace(/name="csrfmiddlewaretoken" value="\w+"/g, "").replace(/data-(left|here)="[^"]+">[^<]*/g, ""); }
  function calm(e) {
    var hovers = matchMedia("(hover:hover)").matches && e.matches(":hover");
    return e.matches("[data-calm],.list") && (hovers || e.contains(document.activeElement)) || e.contains(document.activeElement) && R.typing(document.activeElement) ||
      R.all("input:not([type=hidden]),textarea", e).some(function (i) { return /^(checkbox|radio)$/.test(i.type) ? i.checked !== i.defaultChecked : i.value !== i.defaultValue; });
  }
  // One request at a time for an element; what changes meanwhile is looked at after it.
  function refresh(e) {
    if (e.busy) { e.again = true; return e.busy; }
    var address = e.dataset.get || location.href;
    e.busy = fetch(address, { headers: { "HX-Request": "true", "HX-Target": e.id, "HX-Current-URL": location.href } }).then(function (answer) {
      if (answer.status === 401 || answer.redirected) { leave(); throw new Error("out"); }
      if (!answer.ok && answer.status !== 404) throw new Error(answer.status);
      return answer.ok ? answer.text() : null;
    }).then(function (html) {
      var part = html !== null && e.dataset.select;
      if (part) { var found = new DOMParser().parseFromString(html, "text/html").querySelector(part); html = found && found.innerHTML; }
      if (html === null || !e.isConnected || paused) return;
      if (plain(html) === e.shown) { held.delete(e); count(); } else if (calm(e)) hold(e, html); else put(e, html);
    }).finally(function () { e.busy = null; }).then(function () { if (e.again) { e.again = false; return refresh(e); } });
    return e.busy;
  }
  function put(e, html) {
    var open = R.all("details[open]", e).map(nameOf), focus = e.contains(document.activeElement) ? nameOf(document.activeElement) : "";
    var scrolled = R.all(".scroll,.inspector", e).map(function (s) { return [s.scrollTop, s.scrollLeft]; });
    held.delete(e); e.shown = plain(html);
    e.innerHTML = html;
    if (window.htmx) window.htmx.process(e);
    R.all("details", e).forEach(function (d) { if (open.includes(nameOf(d))) d.open = true; });
    R.all(".scroll,.inspector", e).forEach(function (s, i) { if (scrolled[i]) { s.scrollTop = scrolled[i][0]; s.scrollLeft = scrolled[i][1]; } });
    if (focus) { var same = R.all("a,button,summary,input", e).find(function (f) { return nameOf(f) === focus; }); if (same) same.focus({ preventScroll: true }); }
    R.fresh(e); count();
    e.dispatchEvent(new CustomEvent("remit:put", { bubbles: true }));
  }
  function nameOf(e) { return e.tagName + (e.id || e.getAttribute("href") || e.name || (R.one("summary", e) || e).textContent.replace(/\d+/g, "")); }

  // Nothing moves under the pointer: what is new waits until the list is left, or the pill is pressed --------------------------------------
  var chip = R.one("#new"), held = new Map();
  function keys(within) { return R.all("tr,li", within).map(function (r) { var a = R.one("a[href]", r); return a && a.getAttribute("href").split("?")[0]; }).filter(Boolean); }
  function hold(e, html) {
    var box = document.createElement("template"), present = keys(e);
    box.innerHTML = html;
    held.set(e, { html: html, more: new Set(keys(box.content).filter(function (k) { return !present.includes(k); })).size });
    count();
  }
  function count() {
    var more = 0, text;
    held.forEach(function (one) { more += one.more; });
    text = more ? more + " new" : "Changed";
    chip.hidden = !held.size;
    if (held.size && chip.textContent !== text) { chip.textContent = text; R.speak(more ? text + " in the list" : "The page has changed"); }
  }
  function release(asked) {
    held.forEach(function (one, e) { if (!e.isConnected) held.delete(e); else if (asked === true || !calm(e)) put(e, one.html); });
  }
  chip.addEventListener("click", function () {
    var first = held.keys().next().value;
    release(true);
    if (first) { first.tabIndex = -1; first.focus({ preventScroll: true }); first.scrollIntoView({ block: "nearest" }); }
  });
  ["pointerout", "focusout"].forEach(function (name) { document.addEventListener(name, function () { setTimeout(release, 0); }); });

  // Signals of the same moment are one look: the first at once, the rest together after it. A server that is slow is asked less often: a page
  // rests for as long as its last look took.
  var due = null, timer = 0, rests = 0, looking = false, missed = false;
  function look(topics) {
    if (paused) return Promise.resolve();
    return Promise.all(followers(topics).map(refresh)).then(function () { missed = false; }, function () { missed = true; });
  }
  function changed(topic) {
    if (paused) return;
    (due = due || new Set()).add(topic);
    wake();
  }
  function wake() { if (due && !timer && !looking) timer = setTimeout(flush, Math.max(0, rests - performance.now())); }
  function flush() {
    var topics = due, at = performance.now();
    timer = 0; due = null; looking = true;
    look(topics).then(function () { looking = false; rests = at + Math.max(GAP, SHARE * (performance.now() - at)); steady(); wake(); });
  }
  function steady() {
    if (paused || state === "out") return;
    var open = socket && socket.readyState === 1;
    say(missed ? "again" : open ? "live" : poll ? "poll" : "again");
    if (missed && !poll) setTimeout(function () { look(null).then(steady); }, POLL);
  }

  // The socket -------------------------------------------------------------------------------------------------------------------------
  function connect() {
    var scheme = location.protocol === "https:" ? "wss://" : "ws://", mine;
    clearTimeout(retry);
    mine = socket = new WebSocket(scheme + location.host + "/live/?workspace=" + encodeURIComponent(body.dataset.live) + "&organisation=" + encodeURIComponent(body.dataset.organisation));
    mine.onopen = function () { wait = 500; heard = performance.now(); looks = ""; tell(); };
    mine.onmessage = function (message) {
      var told = JSON.parse(message.data);
      heard = performance.now();
      if (told.standing) return stand(told.standing);
      if (!told.sequence) { changedAll(); return; }
      if (counts) counts[told.topic] = (counts[told.topic] || 0) + 1;
      changed(told.topic);
    };
    mine.onclose = function (event) {
      if (mine !== socket) return;
      socket = null;
      if (event.code === 4401 || event.code === 4403) { leave(); return; }
      if (!paused && state !== "poll") say("again");
      if (!poll) poll = setTimeout(fallback, GIVE_UP);
      retry = setTimeout(connect, wait); wait = Math.min(wait * 2, 15000);
    };
  }
  function changedAll() { ["approvals", "presence", "runs", "budgets", "audit", "stops"].forEach(changed); }
  // Which request is before its reader's eyes (data-looks): others see it. It is said again and again, or it is forgotten; a tab behind another
  // and a part that is not shown look at nothing. Who was cut off says no more, so where somebody is named it is asked again.
  var looks = "";
  function tell() {
    var e = R.one("[data-looks]"), at = !document.hidden && e && e.getClientRects().length ? e.dataset.looks : "";
    if ((at || looks) && socket && socket.readyState === 1) { socket.send(JSON.stringify({ looks: at })); looks = at; }
  }
  setInterval(tell, 10000);
  setInterval(function () { if (R.one("[data-here]:not(:empty)")) changed("presence"); }, 30000);
  // How many signals each topic has had. What I did not hear, I look at; only then it is live.
  function stand(standing) {
    var missing = new Set(Object.keys(standing).filter(function (t) { return !counts || counts[t] !== standing[t]; }));
    counts = standing;
    clearTimeout(poll); poll = 0;
    if (paused) return;
    if (missing.size || missed) look(missed ? null : missing).then(steady); else steady();
  }
  function fallback() { if (paused) { poll = setTimeout(fallback, POLL); return; } look(null).then(function () { steady(); if (poll) poll = setTimeout(fallback, POLL); }); }
  function leave() { clearTimeout(retry); clearTimeout(poll); poll = 0; if (socket) { socket.onclose = null; socket.close(); socket = null; } say("out"); }
  setInterval(function () { if (socket && socket.readyState === 1 && performance.now() - heard > SILENCE) socket.close(); }, 5000);

  function pause() {
    if (state === "out") { location = "/accounts/login/?next=" + encodeURIComponent(location.pathname + location.search); return; }
    var fresh = still && !paused && R.one("#fresh a");
    if (fresh) { location = fresh.href; return; }
    paused = !paused;
    if (paused) { say("paused"); return; }
    say("again"); look(null).then(steady);
  }
  pill.disabled = false;
  pill.addEventListener("click", pause);
  document.addEventListener("visibilitychange", function () { tell(); if (!document.hidden) look(null).then(steady); });
  window.addEventListener("pagehide", function () { if (socket) { socket.onclose = null; socket.close(); } });
  R.pause = pause; R.takeNew = function () { chip.click(); };
  // The nav says how many requests need me; the title says it, too.
  document.addEventListener("remit:put", function (event) {
    var n = event.target.id === "nav" && R.one("[data-waiting]", event.target);
    if (n) document.title = document.title.replace(/\(\d+\) /, "").replace(/(Approvals|Overview) · Remit$/, (+n.dataset.waiting ? "(" + n.dataset.waiting + ") " : "") + "$&");
  });
  connect();
})();

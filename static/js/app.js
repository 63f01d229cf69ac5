/* Keys, live signals, countdowns, copying. Everything here only speeds up what links and forms do without it. */
"use strict";
(function () {
  var body = document.body;
  document.addEventListener("htmx:configRequest", function (event) {
    var token = document.querySelector("[name=csrfmiddlewaretoken]");
    if (token) event.detail.headers["X-CSRFToken"] = token.value;
  });

  // Live: signals say that a topic changed; the page then asks for its fragment at the ordinary address.
  var pill = document.getElementById("live"), seen = {}, wait = 500, socket = null, poll = null;
  function say(tone, text) { if (pill) { pill.firstElementChild.className = "dot " + tone; pill.lastElementChild.textContent = text; } }
  function changed(topic) { body.dispatchEvent(new CustomEvent("remit:" + topic)); }
  function everything() { ["approvals", "runs", "budgets", "audit", "stops"].forEach(changed); }
  function fallback(on) {
    if (on && !poll) poll = setInterval(everything, 5000);
    if (!on && poll) { clearInterval(poll); poll = null; }
  }
  function connect() {
    var scheme = location.protocol === "https:" ? "wss://" : "ws://";
    socket = new WebSocket(scheme + location.host + "/live/?workspace=" + encodeURIComponent(body.dataset.live) + "&organisation=" + encodeURIComponent(body.dataset.organisation));
    socket.onopen = function () { wait = 500; fallback(false); everything(); say("", "Live"); };
    socket.onmessage = function (message) {
      var signal = JSON.parse(message.data);
      if (seen.last && signal.sequence > seen.last + 1) everything(); else changed(signal.topic);
      seen.last = signal.sequence;
    };
    socket.onclose = function () { say("busy", "Updating every 5 s"); fallback(true); setTimeout(connect, wait); wait = Math.min(wait * 2, 15000); };
  }
  if (pill && body.dataset.live) {
    connect();
    document.addEventListener("visibilitychange", function () { if (!document.hidden) everything(); });
  }
  // Nothing moves under the pointer: a list being hovered or typed in is refreshed when it is left.
  document.addEventListener("htmx:beforeRequest", function (event) {
    var list = event.detail.elt;
    if (!list.hasAttribute("data-calm") || !list.matches(":hover, :focus-within")) return;
    event.preventDefault();
    if (!list.dataset.later) { list.dataset.later = "1"; ["mouseleave", "focusout"].forEach(function (name) { list.addEventListener(name, function () { if (list.dataset.later && !list.matches(":hover, :focus-within")) { delete list.dataset.later; changed("runs"); } }); }); }
  });
  document.addEventListener("htmx:beforeSwap", function (event) {
    var target = event.detail.target, open = target.querySelector("details.deny[open]");
    if (open && target.contains(document.activeElement)) event.detail.shouldSwap = false;
  });

  // Countdowns by the server's clock: what was left when the page was made, less the time since.
  var made = performance.now();
  function words(s) { return s >= 3600 ? Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min" : Math.floor(s / 60) + ":" + String(s % 60).padStart(2, "0"); }
  document.addEventListener("htmx:afterSwap", function (event) { event.detail.target.querySelectorAll("[data-left]").forEach(function (e) { e.dataset.made = performance.now(); }); localise(); });
  setInterval(function () {
    document.querySelectorAll("[data-left]").forEach(function (e) {
      var rest = Math.max(0, Math.round(e.dataset.left - (performance.now() - (e.dataset.made || made)) / 1000));
      e.textContent = rest ? words(rest) + " left" : "expired";
    });
  }, 1000);

  // Times in the reader's zone, with the zone named.
  function localise() {
    document.querySelectorAll("time[datetime]:not([data-local])").forEach(function (e) {
      e.dataset.local = "1";
      e.textContent = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" }).format(new Date(e.dateTime));
    });
  }
  localise();

  // Keys: off while typing. A held key never decides twice.
  document.addEventListener("keydown", function (event) {
    var typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "Escape") { document.querySelectorAll("details[open].me,details[open].deny").forEach(function (d) { d.open = false; }); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "/") { document.getElementById("jump").focus(); event.preventDefault(); return; }
    if (event.key === "j" || event.key === "k") {
      var items = Array.from(document.querySelectorAll(".list .item")), at = items.findIndex(function (i) { return i.hasAttribute("aria-current"); });
      var next = items[at + (event.key === "j" ? 1 : -1)];
      if (next) next.click();
      return;
    }
    var button = document.querySelector("[data-key='" + CSS.escape(event.key.toLowerCase()) + "']");
    if (button && performance.now() - made > 700) { button.click(); event.preventDefault(); }
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post") { form.dataset.sent = "1"; setTimeout(function () { delete form.dataset.sent; }, 4000); }
  });
  document.querySelectorAll("form[data-once]").forEach(function (form) { form.requestSubmit(); });
})();

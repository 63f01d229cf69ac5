/* The desk: the record of a request on paper, how many of several are chosen, and who else looks at what. Everything else it does with
   script is every page's. */
"use strict";
(function () {
  var R = window.Remit, all = R.all;
  function offer() { all("[data-print]").forEach(function (link) { link.hidden = false; }); }
  // Buttons that decide several requests say how many, and none is no choice.
  function count() {
    var many = all("[name=chosen]:checked").length;
    all("[data-chosen]").forEach(function (e) {
      R.one("span", e).textContent = e.dataset.chosen + " " + many + (e.dataset.after || "");
      if (e.matches("button")) e.disabled = !many;
    });
  }
  document.addEventListener("change", function (event) { if (event.target.name === "chosen") count(); });
  document.addEventListener("click", function (event) {
    if (!event.target.closest("[data-print]")) return;
    event.preventDefault();
    window.print();
  });

  // Others' names: asked for the requests that are on the page, and put where each stands. No row grows under the pointer: its names wait
  // until the list is left.
  var here = document.querySelector("#here"), address = here.dataset.get, late = new Map(), known = false;
  function ask() {
    var shown = new Set(all("[data-here]").map(function (place) { return place.dataset.here; }));
    here.dataset.get = address + "?" + Array.from(shown, function (id) { return "id=" + encodeURIComponent(id); }).join("&");
  }
  function spread() {
    all("[data-here]").forEach(function (place) {
      var now = here.querySelector('[data-of="' + place.dataset.here + '"]');
      say(place, now ? now.textContent : "");
    });
  }
  function say(place, text) {
    var row = place.closest(".list:hover .item"), tall = row && row.offsetHeight, was = place.textContent;
    late.delete(place);
    if (text === was) return;
    place.textContent = text;
    if (row && row.offsetHeight !== tall) { place.textContent = was; late.set(place, text); }
  }
  document.addEventListener("pointerout", function () { setTimeout(function () { Array.from(late).forEach(function (one) { say(one[0], one[1]); }); }, 0); });
  document.addEventListener("remit:put", function (event) {
    if (event.target === here) known = true;
    if (known) spread();
    ask(); offer(); count();
  });
  ask(); offer(); count();
})();

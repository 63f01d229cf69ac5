/* The record of a request on paper, and how many of several are chosen. Everything else the desk does with script is every page's: keys,
   live, arming, copying. */
"use strict";
(function () {
  var R = window.Remit;
  // Buttons that decide several requests say how many, and none is no choice.
  function count() {
    var many = R.all("[name=chosen]:checked").length;
    R.all("[data-chosen]").forEach(function (e) {
      R.one("span", e).textContent = e.dataset.chosen + " " + many + (e.dataset.after || "");
      if (e.matches("button")) e.disabled = !many;
    });
  }
  document.addEventListener("change", function (event) { if (event.target.name === "chosen") count(); });
  function offer() { document.querySelectorAll("[data-print]").forEach(function (link) { link.hidden = false; }); }
  document.addEventListener("click", function (event) {
    if (!event.target.closest("[data-print]")) return;
    event.preventDefault();
    window.print();
  });
  document.addEventListener("remit:put", function () { offer(); count(); });
  offer(); count();
})();

/* The record of a request on paper. Everything else the desk does with script is every page's: keys, live, arming, copying. */
"use strict";
(function () {
  function offer() { document.querySelectorAll("[data-print]").forEach(function (link) { link.hidden = false; }); }
  document.addEventListener("click", function (event) {
    if (!event.target.closest("[data-print]")) return;
    event.preventDefault();
    window.print();
  });
  document.addEventListener("remit:put", offer);
  offer();
})();

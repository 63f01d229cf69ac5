/* Control pages. Arrow keys move between the cells of a grid of links; one of them is in the tab order. Home and End go along the row. */
"use strict";
document.querySelectorAll("table[data-grid]").forEach(function (table) {
  var rows = Array.from(table.tBodies[0].rows).map(function (row) { return Array.from(row.querySelectorAll("td a")); });
  var at = [0, 0];
  rows.forEach(function (row, y) { row.forEach(function (link, x) { link.tabIndex = x || y ? -1 : 0; link.addEventListener("focus", function () { take(y, x, false); }); }); });
  function take(y, x, move) {
    var next = rows[y] && rows[y][x];
    if (!next) return;
    rows[at[0]][at[1]].tabIndex = -1; next.tabIndex = 0; at = [y, x];
    if (move) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "nearest", inline: "nearest" }); }
  }
  table.addEventListener("keydown", function (event) {
    if (!event.target.closest("td") || event.ctrlKey || event.metaKey || event.altKey) return;
    var step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) take(at[0] + step[0], at[1] + step[1], true);
    else if (event.key === "Home") take(at[0], 0, true);
    else if (event.key === "End") take(at[0], rows[at[0]].length - 1, true);
    else return;
    event.preventDefault(); event.stopPropagation();
  });
});
/* How long ago the page was computed, by its own clock. */
(function () {
  var shown = document.querySelectorAll("[data-since]"), made = performance.now();
  function say() {
    var s = Math.round((performance.now() - made) / 1000), text = s < 60 ? s + " s ago" : Math.floor(s / 60) + " min ago";
    shown.forEach(function (each) { each.textContent = text; });
  }
  if (shown.length) setInterval(say, 5000);
})();

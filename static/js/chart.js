/* Redraws a server-drawn chart with plotly, which is fetched when the chart comes into view. Without this the SVG beneath stays. */
"use strict";
(function () {
  var loading = null;
  function fetched(box) {
    if (loading) return loading;
    loading = new Promise(function (done, failed) {
      var sheet = document.createElement("link"), script = document.createElement("script");
      sheet.id = "plotly.js-style-global"; sheet.className = "no-inline-styles"; sheet.rel = "stylesheet"; sheet.href = box.dataset.styles;
      script.src = box.dataset.plotly; script.onload = done; script.onerror = failed;
      sheet.onload = function () { document.head.append(script); }; sheet.onerror = failed;
      document.head.append(sheet);
    });
    return loading;
  }
  // Tokens by name, as the theme in force has them: "--c1" or, with an opacity, "--c1/0.16".
  function colour(name, box) {
    var probe = document.createElement("i"), parts = name.split("/");
    probe.style.color = "var(" + parts[0] + ")"; probe.hidden = true; box.append(probe);
    var found = getComputedStyle(probe).color; probe.remove();
    return parts[1] ? found.replace(/^rgb\(([^)]+)\)$/, "rgba($1, " + parts[1] + ")") : found;
  }
  function coloured(value, box) {
    if (typeof value === "string") return value.startsWith("--") ? colour(value, box) : value;
    if (Array.isArray(value)) return value.map(function (item) { return coloured(item, box); });
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(function (pair) { return [pair[0], coloured(pair[1], box)]; }));
    return value;
  }
  function draw(box) {
    return fetched(box).then(function () {
      var figure = coloured(JSON.parse(document.getElementById(box.dataset.chart).textContent), box), plot = box.querySelector(".plot");
      plot.hidden = false;
      return window.Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false, responsive: true }).then(function () {
        box.classList.add("drawn");
        if (plot.dataset.on) return;
        plot.dataset.on = "1";
        plot.on("plotly_click", function (event) {
          var point = event.points.find(function (each) { return each.customdata; });
          if (point) location.assign(point.customdata);
        });
      });
    }, function () { loading = null; });
  }
  function again() { document.querySelectorAll("[data-chart].drawn").forEach(draw); }
  new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.querySelectorAll("[data-chart]").forEach(function (box) {
    new IntersectionObserver(function (entries, watch) {
      if (entries.some(function (entry) { return entry.isIntersecting; })) { watch.disconnect(); draw(box); }
    }).observe(box);
  });
})();

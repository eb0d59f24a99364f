"use strict";
// Charts by plotly, each with its numbers in a table below. Times are UTC.

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Plotly takes a time without zone as it is written: this one is written in UTC. */
function utc(ms) {
  return new Date(ms).toISOString().slice(0, 23);
}

/** Plotly reads some markup in its texts. */
function escaped(text) {
  return String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
}

function line(at, values, name, paint, extra = {}) {
  return { x: at, y: values, name, mode: "lines", line: { color: paint, width: 1.8 }, connectgaps: false, ...extra };
}

function axes() {
  const quiet = colour("--quiet");
  return { gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false, fixedrange: true, tickfont: { color: quiet, size: 11 } };
}

function layoutOf(extra = {}) {
  return {
    margin: { l: 52, r: 12, t: 18, b: 36 }, showlegend: false, hovermode: "x unified",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "inherit", color: colour("--ink"), size: 12 },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    ...extra,
  };
}

function captionOf(box) {
  return box.closest("figure")?.querySelector("figcaption")?.textContent.replace(/\s+/g, " ").trim() ?? "";
}

/** Draws into a box, or says why there is nothing to draw. */
function plot(id, traces, layout, empty = "nothing yet in this time") {
  const box = document.getElementById(id);
  // To a screen reader it is one picture with a name; what it shows is in the table of numbers.
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", captionOf(box));
  const known = traces.some((trace) => (trace.y ?? []).some((value) => value !== null && value !== undefined));
  box.classList.toggle("empty", !known);
  if (!known) {
    if (box.classList.contains("js-plotly-plot")) Plotly.purge(box);
    box.replaceChildren(empty);
    return;
  }
  if (!box.classList.contains("js-plotly-plot")) box.replaceChildren();
  Plotly.react(box, traces, layoutOf(layout), { displayModeBar: false, responsive: true });
}

/** The numbers of a chart, a click away. */
function numbers(id, head, rows, empty = "no numbers yet") {
  const box = document.getElementById(id);
  let details = box.querySelector("details.numbers");
  if (!details) {
    details = el("details", { class: "numbers" }, el("summary", { "aria-label": `Numbers: ${captionOf(box.querySelector(".chart"))}` }, "Numbers"), el("div", { class: "scroll" }, el("table", { id: `${id}-table` })));
    box.append(details);
    details.addEventListener("toggle", () => details.open && details.refresh());
  }
  details.refresh = () => table(`${id}-table`, head, rows().map((cells) => ({ cells })), empty);
  if (details.open) details.refresh();
}

/** A time axis for so many ms: days where it is long. */
function timeAxis(from, to) {
  const days = (to - from) / 86_400_000;
  return { ...axes(), type: "date", range: [utc(from), utc(to)], showgrid: false, nticks: innerWidth < 500 ? 4 : 6, tickangle: 0, tickformat: days > 3 ? "%b %d" : days > 0.1 ? "%H:%M\n%b %d" : "%H:%M:%S" };
}

const redrawn = [];
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redrawn.forEach((draw) => draw()));

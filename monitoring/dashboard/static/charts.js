"use strict";
// The four charts over time. Times are UTC, releases are vertical lines.

const LATENCY = [["p50", "--a"], ["p95", "--b"], ["p99", "--c"]];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Plotly takes a time without zone as it is written: this one is written in UTC. */
function utc(ms) {
  return new Date(ms).toISOString().slice(0, 23);
}

function line(at, values, name, paint, extra = {}) {
  return { x: at, y: values, name, mode: "lines", line: { color: paint, width: 1.8 }, connectgaps: false, ...extra };
}

function releaseMarks(releases, from) {
  const marks = releases.filter((one) => one.first_ms >= from);
  const paint = colour("--mark");
  return {
    shapes: marks.map((one) => ({
      type: "line", xref: "x", yref: "paper", x0: utc(one.first_ms), x1: utc(one.first_ms), y0: 0, y1: 1,
      line: { color: paint, width: 1.5, dash: "dot" },
    })),
    annotations: marks.map((one) => ({
      x: utc(one.first_ms), y: 1, xref: "x", yref: "paper", yanchor: "bottom", xanchor: "left", showarrow: false,
      text: escaped(one.release), font: { size: 11, color: paint },
    })),
  };
}

/** Plotly reads some markup in its texts. */
function escaped(text) {
  return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
}

function draw(id, traces, summary, { format, unit }) {
  const at = summary.series.at_ms;
  const box = document.getElementById(id);
  const known = traces.some((trace) => trace.y.some((value) => value !== null));
  box.classList.toggle("empty", !known);
  if (!known) {
    if (box.classList.contains("js-plotly-plot")) Plotly.purge(box);
    box.replaceChildren(summary.total.decisions ? "nothing yet in this time" : "waiting for the first decision");
    return;
  }
  if (!box.classList.contains("js-plotly-plot")) box.replaceChildren();
  const from = at[0] - summary.bucket_s * 1000;
  const quiet = colour("--quiet");
  const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), zeroline: false, fixedrange: true, tickfont: { color: quiet, size: 11 } };
  const top = Math.max(...traces.flatMap((trace) => trace.y.map((value) => value ?? 0)));
  const layout = {
    margin: { l: 46, r: 8, t: 18, b: 24 }, showlegend: false, hovermode: "x unified",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "inherit", color: colour("--ink"), size: 12 },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: { ...axis, type: "date", range: [utc(from), utc(at[at.length - 1])], showgrid: false, nticks: 6, tickformat: "%H:%M:%S" },
    yaxis: { ...axis, range: [0, top > 0 ? top * 1.08 : 1], nticks: 5 },
    ...releaseMarks(summary.releases.slice(summary.releases[0]?.first_ms <= from ? 1 : 0), from),
  };
  for (const trace of traces) trace.hovertemplate = `%{y:${format}}${unit}`;
  Plotly.react(box, traces, layout, { displayModeBar: false, responsive: true });
}

function drawCharts(summary) {
  const series = summary.series;
  const at = series.at_ms.map(utc);
  const scaled = (values, by) => values.map((value) => (value === null ? null : value * by));
  const area = { fill: "tozeroy", fillcolor: `${colour("--a")}1f` };
  draw("chart-rate", [line(at, series.decisions_per_s, "decisions", colour("--a"), area)], summary, { format: ",.1f", unit: " /s" });
  draw("chart-latency", LATENCY.map(([p, paint]) => line(at, series[`${p}_ms`], p, colour(paint))), summary, { format: ".1f", unit: " ms" });
  draw("chart-ctr", [line(at, scaled(series.ctr, 100), "CTR", colour("--a"))], summary, { format: ".2f", unit: " %" });
  draw("chart-revenue", [line(at, scaled(series.revenue_per_1000_micros, 1e-6), "revenue", colour("--a"))], summary,
    { format: ",.2f", unit: ` ${summary.currency}` });
  fill("legend-latency", ...LATENCY.flatMap(([p, paint]) => [" ", el("span", { style: { color: `var(${paint})` } }, p)]));
}

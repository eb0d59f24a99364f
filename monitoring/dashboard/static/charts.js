"use strict";
// The four charts over time. Times are UTC, releases are vertical lines.

const LATENCY = [["p50", "--a"], ["p95", "--b"], ["p99", "--c"]];

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

function draw(id, traces, summary, { format, unit, digits }) {
  const at = summary.series.at_ms;
  const empty = summary.total.decisions ? "nothing yet in this time" : "waiting for the first decision";
  for (const trace of traces) trace.hovertemplate = `%{y:${format}}${unit}`;
  const from = at.length ? at[0] - summary.bucket_s * 1000 : 0;
  const top = Math.max(0, ...traces.flatMap((trace) => trace.y.map((value) => value ?? 0)));
  plot(id, traces, {
    xaxis: { ...axes(), type: "date", range: [utc(from), utc(at[at.length - 1] ?? 0)], showgrid: false, nticks: 6, tickformat: "%H:%M:%S" },
    yaxis: { ...axes(), range: [0, top > 0 ? top * 1.08 : 1], nticks: 5 },
    ...releaseMarks(summary.releases.slice(summary.releases[0]?.first_ms <= from ? 1 : 0), from),
  }, empty);
  const head = ["UTC", ...traces.map((trace) => `${trace.name}#`)];
  numbersOf(id, head, () => at.map((ms, i) => [clock(ms), ...traces.map((trace) => number(trace.y[i], digits))]).reverse());
}

/** The numbers of the figure that holds a chart. */
function numbersOf(id, head, rows) {
  numbers(document.getElementById(id).parentElement.id, head, rows);
}

function drawCharts(summary) {
  const series = summary.series;
  const at = series.at_ms.map(utc);
  const scaled = (values, by) => values.map((value) => (value === null ? null : value * by));
  const area = { fill: "tozeroy", fillcolor: `${colour("--a")}1f` };
  draw("chart-rate", [line(at, series.decisions_per_s, "decisions", colour("--a"), area)], summary, { format: ",.1f", unit: " /s", digits: 1 });
  draw("chart-latency", LATENCY.map(([p, paint]) => line(at, series[`${p}_ms`], p, colour(paint))), summary, { format: ".1f", unit: " ms", digits: 1 });
  draw("chart-ctr", [line(at, scaled(series.ctr, 100), "CTR", colour("--a"))], summary, { format: ".2f", unit: " %", digits: 2 });
  draw("chart-revenue", [line(at, scaled(series.revenue_per_1000_micros, 1e-6), "revenue", colour("--a"))], summary,
    { format: ",.2f", unit: ` ${summary.currency}`, digits: 2 });
  fill("legend-latency", ...LATENCY.flatMap(([p, paint]) => [" ", el("span", { style: { color: `var(${paint})` } }, p)]));
}

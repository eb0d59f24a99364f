"use strict";
// How right the predictions were: over time, by bins of probability, by slice; and the bet against them.

let said = null;
let currency = "";

async function turn() {
  const described = await describeMarket();
  currency = described.currency;
  document.title = `Predictions / OfferRank / ${described.name}`;
  said = await get("/api/predictions");
  show();
  return null;
}

function nothing(text) {
  document.getElementById("nothing").hidden = false;
  document.getElementById("task-view").hidden = true;
  document.getElementById("task").hidden = true;
  fill("nothing", text);
}

function chosen() {
  const wanted = new URLSearchParams(location.search).get("task");
  return said.tasks.find((one) => one.task === wanted) ?? said.tasks[0];
}

function show() {
  if (!said.last_hour_ms || !said.tasks.length) return nothing(said.trouble ?? "The watch has not seen a whole hour of predictions yet: offerrank watch reads the archive, and knows one once it is over.");
  document.getElementById("nothing").hidden = true;
  document.getElementById("task-view").hidden = false;
  const task = chosen();
  const picker = document.getElementById("task");
  picker.hidden = said.tasks.length < 2;
  refill("task", said.tasks.map((one) => one.task), () => said.tasks.map((one) => {
    const made = el("option", { value: one.task }, `p(${one.task})`);
    made.selected = one.task === task.task;
    return made;
  }));
  fill("hours", `${picker.hidden ? `p(${task.task}) · ` : ""}the last ${said.hours} hours, as far as labels are final`);
  const all = task.all;
  const facts = all ? [
    ["Predicted for each that came", ratio(all.pcoc)], ["95 % interval", `${ratio(all.low)} to ${ratio(all.high)}`], ["Rows with final labels", number(all.rows)],
    ["Came, and predicted", `${number(all.came)}, ${number(all.predicted, 1)}`], ["Brought, against what was promised", `${amount(all.micros_per_day)} ${currency} a day`],
    ["Evidence against them", strength(all.evidence)],
  ] : [["Rows with final labels", "none yet"]];
  refill("facts", facts, () => facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
  draw(task);
  const rows = task.slices.map((one) => ({
    cells: [
      el("td", {}, one.by, " ", el("b", {}, one.value)),
      el("td", { class: "n" }, el("span", { class: one.evidence > STRONG ? "bad" : "" }, ratio(one.pcoc))),
      el("td", { class: "n" }, `${ratio(one.low)} to ${ratio(one.high)}`),
      el("td", { class: "n" }, el("span", { class: one.evidence > STRONG ? "bad" : "" }, strength(one.evidence))),
      el("td", { class: "n" }, one.micros_per_day ? amount(one.micros_per_day) : NONE),
      number(one.came), number(one.rows),
    ],
  }));
  table("slices", ["slice", "predicted / came#", "95 %#", "evidence#", `${currency} a day#`, "came#", "rows#"], rows, "too few rows in every slice");
  fill("more", task.more_slices ? `and ${number(task.more_slices)} more slices` : "");
}

const STRONG = Math.log10(168);

function strength(evidence) {
  return evidence < 1.5 ? "little" : `10^${number(evidence, 1)}`;
}

function ratio(value) {
  return value === null || value === undefined ? "∞" : number(value, 2);
}

function stamp(ms) {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

function draw(task) {
  const at = task.hours.map((one) => one.hour_ms);
  const length = said.hour_length_ms;
  const x = at.map(utc);
  const whole = [said.last_hour_ms - (said.hours - 1) * length, said.last_hour_ms + length];
  const right = (y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colour("--mark"), width: 1.5, dash: "dot" } });
  const dots = { mode: at.length < 40 ? "lines+markers" : "lines" };
  const highest = Math.min(4, Math.max(1.2, ...task.hours.map((one) => one.high ?? 0)));
  const capped = (value) => (value === null ? 1e3 : value);
  plot("chart-pcoc", [
    line(x, task.hours.map((one) => one.low), "least", colour("--held"), { hovertemplate: "%{y:.2f}" }),
    line(x, task.hours.map((one) => capped(one.high)), "most", colour("--held"), { fill: "tonexty", fillcolor: `${colour("--a")}1f`, hovertemplate: "%{y:.2f}" }),
    line(x, task.hours.map((one) => one.pcoc), "predicted / came", colour("--a"), { ...dots, hovertemplate: "%{y:.2f}" }),
  ], { xaxis: timeAxis(...whole), yaxis: { ...axes(), range: [0, highest * 1.05], nticks: 6 }, shapes: [right(1)] }, "no label is final yet");
  numbers("figure-pcoc", ["hour", "predicted / came#", "95 %#", "came#", "rows#"], () => task.hours.map((one) => [stamp(one.hour_ms), ratio(one.pcoc), `${ratio(one.low)} to ${ratio(one.high)}`, number(one.came), number(one.rows)]).reverse());
  drawReliability(task.bins);
  const evidence = task.hours.map((one) => one.evidence);
  plot("chart-evidence", [line(x, evidence, "evidence", colour("--a"), { ...dots, hovertemplate: "10^%{y:.2f}" })],
    { xaxis: timeAxis(...whole), yaxis: { ...axes(), range: [0, Math.max(2.5, ...evidence) * 1.08], nticks: 5 }, shapes: [right(STRONG)] }, "no label is final yet");
  numbers("figure-evidence", ["hour", "powers of ten#"], () => task.hours.map((one) => [stamp(one.hour_ms), number(one.evidence, 2)]).reverse());
  const mean = task.expected.map((one) => one.mean === null ? null : one.mean * 100);
  plot("chart-expected", [line(task.expected.map((one) => utc(one.hour_ms)), mean, "mean", colour("--a"), { hovertemplate: "%{y:.3f} %" })],
    { xaxis: timeAxis(...whole), yaxis: { ...axes(), range: [0, Math.max(0, ...mean) * 1.15 || 1], nticks: 5 } });
  numbers("figure-expected", ["hour", "mean %#", "rows#"], () => task.expected.map((one, i) => [stamp(one.hour_ms), number(mean[i], 3), number(one.rows)]).reverse());
}

function drawReliability(bins) {
  const p = bins.map((one) => one.p * 100);
  const y = bins.map((one) => one.y * 100);
  const low = Math.min(...bins.map((one) => one.p), 1) * 50;
  const known = { x: p, y, name: "came", mode: "markers", marker: { color: colour("--a"), size: 8 },
    error_y: { type: "data", symmetric: false, array: bins.map((one, i) => Math.max((one.high ?? 1) * 100 - y[i], 0)), arrayminus: bins.map((one, i) => Math.max(y[i] - (one.low ?? 0) * 100, 0)), color: colour("--held"), thickness: 1.5 },
    hovertemplate: "%{x:.2f} % predicted, %{y:.2f} % came<extra></extra>" };
  plot("chart-reliability", bins.length ? [{ ...line([low, 100], [low, 100], "right", colour("--mark")), line: { color: colour("--mark"), width: 1.5, dash: "dot" }, hoverinfo: "skip" }, known] : [], {
    hovermode: "closest",
    xaxis: { ...axes(), type: "log", title: { text: "predicted, %", font: { size: 11, color: colour("--quiet") } }, dtick: 1 },
    yaxis: { ...axes(), type: "log", title: { text: "came, %", font: { size: 11, color: colour("--quiet") } }, dtick: 1 },
    margin: { l: 62, r: 12, t: 18, b: 46 },
  }, "no label is final yet");
  numbers("figure-reliability", ["predicted, %", "mean %#", "came %#", "95 %#", "rows#"], () => bins.map((one) => [`${short(one.from)} to ${short(one.to)}`, number(one.p * 100, 3), number(one.y * 100, 3), `${one.low === null ? NONE : number(one.low * 100, 2)} to ${one.high === null ? NONE : number(one.high * 100, 2)}`, number(one.rows)]));
}

function short(share) {
  return (share * 100).toLocaleString("en", { maximumSignificantDigits: 3 });
}

document.getElementById("task").addEventListener("change", (event) => {
  history.replaceState(null, "", `?task=${encodeURIComponent(event.target.value)}`);
  show();
});
redrawn.push(() => said?.tasks?.length && draw(chosen()));
keepAsking(turn, 10_000);

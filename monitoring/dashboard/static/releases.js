"use strict";
// All releases, newest first: which data, which gates, whether in service; and the trainings that brought none, with the reason.

const TASKS = ["--a", "--b", "--c"];
let said = null;

async function turn() {
  const described = await describeMarket();
  document.title = `Releases / OfferRank / ${described.name}`;
  const before = new URLSearchParams(location.search).get("before") ?? "";
  said = await get(`/api/releases${/^\d{1,18}$/.test(before) ? `?before=${before}` : ""}`);
  show(said);
  return null;
}

function show({ releases, refused = [], runs_trouble: runsTrouble, trouble, more }) {
  const empty = trouble ?? (releases.length || refused.length ? null : "No release yet: offerrank train makes one of a file, offerrank retrain of the log.");
  document.getElementById("nothing").hidden = empty === null;
  document.getElementById("view").hidden = empty !== null;
  fill("latest", "");
  if (empty !== null) return fill("nothing", empty);
  const newest = releases.find((one) => one.created_ms !== null);
  fill("latest", newest ? `newest made ${ago(newest.created_ms)}` : "");
  const focused = document.activeElement?.getAttribute("href");
  table("releases", ["release", "in service", "made, UTC", "training", "rows to train#", "learned through, UTC", "gates", ""], releases.map(row), "none");
  if (focused) document.querySelector(`#view a[href="${CSS.escape(focused)}"]`)?.focus();
  fill("further", ...(more ? [el("a", { href: `/releases?before=${releases.at(-1).version}` }, "older releases")] : []));
  table("refused", ["began, UTC", "training", "what came of it", "", "why"], refused.map((run) => ({ cells: [
    el("td", { class: "nowrap" }, el("a", { href: `/pipeline#${encodeURIComponent(run.id)}` }, moment(run.began_ms))), run.kind,
    el("td", {}, el("span", { class: "badge open" }, run.state)),
    el("td", {}, run.has_report ? el("a", { href: `/releases/refused/${encodeURIComponent(run.id)}` }, "report") : ""), run.why || NONE,
  ] })), runsTrouble ?? "none was refused, failed or killed");
  draw();
}

function row(one) {
  return { cells: [
    el("td", {}, el("a", { href: `/releases/${one.version}` }, String(one.version)), one.trouble ? el("div", { class: "clip bad", title: one.trouble }, one.trouble) : ""),
    el("td", {}, serves(one)), moment(one.created_ms), kind(one), number(one.rows?.train), moment(one.trained_through_ms),
    el("td", {}, ...gates(one.gates)),
    el("td", {}, one.has_report ? el("a", { href: `/releases/${one.version}/report` }, "report") : ""),
  ] };
}

function kind(one) {
  if (one.kind === null) return NONE;
  return one.kind === "full" ? "full" : `${one.kind} ${one.kind === "recalibration" ? "of" : "from"} ${one.went_on_from}`;
}

function serves(one) {
  if (said.deciding.includes(String(one.version))) return el("span", { class: "badge good" }, "decides now");
  const first = said.first_served_ms[one.version];
  return el("span", { class: "quiet" }, first ? `first served ${moment(first, 16)}` : "not seen in service");
}

function gates(found) {
  if (!found) return [NONE];
  return [`${found.passed} passed`, found.failed ? el("span", { class: "bad" }, `, ${found.failed} missed`) : "", found.skipped ? el("span", { class: "quiet" }, `, ${found.skipped} not judged`) : ""];
}

function ago(ms) {
  return `${duration(Math.max(said.now_ms - ms, 0) / 1000)} ago`;
}

function draw() {
  const known = said.releases.filter((one) => one.created_ms !== null).reverse();
  const tasks = [...new Set(known.flatMap((one) => Object.keys(one.metrics)))].sort();
  fill("legend-auc", ...tasks.map((task, i) => el("span", { style: { color: `var(${TASKS[i % 3]})` } }, `${task} `)));
  const x = known.map((one) => String(one.version));
  const right = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("--mark"), width: 1.5, dash: "dot" } };
  for (const [metric, digits, shapes] of [["auc", 3, []], ["pcoc", 2, [right]]]) {
    const lines = tasks.map((task, i) => line(x, known.map((one) => one.metrics[task]?.[metric] ?? null), task, colour(TASKS[i % 3]), { mode: "lines+markers", connectgaps: true, hovertemplate: `%{y:.${digits}f}` }));
    const values = lines.flatMap((one) => one.y).filter((value) => value !== null);
    const range = metric === "pcoc" ? [Math.min(0.9, ...values) - 0.02, Math.max(1.1, ...values) + 0.02] : [Math.min(0.5, ...values) - 0.02, Math.max(0.7, ...values) + 0.02];
    plot(`chart-${metric}`, lines, { shapes, xaxis: { ...axes(), type: "category", showgrid: false, nticks: innerWidth < 500 ? 3 : 6, tickangle: 0 }, yaxis: { ...axes(), range, nticks: 5 }, margin: { l: 52, r: 40, t: 18, b: 36 } }, "no release was evaluated");
    numbers(`figure-${metric}`, ["release", ...tasks.map((task) => `${task}#`)], () => known.map((one) => [String(one.version), ...tasks.map((task) => number(one.metrics[task]?.[metric], digits))]).reverse());
  }
}

redrawn.push(() => said?.releases?.length && draw());
keepAsking(turn, 10_000);

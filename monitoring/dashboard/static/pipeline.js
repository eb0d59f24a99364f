"use strict";
// Every training, newest first; one of them, the newest or the one in the address, with its steps, gates and anomalies.

const BAD = new Set(["refused", "failed", "killed"]);
let said = null;

async function turn() {
  const described = await describeMarket();
  document.title = `Pipeline / OfferRank / ${described.name}`;
  said = await get("/api/pipeline");
  show();
  return null;
}

function show() {
  const { runs, trouble } = said;
  document.getElementById("nothing").hidden = runs.length > 0;
  document.getElementById("list").hidden = runs.length === 0;
  document.getElementById("run").hidden = runs.length === 0;
  fill("latest", "");
  if (!runs.length) return fill("nothing", trouble ?? "Nothing was trained yet: offerrank retrain does.");
  const released = runs.find((run) => run.state === "released");
  fill("latest", released ? `last release ${ago(released.ended_ms)}` : "no release yet");
  const chosen = runs.find((run) => run.id === decodeURIComponent(location.hash.slice(1))) ?? runs[0];
  const focused = document.activeElement?.getAttribute("href");
  table("runs", ["began", "kind", "what came of it", "release#", "seconds#", "memory#"], runs.map((run) => ({
    cells: [
      el("td", {}, el("a", { href: `#${encodeURIComponent(run.id)}`, "aria-current": run === chosen ? "true" : null }, moment(run.began_ms))),
      run.kind, outcome(run), run.release === null ? NONE : el("td", { class: "n" }, el("a", { href: `/releases/${run.release}` }, String(run.release))), number(seconds(run)), mebibytes(peak(run)),
    ],
  })), "none");
  if (focused) document.querySelector(`#runs a[href="${CSS.escape(focused)}"]`)?.focus();
  showRun(chosen);
}

function showRun(run) {
  const { rows = {}, gates = [], anomalies = [], trained_through_ms: through } = run.details;
  fill("which", `${run.kind === "recalibration" ? "Recalibration" : `Training, ${run.kind}`}, ${moment(run.began_ms)} `, outcome(run));
  document.getElementById("why").hidden = !run.why;
  fill("why", run.why);
  facts("facts", [
    ["data", run.data],
    ["went on from", run.previous === null ? "nothing" : `release ${run.previous}`],
    ["release", run.release === null ? "none" : el("a", { href: `/releases/${run.release}` }, String(run.release))],
    ["rows", Object.entries(rows).map(([split, n]) => `${number(n)} ${split}`).join(", ") || NONE],
    ["learned through", through ? moment(through) : NONE],
    ["run", run.id],
  ]);
  table("steps", ["step", "seconds#", "rows in#", "rows out#", "memory#"], run.steps.map((step) => ({
    cells: [
      el("td", {}, step.name, step.failed ? el("span", { class: "tag bad" }, "failed") : ""),
      number(step.seconds, 1), number(step.rows_in), number(step.rows_out), mebibytes(step.peak_bytes),
    ],
  })), "no step has ended yet");
  const failed = gates.filter((gate) => gate.verdict === "failed").length;
  const unjudged = gates.filter((gate) => gate.verdict === "unjudged").length;
  fill("gates-sum", `gates: ${gates.length}${failed ? `, ${failed} missed` : ""}${unjudged ? `, ${unjudged} without rows to judge by` : ""}`);
  table("gates", ["gate", "verdict", "measured#", "bound#", "note"], gates.map((gate) => ({
    cells: [gate.key, gate.verdict, number(gate.value, 4), number(gate.bound, 4), [gate.where, gate.note].filter(Boolean).join("; ")],
  })), "none was judged");
  fill("anomalies-sum", `anomalies in the data: ${anomalies.length}`);
  table("anomalies", ["column", "split", "what"], anomalies.map((one) => ({ cells: [one.column, one.split, one.what] })), "none");
}

function outcome(run) {
  return el("span", { class: `badge ${BAD.has(run.state) ? "open" : run.state === "running" ? "acknowledged" : ""}`, title: run.why }, run.state);
}

function seconds(run) {
  return ((run.ended_ms ?? run.heard_ms) - run.began_ms) / 1000;
}

function peak(run) {
  const known = run.steps.map((step) => step.peak_bytes).filter((bytes) => bytes !== null);
  return known.length ? Math.max(...known) : null;
}

function mebibytes(bytes) {
  return bytes === null ? NONE : `${number(bytes / 2 ** 20)} MiB`;
}

function ago(ms) {
  return `${duration(Math.max(said.now_ms - ms, 0) / 1000)} ago`;
}

window.addEventListener("hashchange", () => said && show());
keepAsking(turn, 5000);

"use strict";
// One release: which data and gates, how good beside another one, and its lineage.

const version = decodeURIComponent(location.pathname.slice("/releases/".length));
const METRICS = [["AUC", "auc", 4], ["log loss", "log_loss", 5], ["predicted / came", "pcoc", 3], ["normalised entropy", "normalised_entropy", 4], ["calibration error", "ece", 5]];
let asked = null;

async function turn() {
  await describeMarket();
  document.title = `${version} / Releases / OfferRank`;
  const against = new URLSearchParams(location.search).get("against") ?? "";
  const known = (text) => (/^\d{1,18}$/.test(text) ? get(`/api/releases/${text}`) : Promise.resolve({ known: false }));
  const [said, other, all] = await Promise.all([known(version), known(against), get("/api/releases")]);
  document.getElementById("nothing").hidden = said.known;
  document.getElementById("release").hidden = !said.known;
  if (said.known) show(said, other.known ? other : null, against, all.releases);
  else fill("nothing", said.trouble ? `${said.trouble}. ` : `There is no release ${version} in the folder. `, el("a", { href: "/releases" }, "All releases"));
  return { good: `live · asked at ${clock(Date.now())} UTC` };
}

function show(said, other, against, all) {
  const { release: one, evaluation, run } = said;
  fill("name", version);
  const deciding = said.deciding.includes(version);
  const first = said.first_served_ms[version];
  fill("marks", el("span", { class: `badge ${deciding ? "good" : ""}` }, deciding ? "decides now" : first ? `first served ${moment(first, 16)}` : "not seen in service"));
  const report = document.getElementById("report");
  report.hidden = !one.has_report;
  report.href = `/releases/${version}/report`;
  const trouble = one.trouble || said.trouble || (against && !other ? `There is no release ${against} to stand beside it.` : "");
  document.getElementById("trouble").hidden = !trouble;
  fill("trouble", trouble);
  facts("facts", [
    ["Made, UTC", moment(one.created_ms)], ["Training", one.kind === null ? NONE : one.kind === "full" ? "full" : [`${one.kind} ${one.kind === "recalibration" ? "of" : "from"} `, releaseLink(one.went_on_from)]],
    ["Rows", rowsOf(one.rows)], ["Learned through, UTC", moment(one.trained_through_ms)], ["Full training, UTC", moment(one.full_ms ?? one.created_ms)],
    ["Data", run ? run.data : "its run was not recorded"], ["Run", run ? el("a", { href: `/pipeline#${encodeURIComponent(run.id)}` }, run.id) : NONE],
    ["Gates", one.gates ? `${one.gates.passed} passed, ${one.gates.skipped} not judged` : NONE],
  ]);
  choose(against, all);
  showMetrics(evaluation, other?.evaluation ?? null, against);
  showDifferences(said.made_with, other?.made_with ?? null);
  const gates = evaluation?.gates ?? [];
  table("gates", ["gate", "verdict", "measured#", "bound#", "note"], gates.map((gate) => ({ cells: [
    gate.key, el("td", { class: gate.verdict === "failed" ? "bad" : gate.verdict === "skipped" ? "quiet" : "" }, gate.verdict === "skipped" ? "not judged" : gate.verdict),
    number(gate.value, 4), number(gate.bound, 4), [gate.where, gate.note].filter(Boolean).join("; "),
  ] })), "none is set");
  if (asked !== version) showLineage("lineage", version, lineageOfRelease);
  asked = version;
}

function choose(against, all) {
  const others = all.map((one) => String(one.version)).filter((one) => one !== version);
  if (against && !others.includes(against) && against !== version) others.unshift(against);
  const options = [["", "no other release"], ...others.map((one) => [one, `release ${one}`])];
  refill("against", [against, options], () => options.map(([value, text]) => {
    const made = el("option", { value }, text);
    made.selected = value === against;
    return made;
  }));
}

function showMetrics(mine, other, against) {
  const tasks = Object.keys({ ...mine?.tasks, ...other?.tasks }).sort();
  const value = (task, of, name, digits) => {
    const found = of?.tasks[task]?.calibrated;
    if (!found || found[name] === null) return el("td", { class: "n" }, NONE);
    const [low, high] = found[`${name}_interval`] ?? [];
    return el("td", { class: "n" }, number(found[name], digits), low === undefined ? "" : el("small", {}, ` ${number(low, digits)} to ${number(high, digits)}`));
  };
  const change = (task, name, digits) => {
    const [a, b] = [mine?.tasks[task]?.calibrated[name], other?.tasks[task]?.calibrated[name]];
    return a === null || b === null || a === undefined || b === undefined ? NONE : `${a > b ? "+" : ""}${number(a - b, digits)}`;
  };
  const rows = tasks.flatMap((task) => [
    { cells: [el("td", {}, el("b", {}, task), el("small", {}, " held-out rows, those that came")), counted(mine, task), ...(other ? [counted(other, task), ""] : [])] },
    ...METRICS.map(([text, name, digits]) => ({ cells: [text, value(task, mine, name, digits), ...(other ? [value(task, other, name, digits), change(task, name, digits)] : [])] })),
  ]);
  table("metrics", ["calibrated, 95 %", `${version}#`, ...(other ? [`${against}#`, "difference#"] : [])], rows, "it was not evaluated");
  const rival = mine?.in_service;
  const changes = Object.entries(rival?.changes ?? {}).filter(([, found]) => found?.interval?.length === 2);
  fill("same-rows", other ? "Each is measured on its own held-out rows, so a difference is of the rows, too. " : "", ...(rival ? [`On the same rows as release ${rival.version}, in service when it was trained: `,
    changes.length ? changes.map(([task, found]) => `log loss of ${task} ${found.relative > 0 ? "+" : ""}${percent(found.relative, 2)} (95 % ${percent(found.interval[0], 2)} to ${percent(found.interval[1], 2)})`).join("; ") : rival.note || "not compared", "."] : []));
}

function counted(of, task) {
  const found = of?.tasks[task];
  return el("td", { class: "n" }, found ? `${number(found.rows)}, ${number(found.positives)}` : NONE);
}

function showDifferences(mine, other) {
  document.getElementById("differs").hidden = !(mine && other);
  if (!mine || !other) return;
  const rows = [];
  for (const [what, key] of [["feature", "inputs"], ["package", "packages"]]) {
    for (const name of [...new Set([...Object.keys(mine[key]), ...Object.keys(other[key])])].sort()) {
      const [a, b] = [mine[key][name], other[key][name]].map((one) => (one === undefined ? "not there" : typeof one === "string" ? one : JSON.stringify(one)));
      if (a !== b) rows.push({ cells: [el("td", {}, `${what} `, el("b", {}, name)), a, b] });
    }
  }
  table("differences", ["what", "this one", "the other"], rows, "nothing: the same features and packages");
}

document.getElementById("against").addEventListener("change", (event) => {
  history.replaceState(null, "", event.target.value ? `?against=${encodeURIComponent(event.target.value)}` : location.pathname);
  askOnce(turn);
});
askOnce(turn);

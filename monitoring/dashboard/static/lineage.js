"use strict";
// What `offerrank lineage` answers, of a release or of a decision.

const VERDICTS = { learned: "", "held out": "acknowledged", unknown: "acknowledged", "not learned": "" };

/** Fills a box when the answer is there; it may take seconds. */
async function showLineage(id, what, make) {
  const said = await get(`/api/lineage/${encodeURIComponent(what)}`).catch((error) => ({ trouble: error.message }));
  if (said.trouble) return fill(id, el("p", { class: "empty-note" }, said.trouble));
  fill(id, ...[make(said)].flat(), ...unreadable(said.unreadable));
}

function releaseLink(version) {
  return /^\d+$/.test(String(version ?? "")) ? el("a", { href: `/releases/${version}` }, String(version)) : el("span", {}, version || NONE);
}

function grid(head, rows) {
  const numeric = head.map((name) => name.endsWith("#"));
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((name, i) => el("th", { scope: "col", class: numeric[i] ? "n" : null }, name.replace(/#$/, ""))))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell, i) => el("td", { class: numeric[i] ? "n" : head[i] === "why" ? "why" : null }, ...[cell].flat())))))));
}

function rowsOf(rows) {
  return Object.entries(rows ?? {}).map(([split, n]) => `${number(n)} ${split}`).join(", ") || NONE;
}

function line(made) {
  return grid(["release", "training", "made, UTC", "through, UTC", "rows"], made.map((one) => [releaseLink(one.release), one.kind, moment(one.created_ms), moment(one.trained_through_ms), rowsOf(one.rows)]));
}

function unreadable(found) {
  const named = Object.entries(found ?? {});
  return named.length ? [el("p", { class: "notice warn" }, `Not readable, and left out: ${named.map(([what, why]) => `${what}: ${why}`).join("; ")}`)] : [];
}

function lineageOfDecision({ made_by: made, slots, taught }) {
  return [
    el("h3", {}, "Made by"),
    made.length ? line(made) : el("p", { class: "empty-note" }, "no release of the folder: by priors, or by one that is gone"),
    el("h3", {}, "Has taught"),
    taught.length ? grid(["release", "verdict", "labels", "why"], taught.map((one) => [releaseLink(one.release), el("span", { class: `badge ${VERDICTS[one.verdict] ?? ""}` }, one.verdict), one.labels.join(", "), one.why]))
      : el("p", { class: "empty-note" }, "no release has come since that could have learned from it"),
    ...slots.filter((slot) => slot.left_out).map((slot) => el("p", { class: "empty-note" }, `${slot.offer_id} teaches nothing: ${slot.left_out}`)),
  ];
}

function lineageOfRelease({ decisions, learned, goes_back_to: before, gone, learned_on_by: after, serving, metadata }) {
  const spans = Object.entries(learned).map(([label, span]) => [label, span.from_ms ? moment(span.from_ms) : "the beginning", moment(span.through_ms)]);
  return [
    el("h3", {}, "Data"),
    decisions ? el("p", {}, `${number(decisions.decisions)} decisions in the archive${decisions.decisions ? `, ${moment(decisions.first_ms)} to ${moment(decisions.last_ms)} UTC` : ""}`) : el("p", { class: "empty-note" }, "not trained on the log, or only recalibrated"),
    spans.length ? grid(["label", "of decisions from, UTC", "through, UTC"], spans) : "",
    el("h3", {}, "Goes back to"),
    before.length ? line(before) : el("p", { class: "empty-note" }, gone === null ? "nothing: it was trained in full" : `release ${gone}, which is gone`),
    el("h3", {}, "Went on from it"),
    after.length ? el("p", {}, ...after.flatMap((version, i) => [i ? ", " : "", releaseLink(version)])) : el("p", { class: "empty-note" }, "no release yet"),
    el("h3", {}, "In service"),
    el("p", {}, "the newest whole release is ", releaseLink(serving.newest_whole), ...(serving.newest_decision ? [`; the newest archived decision, ${moment(serving.newest_decision.time_ms)} UTC, was made by `, releaseLink(serving.newest_decision.release)] : [])),
    el("p", { class: "quiet" }, metadata.missing ? metadata.missing : `ML Metadata: run ${metadata.pipeline_run} in ${metadata.store}`),
  ];
}

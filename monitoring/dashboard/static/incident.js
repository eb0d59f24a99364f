"use strict";
// One incident: what happened, how large, what it costs, what to do, and what was done.

const id = decodeURIComponent(location.pathname.split("/").pop());
const address = `/api/incidents/${encodeURIComponent(id)}`;
let shown = null;
const CHANGES = {
  opened: "opened", reopened: "came back", narrowed: "narrowed", dearer: "got dearer", acknowledged: "acknowledged",
  silenced: "silenced", unsilenced: "no longer silenced", closed: "closed", noted: "noted",
};

async function turn() {
  currency = (await describeMarket()).currency;
  try {
    shown = await get(address);
  } catch (error) {
    if (!(error instanceof Answer)) throw error;
    document.getElementById("missing").hidden = false;
    document.getElementById("incident").hidden = true;
    fill("missing", error.status === 404 ? `There is no incident ${id}. ` : `${error.message} `, el("a", { href: "/" }, "All incidents"));
    document.title = "OfferRank / no such incident";
    return error.status === 404 ? null : { trouble: error.message };
  }
  document.getElementById("missing").hidden = true;
  document.getElementById("incident").hidden = false;
  show(shown);
  return null;
}

function show({ incident, history, evidence, streams, runbook, course }) {
  document.title = `${incident.title} / OfferRank`;
  refill("head", incident, () => el("div", { class: "title" }, el("h2", { class: "big" }, incident.title), badge(incident)));
  const where = incident.slice.by ? `${incident.slice.by} = ${incident.slice.value}` : "all traffic";
  const facts = [
    ["Costs a day", costs(incident)], ["Size", incident.against_usual], ["Since", `${when(incident.since_ms)}, ${span(Date.now() - incident.since_ms)}`],
    ["Last seen", `the hour from ${when(incident.last_seen_ms)}`], ["Where", incident.slice.by === "campaign" ? el("a", { href: `/campaigns/${encodeURIComponent(incident.slice.value)}` }, where) : where], ["Release", incident.release || "any"],
    ...Object.entries(incident.detail).map(([name, value]) => [name.replaceAll("_", " "), told(name, value)]),
  ];
  refill("facts", facts, () => facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  document.getElementById("care").hidden = incident.state === "closed";
  document.getElementById("acknowledge").disabled = incident.state === "acknowledged";
  refill("runbook", runbook, () => marked(runbook || `See ${incident.runbook}.`));
  refill("history", history, () => [...history].reverse().map((one) => el("li", {},
    el("time", { datetime: new Date(one.at_ms).toISOString() }, when(one.at_ms)), el("span", {}, el("b", {}, CHANGES[one.change] ?? one.change), one.by ? ` by ${one.by}` : "",
      one.note ? el("span", { class: "quiet" }, ` · ${one.note}`) : ""))));
  table("streams", ["what", "series", "where"], streams.map(({ kind, series, slice }) => ({
    cells: [kind.replaceAll("_", " "), seen(series, slice), slice.by ? `${slice.by} ${slice.value}` : "all traffic"],
  })), "nothing");
  drawEvidence(incident, evidence, course);
}

function told(name, value) {
  if (typeof value !== "number") return String(value);
  return /share/.test(name) ? percent(value) : Number.isInteger(value) ? number(value) : short(value);
}

/** The view that shows a series. */
function seen(series, slice) {
  const views = {
    feature: `/features/${encodeURIComponent(series.name)}${slice.by ? `?${new URLSearchParams(slice)}` : ""}`,
    calibration: `/predictions?task=${encodeURIComponent(series.name)}`, probability: `/predictions?task=${encodeURIComponent(series.name)}`,
    flow: "/live", level: "/live", latency: "/live",
  };
  return views[series.kind] ? el("a", { href: views[series.kind] }, series.name || series.kind) : series.name || series.kind;
}

function drawEvidence(incident, evidence, course) {
  const mine = evidence.filter((one) => one.stream.kind === incident.kind && one.stream.series.name === incident.series.name
    && one.stream.slice.by === incident.slice.by && one.stream.slice.value === incident.slice.value);
  const at = mine.map((one) => utc(one.hour_ms));
  const scale = incident.unit === "%" ? 100 : 1;
  const scaled = (name) => mine.map((one) => (one[name] === null ? null : one[name] * scale));
  const [size, usual] = [scaled("size"), scaled("usual")];
  const before = course.map((one) => one.value * scale);
  const top = Math.max(0, ...size, ...usual, ...before);
  const low = Math.min(0, ...size, ...usual);
  const times = [...mine.map((one) => one.hour_ms), ...course.map((one) => one.at_ms)];
  const dots = mine.length < 60 ? "lines+markers" : "lines";
  fill("evidence-unit", `${incident.size_is}${incident.unit === "%" ? ", %" : ""} `, el("span", { style: { color: "var(--bad)" } }, "found "), el("span", { style: { color: "var(--a)" } }, `${incident.usual_is} `), course.length ? "as counted" : "");
  plot("chart-evidence", [
    line(course.map((one) => utc(one.at_ms)), before, "this hour", colour("--quiet"), { line: { color: colour("--quiet"), width: 1.2 }, hovertemplate: "%{y:.4~g}" }),
    line(at, usual, "usual", colour("--a"), { mode: dots, line: { color: colour("--a"), width: 1.8, dash: "dot" }, hovertemplate: "%{y:.4~g}" }),
    line(at, size, "found", colour("--bad"), { mode: dots, hovertemplate: "%{y:.4~g}" }),
  ], {
    xaxis: timeAxis(Math.min(...times) - shown.hour_length_ms, Math.max(...times) + shown.hour_length_ms),
    yaxis: { ...axes(), range: [low * 1.08, top > 0 ? top * 1.08 : 1], nticks: 5 },
  }, "no evidence is kept any more");
  numbers("figure-evidence", ["hour", "found#", "usual#", "evidence#", `${currency} a day#`], () => mine.map((one) => [
    when(one.hour_ms), short(one.size * scale), short(one.usual * scale), short(one.evidence), one.cost_micros_per_day ? amount(one.cost_micros_per_day) : NONE]).reverse());
}

function short(value) {
  return value === null ? NONE : Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
}

/** Paragraphs, lists and code of a runbook, as text nodes. */
function marked(text) {
  const made = [];
  let list = null;
  for (const block of text.split(/\n(?=\n|- |\d+\. )/)) {
    const said = block.trim();
    if (!said) { list = null; continue; }
    const item = said.match(/^(- |\d+\. )([\s\S]*)$/);
    if (item) {
      if (!list) made.push(list = el(item[1] === "- " ? "ul" : "ol", {}));
      list.append(el("li", {}, ...inline(item[2])));
    } else {
      list = null;
      made.push(el("p", {}, ...inline(said)));
    }
  }
  return made;
}

function inline(text) {
  return text.replace(/\s*\n\s*/g, " ").split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`")) return el("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return el("b", {}, part.slice(2, -2));
    if (part.startsWith("*")) return el("em", {}, part.slice(1, -1));
    return part.startsWith("[") ? part.slice(1, part.indexOf("]")) : part;
  });
}

async function act(what, said, told) {
  try {
    await post(`${address}/${what}`, { note: document.getElementById("note").value.trim(), ...said });
    document.getElementById("note").value = "";
    fill("done", told);
    await turn();
  } catch (error) {
    fill("done", el("span", { class: "bad" }, error.message));
  }
}

document.getElementById("acknowledge").addEventListener("click", () => act("acknowledge", {}, "Acknowledged: it is told again only if it gets twice as dear."));
document.getElementById("silence").addEventListener("click", () => {
  const hours = Number(document.getElementById("how-long").value);
  act("silence", { until_ms: Date.now() + hours * 3_600_000 }, "Silenced.");
});
document.getElementById("close").addEventListener("click", () => act("close", {}, "Closed. If it is found in a later hour, it opens again."));
redrawn.push(() => shown && drawEvidence(shown.incident, shown.evidence, shown.course));
keepAsking(turn);

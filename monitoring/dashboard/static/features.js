"use strict";
// All features in a table: those with incidents first, then those that moved most.

let said = null;
let touched = new Map();

async function turn() {
  const described = await describeMarket();
  document.title = `Features / OfferRank / ${described.name}`;
  const [features, incidents] = await Promise.all([get("/api/features"), get("/api/incidents")]);
  touched = new Map();
  for (const one of incidents.live) if (one.series.kind === "feature") touched.set(one.series.name, [...(touched.get(one.series.name) ?? []), one]);
  said = features;
  show();
  return null;
}

function show() {
  const { features, trouble, last_hour_ms: last, hours, hour_length_ms: length } = said;
  const empty = trouble ?? (last ? null : "The watch has not seen a whole hour yet: offerrank watch reads the archive, and knows one once it is over.");
  document.getElementById("nothing").hidden = empty === null;
  document.getElementById("list").hidden = empty !== null;
  if (empty !== null) return fill("nothing", empty);
  const day = last + length;
  fill("hours", `${hours} hour${hours > 1 ? "s" : ""} to ${new Date(day).toISOString().slice(0, 16).replace("T", " ")} UTC`);
  const wanted = document.getElementById("find").value.trim().toLowerCase();
  const found = features.filter((one) => one.name.toLowerCase().includes(wanted))
    .sort((a, b) => (touched.has(b.name) - touched.has(a.name)) || (b.moved ?? -1) - (a.moved ?? -1) || a.name.localeCompare(b.name));
  const rows = found.slice(0, 500).map((one) => ({
    cells: [
      el("td", {}, el("a", { href: `/features/${encodeURIComponent(one.name)}` }, one.name), ...(touched.get(one.name) ?? []).map(mark)),
      el("td", { class: "n" }, number(one.moved, 3)),
      el("td", { class: "n" }, number(one.from_training, 3)),
      change(one.missing, one.missing_before),
      change(one.unknown, one.unknown_before),
      number(one.rows),
    ],
  }));
  const focused = document.activeElement?.getAttribute("href");
  table("features", ["feature", "moved#", "from training#", "missing#", "unknown#", "rows#"], rows, wanted ? "none of that name" : "this market has no features");
  if (focused) document.querySelector(`#features a[href="${CSS.escape(focused)}"]`)?.focus();
}

function mark(one) {
  return el("a", { class: "tag bad", href: `/incidents/${encodeURIComponent(one.id)}`, title: one.title }, one.kind.replaceAll("_", " "));
}

/** A share, and what it was the day before where that differs. */
function change(now, before) {
  const differs = now !== null && before !== null && Math.abs(now - before) > 0.001;
  return el("td", { class: "n" }, percent(now), differs ? el("small", {}, ` was ${percent(before)}`) : "");
}

document.getElementById("find").addEventListener("input", () => said && show());
keepAsking(turn, 10_000);

"use strict";
// Decisions of the archive that are like what the address asks for: looked for once, further and further back until one is found.

const FIELDS = ["id", "shopper", "offer", "campaign", "since", "until", "before_ms"];
const asked = new URLSearchParams([...new URLSearchParams(location.search)].filter(([name, value]) => value && FIELDS.includes(name)));

async function turn() {
  const described = await describeMarket();
  document.title = `Decisions / OfferRank / ${described.name}`;
  try {
    show(await look());
  } catch (error) {
    if (!(error instanceof Answer)) throw error;
    fill("looked", "");
    document.getElementById("nothing").hidden = false;
    fill("nothing", error.message);
  }
  return { good: `live · asked at ${clock(Date.now())} UTC` };
}

const MOST_STEPS = 60;

/** One answer takes five seconds at most, and says how far it came: the next goes on from there. */
async function look() {
  const step = new URLSearchParams(asked);
  let stopped = false;
  const stop = el("button", { type: "button" }, "stop");
  stop.addEventListener("click", () => { stopped = true; });
  fill("looked", "looking…");
  let all = null;
  for (let i = 0; i < MOST_STEPS && !stopped; i++) {
    const said = await get(`/api/archive/decisions?${step}`);
    all = { ...said, parts: said.parts + (all?.parts ?? 0), unreadable: [...new Set([...(all?.unreadable ?? []), ...said.unreadable])].slice(0, 5) };
    if (said.decisions.length || said.looked_to_ms === null || said.looked_to_ms >= Number(step.get("before_ms") ?? Infinity)) break;
    step.set("before_ms", said.looked_to_ms);
    fill("looked", `looking… back to ${moment(said.looked_to_ms)} UTC `, stop);
  }
  return all;
}

function show({ decisions, looked_to_ms: to, parts, unreadable, sees_shoppers: sees }) {
  document.getElementById("shopper-label").hidden = !sees;
  fill("looked", `${number(parts)} ${parts === 1 ? "part" : "parts"} of the archive looked through${to === null ? "" : `, back to ${moment(to)} UTC`}`);
  document.getElementById("unreadable").hidden = !unreadable.length;
  fill("unreadable", "Not readable, and left out: ", unreadable.join("; "));
  document.getElementById("nothing").hidden = decisions.length > 0;
  fill("nothing", parts === 0 && to === null ? "Nothing is archived in this time: the archiver writes a part a minute." : to === null ? "No decision like this is in the archive." : "No decision like this so far. ");
  document.getElementById("list").hidden = decisions.length === 0;
  table("found", ["time, UTC", "decision", "shown", "release", ...(sees ? ["shopper"] : []), "time#", ""], decisions.map((made) => ({ cells: [
    el("td", { class: "nowrap" }, moment(made.time_ms, 23)),
    el("td", {}, el("a", { href: `/decisions/${encodeURIComponent(made.decision_id)}?at_ms=${made.time_ms}` }, made.decision_id)),
    el("td", {}, made.slots.length ? clipped(made.slots.map((slot) => title(slot.offer_id)).join(" · ")) : el("span", { class: "quiet" }, "no offer")),
    made.release,
    ...(sees ? [el("td", {}, el("a", { href: `/decisions?shopper=${encodeURIComponent(made.shopper_key)}` }, clipped(made.shopper_key)))] : []),
    made.total_us === null ? NONE : `${number(made.total_us / 1000, 1)} ms`,
    el("td", {}, ...tags(made)),
  ] })), "none");
  if (to === null) return fill("further");
  const further = new URLSearchParams(asked);
  further.set("before_ms", to);
  const link = el("a", { href: `/decisions?${further}` }, "look further back");
  if (decisions.length) fill("further", link);
  else document.getElementById("nothing").append(link);
}

function clipped(text) {
  return el("div", { class: "clip", title: text }, text);
}

for (const field of document.querySelectorAll("#search input")) field.value = asked.get(field.name) ?? "";
// What was left empty has no place in the address.
document.getElementById("search").addEventListener("submit", (event) => {
  for (const field of event.target.querySelectorAll("input")) field.disabled = !field.value.trim();
});
addEventListener("pageshow", () => document.querySelectorAll("#search input").forEach((field) => { field.disabled = false; }));
askOnce(turn);

"use strict";
// One decision explained: what was shown and why, who lost and why, what came of it, and its lineage.

const name = decodeURIComponent(location.pathname.slice("/decisions/".length));
const at = new URLSearchParams(location.search).get("at_ms");
let currency = "";

async function turn() {
  currency = (await describeMarket()).currency;
  document.title = `${name} / Decisions / OfferRank`;
  const said = await get(`/api/archive/decisions/${encodeURIComponent(name)}${/^\d+$/.test(at ?? "") ? `?at_ms=${at}` : ""}`);
  document.getElementById("nothing").hidden = said.known;
  document.getElementById("decision").hidden = !said.known;
  if (said.known) show(said);
  else fill("nothing", `No decision ${name} was found${said.looked_to_ms === null ? "" : ` back to ${moment(said.looked_to_ms)} UTC`}. `,
    el("a", { href: `/decisions?${new URLSearchParams({ id: name, ...(said.looked_to_ms === null ? {} : { before_ms: said.looked_to_ms }) })}` }, said.looked_to_ms === null ? "Search" : "Look further back"));
  return { good: `live · asked at ${clock(Date.now())} UTC` };
}

function show({ decision: made, events, events_told: told, archived, bids }) {
  fill("name", made.decision_id);
  fill("marks", ...tags(made));
  document.getElementById("fresh").hidden = archived;
  facts("facts", [
    ["Time, UTC", moment(made.time_ms, 23)], ["Release", releaseLink(made.release)], ["Policy", made.policy_id], ["Asked by", made.asked_by || NONE],
    ["Shopper", made.shopper_key === "hidden" ? "hidden" : el("a", { href: `/decisions?shopper=${encodeURIComponent(made.shopper_key)}` }, made.shopper_key)],
    ["Took", made.total_us === null ? NONE : `${number(made.total_us / 1000, 1)} ms`], ["Drawn at random", made.explored ? "yes" : "no"], ["Fallbacks", made.degraded.join(", ") || "none"],
  ]);
  showSlots(made.slots);
  showEvents(events, told);
  fill("ranked", inside({ ...made, candidates: listed(made.candidates) }));
  addBids(made, bids);
  const claimed = Object.values(made.stage_us).reduce((sum, us) => sum + us, 0);
  const stages = Object.entries({ ...made.stage_us, ...(claimed ? { other: Math.max(made.total_us - claimed, 0) } : {}) }).sort((a, b) => b[1] - a[1]);
  table("stages", ["stage", "ms#", "share#"], stages.map(([stage, us]) => ({ cells: [stage, number(us / 1000, 2), percent(us / made.total_us, 0)] })), "not logged");
  showLineage("lineage", made.decision_id, lineageOfDecision);
}

/** As `inside` takes them, where a part of before has none. */
function listed(candidates) {
  return candidates ?? { offer_id: [], source: [], probability: {}, ecpm_micros: [], reason: [], unlisted: {} };
}

function showSlots(slots) {
  const tasks = Object.keys(slots[0]?.probability ?? {});
  table("slots", ["slot#", "offer", "campaign", `bid ${currency}#`, "pacing ×#", ...tasks.map((task) => `p(${task}) %#`), `eCPM ${currency}#`, `price ${currency}#`, `held ${currency}#`, "propensity#", "impression"], slots.map((slot) => ({ cells: [
    String(slot.position + 1),
    el("td", {}, `${title(slot.offer_id)} `, el("small", {}, slot.offer_id)),
    el("td", {}, el("a", { href: `/campaigns/${encodeURIComponent(slot.campaign_id)}` }, slot.campaign_id)),
    el("td", { class: "n" }, amount(slot.bid_micros), " ", el("small", {}, slot.bid_kind)),
    number(slot.pacing_multiplier, 2), ...tasks.map((task) => points(slot.probability[task], 3)), amount(slot.ecpm_micros),
    el("td", { class: "n" }, amount(slot.bid_kind === "cpm" && slot.price_micros !== null ? slot.price_micros * 1000 : slot.price_micros), " ", el("small", {}, slot.bid_kind)),
    amount(slot.hold_micros), number(slot.propensity, 4), slot.impression_id,
  ] })), "no offer");
}

function showEvents(events, told) {
  fill("told", told.looked_to_ms === null ? "" : `looked for until ${moment(told.looked_to_ms)} UTC`, told.unreadable.length ? ` · ${told.unreadable.length} parts cannot be read` : "");
  table("events", ["time, UTC", "what", "became", "offer", `charged ${currency}#`, "why"], events.map((one) => ({ cells: [
    moment(one.time_ms, 23), one.type.replaceAll("_", " "), el("span", { class: one.status === "invalid" ? "bad" : "" }, one.status.replaceAll("_", " ")),
    el("td", {}, `${title(one.offer_id)} `, el("small", {}, one.offer_id)), one.charged_micros ? amount(one.charged_micros) : NONE, one.reason ?? "",
  ] })), "nothing was reported, or it is not archived yet");
}

/** A column of bids beside the candidates' prices. */
function addBids(made, bids) {
  const sold = new Map(made.slots.map((slot) => [slot.offer_id, slot]));
  for (const [i, line] of [...document.querySelectorAll("#ranked tr")].entries()) {
    const offer = line.querySelector("td small")?.textContent;
    const bid = sold.get(offer) ?? bids[market.campaigns[offer]];
    line.children[2]?.before(i ? el("td", { class: "n" }, bid ? `${amount(bid.bid_micros)} ` : NONE, bid ? el("small", {}, bid.bid_kind) : "") : el("th", { class: "n", scope: "col" }, `bid ${currency}`));
  }
}

askOnce(turn);

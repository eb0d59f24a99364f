"use strict";
// All campaigns, a page of fifty at a time: searched and sorted by the server, since there may be ten thousand.

const COLUMNS = [
  ["campaign", "campaign"], ["today", null], ["spent", "spent"], ["off plan", "off_plan"], ["held", "held"], ["budget", "budget"],
  ["pacing ×", "pacing"], ["won", "win_rate"], ["sold", "sold"], ["bid", null], ["paid of bid", "price_of_bid"], ["predicted / came", null],
];
const STRONG = Math.log10(168);
let asked = Object.fromEntries(new URLSearchParams(location.search));
let touched = new Map();

function wanted() {
  return new URLSearchParams(Object.entries(asked).filter(([name, value]) => value && ["find", "sort", "rising", "page"].includes(name)));
}

async function turn() {
  const described = await describeMarket();
  document.title = `Campaigns / OfferRank / ${described.name}`;
  const asking = wanted().toString();
  const [said, incidents] = await Promise.all([get(`/api/campaigns?${asking}`), get("/api/incidents").catch(() => ({ live: [] }))]);
  if (asking !== wanted().toString()) return null;
  touched = new Map();
  for (const one of incidents.live) if (one.slice.by === "campaign") touched.set(one.slice.value, [...(touched.get(one.slice.value) ?? []), one]);
  show(said);
  return still(said);
}

function show(said) {
  const { campaigns, currency, found, known, page, pages, day_fraction: fraction, day_length_s: length } = said;
  document.getElementById("nothing").hidden = said.read_ms !== null;
  document.getElementById("list").hidden = said.read_ms === null;
  if (said.read_ms === null) return fill("nothing", "Budgets have not been read yet: Redis does not answer.");
  fill("day", `${percent(fraction, 0)} of a budget day of ${duration(length)} · ${found < known ? `${number(found)} of ` : ""}${number(known)} campaigns`);
  const focused = document.activeElement?.id || document.activeElement?.getAttribute("href");
  table("campaigns", COLUMNS.map(([name]) => (["campaign", "today"].includes(name) ? name : `${name}${["spent", "held", "budget"].includes(name) ? ` ${currency}` : ""}#`)),
    campaigns.map(row), asked.find ? "none of that name" : "this market has no campaigns");
  document.querySelectorAll("#campaigns thead th").forEach((head, i) => sortable(head, COLUMNS[i][1]));
  turnPages(page, pages);
  if (focused) (document.getElementById(focused) ?? document.querySelector(`#list a[href="${CSS.escape(focused)}"]`))?.focus();
}

function row(one) {
  const over = one.daily_budget_micros !== null && one.spent_micros > one.daily_budget_micros;
  return { cells: [
    el("td", {}, el("a", { href: `/campaigns/${encodeURIComponent(one.campaign)}` }, one.campaign),
      ...(touched.get(one.campaign) ?? []).map((found) => el("a", { class: "tag bad", href: `/incidents/${encodeURIComponent(found.id)}`, title: found.title }, found.kind.replaceAll("_", " "))),
      " ", el("small", {}, one.advertiser === one.campaign ? "" : one.advertiser)),
    bar(one),
    el("td", { class: over ? "n bad" : "n" }, over ? "overspent " : "", amount(one.spent_micros)),
    signed(one.off_plan), amount(one.held_micros),
    one.daily_budget_micros === null ? "∞" : amount(one.daily_budget_micros),
    number(one.pacing_multiplier, 2), percent(one.win_rate), number(one.sold),
    el("td", { class: "n" }, amount(one.bid_micros), " ", el("small", {}, one.bid_kind)), percent(one.price_of_bid, 0),
    el("td", { class: "n" }, ...judged(one.judged)),
  ] };
}

function signed(share) {
  return share === null ? NONE : `${share > 0 ? "+" : ""}${percent(share)}`;
}

function judged(tasks) {
  if (!tasks.length) return [NONE];
  return tasks.flatMap((one, i) => [i ? " " : "", el("span", { class: one.evidence > STRONG ? "bad" : "", title: `${one.task}: ${number(one.rows)} rows, evidence 10^${number(one.evidence, 1)}` },
    one.pcoc === null ? "∞" : number(one.pcoc, 2)), el("small", {}, ` ${one.task}`)]);
}

function sortable(head, by) {
  if (!by) return;
  const now = (asked.sort ?? "spent") === by;
  const rising = asked.rising === "true";
  const made = el("button", { type: "button", id: `by-${by}`, class: "sort" }, head.textContent, now ? (rising ? " ▴" : " ▾") : "");
  if (now) head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  made.addEventListener("click", () => ask({ sort: by, rising: String(now ? !rising : by === "campaign"), page: "" }));
  head.replaceChildren(made);
}

function turnPages(page, pages) {
  document.getElementById("turn").hidden = pages < 2;
  const link = (text, to, id) => {
    const made = el("button", { type: "button", id }, text);
    made.disabled = to < 1 || to > pages;
    made.addEventListener("click", () => ask({ page: String(to) }));
    return made;
  };
  fill("turn", link("before", page - 1, "page-before"), ` page ${number(page)} of ${number(pages)} `, link("next", page + 1, "page-next"));
}

/** What is asked for stands in the address, so that it can be sent. */
function ask(changed) {
  asked = { ...asked, ...changed };
  const text = wanted().toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  turn().catch((error) => connection(error.message));
}

let typing = null;
document.getElementById("find").value = asked.find ?? "";
document.getElementById("find").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => ask({ find: event.target.value.trim(), page: "" }), 200);
});
keepAsking(turn, 5_000);

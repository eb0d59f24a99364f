"use strict";
// Asks for the figures every two seconds and draws them. The page keeps no figures of its own.

let last = null;

async function turn() {
  await describeMarket();
  const [summary, decisions] = await Promise.all([get("/api/summary"), get("/api/decisions")]);
  last = summary;
  show(summary);
  showDecisions(decisions);
  if (summary.redis === false) return { trouble: "Redis is away: figures stand still until it is back" };
  return summary.caught_up ? {} : { good: "reading the log so far…" };
}

function show(summary) {
  document.title = `OfferRank / ${summary.market}`;
  fill("since", summary.since_ms ? `totals since ${clock(summary.since_ms)} UTC (${duration((summary.now_ms - summary.since_ms) / 1000)})` : "waiting for the first decision");
  document.querySelectorAll(".trailing").forEach((one) => { one.textContent = `trailing ${duration(summary.trailing_s)}`; });
  document.querySelector(".pair .trailing").textContent = `last ${duration(summary.recent.seconds || summary.trailing_s)}`;
  fill("revenue-title", `Revenue per 1,000 decisions, ${summary.currency}`);
  fill("health", ...summary.health.map((one) => el("li", { class: one.ok === null ? "" : one.ok ? "good" : "bad" }, el("b", {}, one.name), " ", el("span", { class: "quiet" }, one.detail))));
  showTiles(summary);
  drawCharts(summary);
  showReleases(summary);
  showStages(summary.stages);
  showCampaigns(summary);
  showNotes(summary);
}

function tile(name, value, unit, below, alarm = false) {
  return el("div", { class: alarm ? "tile alarm" : "tile" }, el("h2", {}, name),
    el("strong", {}, value, " ", value === NONE ? "" : el("small", {}, unit)), el("p", {}, below));
}

function showTiles({ recent, total, currency }) {
  fill("tiles",
    tile("Decisions", number(recent.decisions_per_s, 1), "per s", `${number(total.decisions)} in all`),
    tile("Latency p95", number(recent.p95_ms, 1), "ms", `p50 ${number(recent.p50_ms, 1)} · p99 ${number(recent.p99_ms, 1)} ms`),
    tile("CTR", points(recent.ctr, 2), "%", `${percent(total.ctr, 2)} in all, ${number(total.clicks)} clicks`),
    tile("Revenue per 1,000", amount(recent.revenue_per_1000_micros), currency, `${amount(total.charged_micros)} ${currency} in all`),
    tile("Fill rate", points(recent.fill_rate, 1), "%", `${percent(total.fill_rate)} in all`),
    tile("Degraded", points(recent.degraded_share, 1), "%",
      `${percent(total.degraded_share)} in all`, recent.degraded_share > 0.01));
}

function showReleases({ releases, currency }) {
  const rows = releases.map((one) => ({
    cells: [
      el("td", {}, /^\d+$/.test(one.release) ? el("a", { href: `/releases/${one.release}` }, one.release) : one.release),
      clock(one.first_ms),
      number(one.decisions),
      [percent(one.ctr, 2), one.ctr_low === null ? "" : `${points(one.ctr_low, 2)} to ${points(one.ctr_high, 2)}`],
      percent(one.cvr, 1),
      amount(one.revenue_per_1000_micros),
      percent(one.fill_rate),
    ].map((cell) => (Array.isArray(cell) ? el("td", { class: "n" }, cell[0], " ", el("small", {}, cell[1])) : cell)),
  }));
  table("releases", ["release", "since UTC", "decisions#", "CTR (95 %)#", "CVR#", `${currency} / 1,000#`, "filled#"], rows, "waiting for the first decision");
}

function showStages(stages) {
  if (!stages.length) return fill("stages", el("p", { class: "empty-note" }, "no decisions in this time"));
  const kind = (i) => `stage-${Math.min(i, 7)}`;
  fill("stages",
    el("div", { class: "stack" }, ...stages.map((one, i) => el("i", { class: kind(i), style: { flex: `${one.share} 0 0` }, title: one.stage }))),
    el("ul", { class: "stage-list" }, ...stages.map((one, i) => el("li", {}, el("i", { class: kind(i) }), el("span", {}, one.stage),
      el("span", {}, `${number(one.mean_ms, 2)} ms `, el("small", { class: "quiet" }, percent(one.share, 0)))))));
}

function showCampaigns({ campaigns, currency, n_campaigns: known, day_fraction: fraction, day_length_s: length }) {
  fill("day", fraction === null ? "" : `${percent(fraction, 0)} of a budget day of ${duration(length)}`,
    " ", el("span", { class: "key" }, "spent"), " ", el("span", { class: "key held" }, "held"), " ", el("span", { class: "key plan" }, "plan"),
    campaigns.length < known ? ` · the ${campaigns.length} of ${known} campaigns with the most spend` : "");
  const rows = campaigns.map((one) => {
    const ahead = one.plan_micros ? one.spent_micros / one.plan_micros : null;
    const over = one.daily_budget_micros !== null && one.spent_micros > one.daily_budget_micros;
    return {
      cells: [
        el("td", {}, el("a", { href: `/campaigns/${encodeURIComponent(one.campaign)}` }, one.campaign), " ", el("small", {}, one.advertiser === one.campaign ? "" : one.advertiser)),
        el("td", { class: "n" }, amount(one.bid_micros), " ", el("small", {}, one.bid_kind)),
        bar(one),
        el("td", { class: over ? "n bad" : "n" }, over ? "overspent " : "", amount(one.spent_micros)),
        amount(one.held_micros),
        amount(one.plan_micros),
        percent(ahead, 0),
        one.daily_budget_micros === null ? "∞" : amount(one.daily_budget_micros),
        number(one.pacing_multiplier, 2),
      ],
    };
  });
  table("campaigns", ["campaign", `bid ${currency}#`, "today", "spent#", "held#", "plan#", "of plan#", "budget#", "pacing ×#"], rows, "budgets have not been read yet");
}

function showNotes({ unreadable, unattributed, degraded_by: degraded, statuses, invalid, bucket_s: bucket }) {
  const counted = (counts) => Object.entries(counts).map(([name, n]) => `${name.replaceAll("_", " ")} ${number(n)}`).join(", ");
  const reasons = Object.entries(degraded).map(([what, n]) => `${what} ${number(n)}`).join(", ");
  const [events, marked] = [counted(statuses), counted(invalid)];
  fill("notes", [
    `Every figure is computed from the decision and event log, in steps of ${duration(bucket)}; spend is read from the budgets.`,
    events && ` Events: ${events}.`,
    marked && ` Invalid traffic, counted nowhere else: ${marked}.`,
    reasons && ` Degraded: ${reasons}.`,
    unreadable ? ` ${number(unreadable)} log entries could not be read.` : "",
    unattributed ? ` ${number(unattributed)} events belong to decisions older than this page has seen, and count for no release.` : "",
  ].join(""));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => last && drawCharts(last));
keepAsking(turn);

"use strict";
// One campaign: its money today, its course over the hours, and why its offers lose.

const name = decodeURIComponent(location.pathname.slice("/campaigns/".length));
const TASKS = ["--a", "--b", "--c"];
let said = null;

async function turn() {
  await describeMarket();
  document.title = `${name} / Campaigns / OfferRank`;
  const [campaign, incidents] = await Promise.all([get(`/api/campaigns/${encodeURIComponent(name)}`), get("/api/incidents").catch(() => ({ live: [] }))]);
  said = campaign;
  document.getElementById("nothing").hidden = campaign.known;
  document.getElementById("campaign").hidden = !campaign.known;
  if (campaign.known) show(campaign, incidents.live.filter((one) => one.slice.by === "campaign" && one.slice.value === name));
  else fill("nothing", `This market has no campaign ${name}. `, el("a", { href: "/campaigns" }, "All campaigns"));
  return still(campaign);
}

function show({ now, judged, offers, currency, day_fraction: fraction, course }, incidents) {
  fill("name", name);
  fill("whose", now ? `of ${now.advertiser} · bids ${amount(now.bid_micros)} ${currency} ${now.bid_kind}` : "");
  refill("incidents", incidents, () => incidents.map((one) => el("a", { class: "tag bad", href: `/incidents/${encodeURIComponent(one.id)}` }, one.title)));
  const over = now && now.daily_budget_micros !== null && now.spent_micros > now.daily_budget_micros;
  const pairs = now ? [
    ["Spent today", [`${amount(now.spent_micros)} ${currency}`, over ? el("span", { class: "bad" }, " overspent") : "", bar(now)]],
    ["Budget", now.daily_budget_micros === null ? "none" : `${amount(now.daily_budget_micros)} ${currency}`],
    [`Plan, ${percent(fraction, 0)} into the day`, now.plan_micros === null ? NONE : `${amount(now.plan_micros)} ${currency}`],
    ["Off plan, of the budget", now.off_plan === null ? NONE : `${now.off_plan > 0 ? "+" : ""}${percent(now.off_plan)}`],
    ["Held for what may be charged", `${amount(now.held_micros)} ${currency}`],
    ["Pacing multiplier", number(now.pacing_multiplier, 2)],
    ["Won, of its candidates", percent(now.win_rate)],
    ["Paid of what was bid", percent(now.price_of_bid, 0)],
    ...judged.map((one) => [`Predicted / came, ${one.task}`, [`${one.pcoc === null ? "∞" : number(one.pcoc, 2)} `, el("small", { class: one.evidence > Math.log10(168) ? "bad" : "quiet" },
      `${number(one.low, 2)} to ${one.high === null ? "∞" : number(one.high, 2)}, evidence ${one.evidence < 1.5 ? "little" : `10^${number(one.evidence, 1)}`}`)]]),
  ] : [["Money", "budgets have not been read yet"]];
  refill("facts", pairs.map(([key, value]) => [key, [value].flat().map((part) => part.textContent ?? part)]), () => pairs.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, ...[value].flat()))));
  showFates(now);
  table("offers", ["offer", "title"], offers.map((one) => ({ cells: [el("td", {}, el("a", { href: `/decisions?offer=${encodeURIComponent(one.id)}` }, one.id)), one.title] })), "it has none");
  const unwatched = document.getElementById("unwatched");
  unwatched.hidden = Boolean(course.hours?.length);
  if (!unwatched.hidden) fill("unwatched", course.trouble ?? (course.last_hour_ms
    ? `No hours of it: in the last ${course.shown_hours} it had too little traffic to be watched on its own.`
    : "The watch has not seen a whole hour yet: offerrank watch reads the archive, and knows one once it is over."));
  document.querySelector(".charts").hidden = !unwatched.hidden;
  if (unwatched.hidden) draw(said);
}

function showFates(now) {
  const all = (now?.fates ?? []).reduce((sum, one) => sum + one.candidates, 0);
  fill("rests", now?.listed ? `last minutes, from ${number(now.listed)} that are logged` : "");
  table("fates", ["why", "share#", "candidates#"], (now?.fates ?? []).map((one) => {
    const known = market.reasons[one.reason];
    return { class: one.reason === 0 ? "won" : null, cells: [el("td", {}, known?.meaning ?? `reason ${one.reason}`, " ", el("small", {}, known?.name.toLowerCase().replaceAll("_", " ") ?? "")), percent(one.candidates / all), number(one.candidates)] };
  }), "none of its offers was a candidate in the last minutes");
}

function draw({ course, currency }) {
  const { hours, hour_length_ms: length, last_hour_ms: last } = course;
  const at = hours.map((one) => one.hour_ms);
  const x = at.map(utc);
  const span = [at[0] ?? 0, last + length];
  const share = (one, part, whole) => (one[whole] ? (100 * one[part]) / one[whole] : null);
  const dots = { mode: at.length < 40 ? "lines+markers" : "lines" };
  const chart = (id, y, format, unit) => plot(id, [line(x, y, "", colour("--a"), { ...dots, hovertemplate: `%{y:${format}}${unit}<extra></extra>` })],
    { xaxis: timeAxis(...span), yaxis: { ...axes(), range: [0, Math.max(0, ...y.map((value) => value ?? 0)) * 1.08 || 1], nticks: 5 } });
  const charged = hours.map((one) => one.charged_micros / 1e6);
  const [slots, price] = [hours.map((one) => share(one, "filled", "wanted")), hours.map((one) => share(one, "price_micros", "bid_micros"))];
  fill("title-charged", `Charged an hour, ${currency}`);
  chart("chart-charged", charged, ",.2f", ` ${currency}`);
  numbers("figure-charged", ["hour", `charged ${currency}#`, "sold#", "impressions#", "clicks#", "conversions#"], () => hours.map((one) => [moment(one.hour_ms, 16), amount(one.charged_micros), number(one.filled), number(one.impressions), number(one.clicks), number(one.conversions)]).reverse());
  chart("chart-share", slots, ".2f", " %");
  numbers("figure-share", ["hour", "share %#", "sold to it#", "slots of all pages#"], () => hours.map((one, i) => [moment(one.hour_ms, 16), number(slots[i], 2), number(one.filled), number(one.wanted)]).reverse());
  chart("chart-price", price, ".1f", " %");
  numbers("figure-price", ["hour", "paid of bid %#", `prices ${currency}#`, `bids ${currency}#`], () => hours.map((one, i) => [moment(one.hour_ms, 16), number(price[i], 1), amount(one.price_micros), amount(one.bid_micros)]).reverse());
  drawPcoc(hours, x, span, dots);
}

function drawPcoc(hours, x, span, dots) {
  const tasks = [...new Set(hours.flatMap((one) => Object.keys(one.tasks)))].sort();
  fill("legend-pcoc", ...tasks.map((task, i) => el("span", { style: { color: `var(${TASKS[i % 3]})` } }, `${task} `)), el("span", { class: "quiet" }, "1 is right"));
  const right = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("--mark"), width: 1.5, dash: "dot" } };
  const lines = tasks.map((task, i) => line(x, hours.map((one) => one.tasks[task]?.pcoc ?? null), task, colour(TASKS[i % 3]), { ...dots, connectgaps: true, hovertemplate: "%{y:.2f}" }));
  const top = Math.min(4, Math.max(1.2, ...lines.flatMap((one) => one.y.map((value) => value ?? 0))));
  plot("chart-pcoc", lines, { xaxis: timeAxis(...span), yaxis: { ...axes(), range: [0, top * 1.05], nticks: 6 }, shapes: [right] }, "no label is final yet");
  const of = (one, task) => one.tasks[task];
  numbers("figure-pcoc", ["hour", ...tasks.flatMap((task) => [`${task}#`, "95 %#", "came#", "rows#"])], () => hours.map((one) => [moment(one.hour_ms, 16), ...tasks.flatMap((task) => (of(one, task)
    ? [ratio(of(one, task).pcoc), `${ratio(of(one, task).low)} to ${ratio(of(one, task).high)}`, number(of(one, task).came), number(of(one, task).rows)] : [NONE, NONE, NONE, NONE]))]).reverse());
}

function ratio(value) {
  return value === null ? "∞" : number(value, 2);
}

redrawn.push(() => said?.course?.hours?.length && draw(said));
keepAsking(turn, 5_000);

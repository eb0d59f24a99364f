"use strict";
// What is wrong, what it costs, and whether anybody would know.

async function turn() {
  const described = await describeMarket();
  currency = described.currency;
  const [incidents, summary] = await Promise.all([get("/api/incidents"), get("/api/summary")]);
  showWatch(incidents, summary.health.find((one) => one.name === "Watch")?.ok === true);
  showIncidents(incidents);
  showHealth(summary.health);
  showTiles(summary);
  await Promise.all([showDay(), showFaults()]);
  const open = incidents.live.filter((one) => one.state !== "silenced");
  document.title = `${open.length ? `(${open.length}) ` : ""}OfferRank / ${described.name}`;
  if (summary.redis === false) return { trouble: "Redis is away: figures stand still until it is back" };
  return null;
}

/** Only a demo has faults to choose from. */
async function showFaults() {
  const { faults, now } = await get("/api/faults");
  const names = Object.keys(faults);
  document.getElementById("faults").hidden = !names.length;
  refill("fault", names, () => names.map((name) => el("option", { value: name }, `${name}: ${faults[name]}`)));
  document.getElementById("mend").disabled = now === null;
  refill("broken", now, () => [now === null ? "Nothing is broken." : `Broken: ${faults[now] ?? now}.`]);
}

for (const [button, method] of [["break", "PUT"], ["mend", "DELETE"]]) {
  document.getElementById(button).addEventListener("click", async () => {
    const name = method === "PUT" ? `/${encodeURIComponent(document.getElementById("fault").value)}` : "";
    try {
      await post(`/api/faults${name}`, {}, method);
      await showFaults();
    } catch (error) {
      fill("broken", el("span", { class: "bad" }, error.message));
    }
  });
}

let day = null;
let askedAt = 0;
const TOTALS = { pages: "pages", filled: "offers shown", impressions: "impressions", clicks: "clicks", conversions: "conversions", charged_micros: "charged" };

/** The last day against the same hours before; it changes once an hour. */
async function showDay() {
  if (Date.now() - askedAt < 15_000) return;
  askedAt = Date.now();
  day = await get("/api/today");
  document.getElementById("day").hidden = !day.last_hour_ms;
  if (day.last_hour_ms) drawDay();
}

function drawDay() {
  const against = { 7: "the same hours a week before", 1: "the same hours of the day before" }[day.days_before];
  fill("day-against", against ? `against ${against}` : "there is nothing earlier to hold it against yet");
  fill("charged-title", `Charged an hour, ${currency}`);
  fill("legend-charged", el("span", { style: { color: "var(--a)" } }, "now "), against ? el("span", { class: "quiet" }, "before") : "");
  const at = day.hours.map((one) => one.hour_ms);
  const money = (key) => day.hours.map((one) => (one[key] ? one[key].charged_micros / 1e6 : null));
  const [now, before] = [money("now"), money("before")];
  plot("chart-charged", [
    line(at.map(utc), before, "before", colour("--quiet"), { line: { color: colour("--quiet"), width: 1.5, dash: "dot" }, hovertemplate: "%{y:,.2f}" }),
    line(at.map(utc), now, "now", colour("--a"), { hovertemplate: "%{y:,.2f}" }),
  ], { xaxis: timeAxis(at[0], at[at.length - 1] + day.hour_length_ms), yaxis: { ...axes(), range: [0, Math.max(...now, ...before, 0) * 1.08 || 1], nticks: 5 } });
  numbers("figure-charged", ["hour", "now#", "before#"], () => day.hours.map((one, i) => [when(one.hour_ms), number(now[i], 2), number(before[i], 2)]).reverse());
  const said = (name, value) => (name === "charged_micros" ? amount(value) : number(value));
  const rows = Object.entries(TOTALS).map(([name, text]) => {
    const { now: total, compared, before: earlier } = day.totals[name];
    const change = earlier ? (compared - earlier) / earlier : null;
    return { cells: [name === "charged_micros" ? `${text}, ${currency}` : text, said(name, total), said(name, earlier), change === null ? NONE : `${change > 0.0005 ? "+" : ""}${number(Math.round(change * 1000) / 10 + 0, 1)} %`] };
  });
  table("totals", ["", "last day#", "before#", "change#"], rows, "");
}

redrawn.push(() => day?.last_hour_ms && drawDay());

function showWatch({ live, watched, trouble, alerts, opinion_from_ms: from }, runs) {
  const open = live.filter((one) => one.state !== "silenced");
  const micros = open.reduce((sum, one) => sum + one.cost_micros_per_day, 0);
  const minutes = watched ? Math.floor((Date.now() - watched.at_ms) / 60_000) : null;
  refill("watch", [live, watched, trouble, alerts, from, minutes, runs], () => {
    const lines = [];
    if (!trouble && !watched && runs) {
      lines.push(el("p", { class: "notice" }, el("b", {}, "The first hour is not over yet. "), "The watch runs, and looks at service levels alone until then."));
    } else if (trouble || !watched) {
      lines.push(el("p", { class: "notice warn" }, el("b", {}, "Nobody watches. "), trouble ? `${trouble}.` : "The watch has not looked at an hour yet: offerrank watch does it, beside the archive.",
        " That this list is empty says nothing."));
    } else {
      const hour = `${when(watched.hour_ms)} to ${clock(watched.hour_ms + watched.hour_length_ms).slice(0, 5)}`;
      const looked = `${number(watched.streams)} series watched; the last hour that was looked at is ${hour}, ${span(Date.now() - watched.at_ms)} ago`;
      if (watched.late) lines.push(el("p", { class: "notice warn" }, el("b", {}, "The watch is late. "), looked, ". What happened since is not in this list."));
      if (open.length) {
        const many = `${number(open.length)} open incident${open.length > 1 ? "s" : ""}`;
        lines.push(el("p", { class: "sum" }, el("b", {}, many), micros ? ` cost${open.length > 1 ? "" : "s"} ${amount(micros)} ${currency} a day` : ", cost unknown", el("span", { class: "quiet" }, ` · ${looked}`)));
      } else if (!watched.late && !from) {
        lines.push(el("p", { class: "notice calm" }, el("b", {}, "All quiet. "), `${looked}.`));
      }
      if (from) {
        lines.push(el("p", { class: "notice" }, el("b", {}, "Too early to tell what is unusual. "),
          `Hours are compared with the same hours of earlier days, from ${when(from)} on. Until then only service levels, skew, money and bets on labels raise incidents.`));
      }
    }
    for (const one of alerts) {
      if (one.error) lines.push(el("p", { class: "notice warn" }, el("b", {}, `${one.receiver} does not take alerts. `), `${number(one.waiting)} wait since ${when(one.since_ms)}: ${one.error}`));
    }
    return lines;
  });
}

function card(one) {
  return el("li", { class: `incident ${one.state}` },
    el("a", { href: `/incidents/${encodeURIComponent(one.id)}` },
      el("span", { class: "cost" }, el("strong", {}, costs(one)), el("small", {}, one.cost_micros_per_day ? "a day" : "cost unknown")),
      el("span", { class: "what" },
        el("b", {}, one.title),
        el("span", { class: "quiet" }, one.against_usual),
        el("span", { class: "quiet" }, `since ${when(one.since_ms)}, ${span(Date.now() - one.since_ms)}`, one.findings > 1 ? ` · seen in ${number(one.findings)} series` : "", one.release ? ` · release ${one.release}` : "")),
      badge(one)));
}

function showIncidents({ live, more, closed }) {
  refill("incidents", [live, Math.floor(Date.now() / 60_000)], () => [...live.map(card), more ? el("li", { class: "quiet" }, `and ${number(more)} more, that cost less`) : null]);
  refill("closed", [closed, currency], () => closed.length
    ? el("details", { class: "numbers", id: "closed-list" }, el("summary", {}, `Closed lately (${closed.length})`), el("ol", { class: "incidents" }, ...closed.map(card)))
    : null);
}

function showHealth(health) {
  fill("health", ...health.map((one) => el("li", { class: one.ok === null ? "" : one.ok ? "good" : "bad" },
    el("b", {}, one.name), el("span", { class: "sr" }, one.ok === null ? " unknown" : one.ok ? " good" : " bad"), " ", el("span", { class: "quiet" }, one.detail))));
}

function tile(name, value, unit, below, alarm = false) {
  return el("div", { class: alarm ? "tile alarm" : "tile" }, el("h3", {}, name),
    el("strong", {}, value, " ", value === NONE ? "" : el("small", {}, unit)), el("p", {}, below));
}

function showTiles({ recent, total, currency: money }) {
  fill("tiles",
    tile("Decisions", number(recent.decisions_per_s, 1), "per s", `${number(total.decisions)} in all`),
    tile("Latency p99", number(recent.p99_ms, 1), "ms", `p50 ${number(recent.p50_ms, 1)} · p95 ${number(recent.p95_ms, 1)} ms`),
    tile("CTR", points(recent.ctr, 2), "%", `${percent(total.ctr, 2)} in all`),
    tile("Revenue per 1,000", amount(recent.revenue_per_1000_micros), money, `${amount(total.charged_micros)} ${money} in all`),
    tile("Fill rate", points(recent.fill_rate, 1), "%", `${percent(total.fill_rate)} in all`),
    tile("Degraded", points(recent.degraded_share, 1), "%", `${percent(total.degraded_share)} in all`, recent.degraded_share > 0.01));
}

keepAsking(turn);

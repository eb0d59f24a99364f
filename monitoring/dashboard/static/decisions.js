"use strict";
// The last decisions, each with its candidates' worth and the reason they lost. The list stands still while one is read.

function listIsRead() {
  const list = document.getElementById("decisions");
  return list.matches(":hover") || list.contains(document.activeElement) || list.querySelector("details[open]") !== null;
}

function title(offer) {
  return market?.titles[offer] ?? offer;
}

function reason(code) {
  const known = market?.reasons[code];
  return known ? [`${known.meaning} `, el("small", {}, `${known.name.toLowerCase().replaceAll("_", " ")} · ${code}`)] : [`reason ${code}`];
}

function showDecisions(decisions) {
  const frozen = listIsRead();
  if (frozen) {
    const resume = el("button", { type: "button" }, "go on");
    resume.addEventListener("click", () => {
      document.querySelectorAll("#decisions details[open]").forEach((one) => one.removeAttribute("open"));
      fill("frozen");
    });
    fill("frozen", "stands still while you read ", resume);
    return;
  }
  fill("frozen", decisions.length ? "newest first; open one to see why each offer was shown or not" : "");
  fill("decisions", ...(decisions.length ? decisions.map(decisionRow) : [el("p", { class: "empty-note" }, "waiting for the first decision")]));
}

function decisionRow(made) {
  const offers = made.slots.map((slot) => title(slot.offer_id)).join(" · ") || "no offer";
  const row = el("details", { class: "decision" },
    el("summary", {},
      el("span", {}, clock(made.time_ms, 3)),
      el("span", { class: "n" }, `${number(made.total_us / 1000, 1)} ms`),
      el("span", { class: "wide" }, made.release),
      el("span", { class: "wide quiet", title: made.shopper_key }, made.shopper_key),
      el("span", { class: "offers", title: offers }, offers),
      el("span", { class: "wide" }, ...tags(made))));
  row.addEventListener("toggle", () => {
    if (row.open && !row.querySelector(".inside")) row.append(inside(made));
  });
  return row;
}

function tags(made) {
  const explored = made.explored ? [el("span", { class: "tag" }, "explored")] : [];
  const invalid = made.invalid ? [el("span", { class: "tag bad" }, `invalid: ${made.invalid.replaceAll("_", " ")}`)] : [];
  return [...invalid, ...explored, ...made.degraded.map((what) => el("span", { class: "tag bad" }, `degraded: ${what}`))];
}

function inside(made) {
  const whole = el("a", { href: `/decisions/${encodeURIComponent(made.decision_id)}?at_ms=${made.time_ms}` }, made.decision_id);
  const facts = [["decision", whole], ["policy", made.policy_id], ["release", made.release], ...Object.entries(made.features)];
  const box = el("div", { class: "inside" },
    el("div", { class: "facts" }, ...facts.map(([name, value]) => el("span", {}, el("b", {}, name), value instanceof Node ? value : told(value)))));
  const { candidates, slots } = made;
  const unlisted = Object.entries(candidates.unlisted ?? {});
  if (!candidates.offer_id.length && !unlisted.length) {
    box.append(el("p", { class: "empty-note" }, "no candidate was found"));
    return box;
  }
  if (unlisted.length) box.append(el("p", { class: "quiet" }, "Logged with its winners only; the others: ", unlisted.map(lost).join(", ")));
  if (!candidates.offer_id.length) return box;
  const tasks = Object.keys(candidates.probability);
  const shown = new Map(slots.map((slot) => [slot.offer_id, slot]));
  const order = candidates.offer_id.map((_, i) => i).sort((a, b) =>
    (shown.get(candidates.offer_id[a])?.position ?? 1e9) - (shown.get(candidates.offer_id[b])?.position ?? 1e9)
    || (candidates.ecpm_micros[b] ?? -1) - (candidates.ecpm_micros[a] ?? -1));
  const currency = market?.currency ?? "";
  const holder = el("table", { id: `of-${made.decision_id}` });
  box.append(el("div", { class: "scroll" }, holder));
  const head = ["slot#", "offer", `eCPM ${currency}#`, `price ${currency}#`, ...tasks.map((task) => `p(${task}) %#`), "why", "campaign", "found by"];
  const rows = order.map((i) => candidateRow(candidates, i, tasks, shown.get(candidates.offer_id[i])));
  const lines = rows.map(({ cells, won }) => el("tr", { class: won ? "won" : null },
    ...cells.map((cell, i) => el("td", { class: head[i].endsWith("#") ? "n" : null }, ...[cell].flat()))));
  holder.append(
    el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { class: name.endsWith("#") ? "n" : null, scope: "col" }, name.replace(/#$/, ""))))),
    el("tbody", {}, ...lines));
  return box;
}

/** A feature's value; floats come as 32 bits, of which seven digits mean something. */
function told(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(7)));
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}

function lost([name, times]) {
  const known = Object.values(market?.reasons ?? {}).find((one) => one.name.toLowerCase() === name);
  return `${number(times)} ${known?.meaning ?? name}`;
}

function candidateRow(candidates, i, tasks, slot) {
  const offer = candidates.offer_id[i];
  return {
    won: Boolean(slot),
    cells: [
      slot ? String(slot.position + 1) : "",
      el("div", { class: "clip", title: `${title(offer)} (${offer})` }, `${title(offer)} `, el("small", {}, offer)),
      amount(candidates.ecpm_micros[i]),
      slot ? [amount(slot.bid_kind === "cpm" ? slot.price_micros * 1000 : slot.price_micros), el("small", {}, ` ${slot.bid_kind}`)] : "",
      ...tasks.map((task) => points(candidates.probability[task][i], 2)),
      reason(candidates.reason[i]),
      slot?.campaign_id ?? market?.campaigns[offer] ?? NONE,
      candidates.source[i],
    ],
  };
}

"use strict";
// What an incident is, in a line and in numbers.

let currency = "";

function costs(one) {
  return one.cost_micros_per_day ? `${amount(one.cost_micros_per_day)} ${currency}` : NONE;
}

function when(ms) {
  const day = new Date(ms).toISOString().slice(0, 10);
  const today = new Date().toISOString().slice(0, 10);
  return `${day === today ? "" : `${day} `}${clock(ms).slice(0, 5)} UTC`;
}

function ago(ms, now) {
  return now - ms < 1000 ? "now" : `${span(now - ms)} ago`;
}

/** A stretch of time in the largest units that say enough. */
function span(ms) {
  const seconds = Math.max(ms, 0) / 1000;
  if (seconds < 3600 * 48) return duration(seconds);
  return `${Math.round(seconds / 86400)} days`;
}

const STATES = { open: "open", acknowledged: "acknowledged", silenced: "silenced", closed: "closed" };

function badge(one) {
  const until = one.state === "silenced" ? ` until ${when(one.silenced_until_ms)}` : "";
  return el("span", { class: `badge ${one.state}` }, STATES[one.state] + until);
}

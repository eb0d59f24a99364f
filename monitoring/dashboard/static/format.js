"use strict";
// Numbers and elements. Whatever comes from data enters the page as text, never as markup.

const NONE = "–";

function number(value, digits = 0) {
  if (value === null || value === undefined) return NONE;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A share in percent, without the sign. */
function points(share, digits) {
  return number(share === null || share === undefined ? null : share * 100, digits);
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? NONE : `${number(share * 100, digits)} %`;
}

/** Micros as units of the currency: cents, or as many digits as a small amount needs to be told from nothing. */
function amount(micros) {
  if (micros === null || micros === undefined) return NONE;
  const value = micros / 1e6;
  const size = Math.abs(value);
  const digits = size === 0 || size >= 1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(size)));
  return number(value, size >= 10000 ? 0 : Math.max(digits, 2));
}

function clock(ms, digits = 0) {
  return new Date(ms).toISOString().slice(11, digits ? 20 + digits : 19);
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${number(Math.round(seconds / 86400))} days`;
}

/** el("td", {class: "n"}, "text", child): strings become text nodes. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") Object.assign(made.style, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function fill(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

/** A table from its head and rows; a head that ends in "#" is a column of numbers. */
function table(id, head, rows, empty) {
  if (!rows.length) return fill(id, el("tbody", {}, el("tr", {}, el("td", { class: "empty-note" }, empty))));
  const numeric = head.map((name) => name.endsWith("#"));
  const names = head.map((name, i) => el("th", { class: numeric[i] ? "n" : null, scope: "col" }, name.replace(/#$/, "")));
  const lines = rows.map(({ cells, ...attributes }) => el("tr", attributes,
    ...cells.map((cell, i) => (cell instanceof HTMLTableCellElement ? cell : el("td", { class: numeric[i] ? "n" : null }, cell)))));
  fill(id, el("thead", {}, el("tr", {}, ...names)), el("tbody", {}, ...lines));
}

/** A campaign's day: spent, held, and where the plan is, of its budget. */
function bar(one) {
  if (!one.daily_budget_micros) return el("span", { class: "quiet" }, "no budget");
  const share = (micros) => `${Math.min((100 * micros) / one.daily_budget_micros, 100)}%`;
  const over = one.spent_micros > one.daily_budget_micros;
  return el("div", { class: "bar", role: "img", "aria-label": `${percent(one.spent_micros / one.daily_budget_micros)} of the budget spent` },
    el("i", { class: "held", style: { width: share(one.spent_micros + one.held_micros) } }),
    el("i", { class: over ? "over" : null, style: { width: share(one.spent_micros) } }),
    el("b", { style: { left: share(one.plan_micros) } }));
}

/** Trouble, where budgets were not read for a while. */
function still({ read_ms: at, age_s: age }) {
  return age > 15 ? { trouble: `Redis is away: money stands as at ${clock(at)} UTC` } : null;
}

/** What JSON has of a time, to the second or the minute, in UTC. */
function moment(ms, length = 19) {
  return ms === null || ms === undefined ? NONE : new Date(ms).toISOString().slice(0, length).replace("T", " ");
}

/** A list of names and values. */
function facts(id, pairs) {
  fill(id, ...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, ...[value].flat()))));
}

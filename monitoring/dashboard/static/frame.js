"use strict";
// What all views share: where one is, whether what is shown is live, and the way to the log-in.

const EVERY_MS = 2000;
let lastGood = null;
let market = null;

class Answer extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function get(path) {
  return answered(path, await fetch(path, { cache: "no-store" }));
}

async function post(path, said, method = "POST") {
  return answered(path, await fetch(path, { method, cache: "no-store", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) }));
}

async function answered(path, answer) {
  if (answer.status === 401 && document.body.dataset.view !== "login") {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Answer(answer.status, said.error ?? `${path} answered ${answer.status}`);
  }
  return answer.json();
}

/** Asks for what a view shows every so often, and says while it cannot. `turn` may answer what is wrong. */
function keepAsking(turn, everyMs = EVERY_MS) {
  const once = async () => {
    await askOnce(turn, `Trying again every ${everyMs / 1000} s. `);
    setTimeout(once, document.hidden ? 5 * everyMs : everyMs);
  };
  once();
}

async function askOnce(turn, then = "") {
  try {
    const { trouble, good } = (await turn()) ?? {};
    lastGood = Date.now();
    connection(trouble ?? null, good);
  } catch (error) {
    const since = lastGood ? `, figures are from ${clock(lastGood)} UTC` : "";
    if (error instanceof Answer) connection(`${error.message}${since}`);
    else connection(`Connection lost${since}. ${then}(${error.message})`);
  }
}

function connection(trouble, good) {
  const banner = document.getElementById("banner");
  banner.hidden = trouble === null;
  if (banner.textContent !== (trouble ?? "")) banner.textContent = trouble ?? "";
  const live = document.getElementById("live");
  live.className = `live ${trouble ? "off" : "on"}`;
  live.textContent = trouble ? "not live" : good ?? `live · ${clock(Date.now())} UTC`;
}

/** Keeps what the reader has opened or is about to press: a part of the page is only written anew if it says something else. */
function refill(id, said, make) {
  const box = document.getElementById(id);
  const text = JSON.stringify(said);
  if (box.dataset.said === text) return;
  box.dataset.said = text;
  const focused = box.contains(document.activeElement) ? document.activeElement.id : "";
  const open = new Set([...box.querySelectorAll("details[open][id]")].map((one) => one.id));
  box.replaceChildren(...[make()].flat().filter((child) => child !== null && child !== undefined));
  for (const one of box.querySelectorAll("details[id]")) one.open = one.open || open.has(one.id);
  if (focused) document.getElementById(focused)?.focus();
}

async function describeMarket() {
  market = market ?? (await get("/api/market"));
  fill("market", market.name);
  return market;
}

for (const link of document.querySelectorAll("nav a")) {
  if (link.dataset.views.split(" ").includes(document.body.dataset.view)) {
    link.setAttribute("aria-current", "page");
    link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40;  // on a phone not all fit
  }
}
if (document.body.dataset.view !== "login") {
  get("/api/session").then((who) => { document.getElementById("leave").hidden = !who.has_session; }).catch(() => {});
}
document.getElementById("leave").addEventListener("click", async () => {
  await post("/api/session", {}, "DELETE").catch(() => {});
  location.assign("/login");
});

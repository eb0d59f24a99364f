/*! OfferRank web SDK 1.0, Apache-2.0: docs/sdk.md */
(function (w, d) {
  "use strict";
  const early = w.OfferRank;
  if (early && early.mount) return;

  const SEEN_MS = 1000, BATCH = 50, TRIES = 6, STORED = "offerrank.shopper";
  const pages = new Set(), pageOf = new WeakMap(), shownBy = new WeakMap(), senders = new Map(); // by container, element, URL
  const script = d.currentScript instanceof HTMLScriptElement ? d.currentScript : null;

  const text = (value) => (value == null ? "" : String(value));
  const fail = (options, error) => tell(options, { type: "error", error: error instanceof Error ? error : new Error(text(error)) });

  // The callback may throw or reject.
  async function tell({ onEvent }, what) {
    await null; // what it does, such as unmounting, comes after what is under way
    try {
      d.dispatchEvent(new CustomEvent("offerrank", { detail: what }));
      if (onEvent) await onEvent(what);
    } catch (error) {
      if (what.type !== "error") fail({}, error);
    }
  }

  // Text: no preflight.
  const post = (url, body, keepalive) =>
    fetch(url, { method: "POST", body: JSON.stringify(body), credentials: "omit", referrerPolicy: "no-referrer", keepalive });

  // Sent until accepted: an event counts once, however often it comes.
  function report(page, event) {
    const url = page.url("events");
    if (!senders.has(url)) senders.set(url, { url, events: [], tries: 0 });
    const sender = senders.get(url);
    sender.events.push([event, page.options]);
    wake(sender, 100);
  }

  function wake(sender, ms) {
    clearTimeout(sender.timer);
    sender.timer = setTimeout(send, ms, sender);
  }

  async function send(sender) {
    if (sender.busy || !sender.events.length || navigator.onLine === false) return;
    sender.busy = true;
    const batch = sender.events.slice(0, BATCH), options = batch[0][1];
    const done = () => {
      sender.events = sender.events.filter((event) => !batch.includes(event));
      sender.tries = 0;
    };
    let wait = 0;
    try {
      const answer = await post(sender.url, { events: batch.map((event) => event[0]) }, true);
      if (answer.status === 429 || answer.status >= 500) {
        wait = 1000 * answer.headers.get("retry-after");
        throw new Error(`events: ${answer.status}`);
      }
      done();
      const { errors = [], error } = await answer.json();
      errors.concat(error || []).forEach((refusal) => fail(options, `event refused: ${JSON.stringify(refusal)}`));
    } catch (error) {
      wait = Math.max(wait, 500 * 2 ** sender.tries);
      if (++sender.tries >= TRIES) {
        done();
        fail(options, error);
      }
    }
    sender.busy = false;
    if (sender.events.length) wake(sender, wait);
  }

  function leave() {
    pages.forEach((page) => page.shown.forEach(release));
    senders.forEach((sender) => {
      while (sender.events.length) {
        const body = { events: sender.events.splice(0, BATCH).map((event) => event[0]) };
        const beacon = () => navigator.sendBeacon(sender.url, JSON.stringify(body));
        // A beacon lacks an origin where the page's referrer policy is no-referrer.
        if ("keepalive" in Request.prototype) post(sender.url, body, true).catch(beacon);
        else beacon();
      }
    });
  }

  const eyes = w.IntersectionObserver && new IntersectionObserver(
    (entries) => entries.forEach(({ target, intersectionRatio }) => {
      const shown = shownBy.get(target);
      if (!shown) return;
      shown.inView = intersectionRatio >= 0.5;
      watch(shown);
    }),
    { threshold: 0.5 }
  );

  function watch(shown) {
    clearTimeout(shown.timer);
    if (shown.inView && !shown.seen && d.visibilityState === "visible") shown.timer = setTimeout(impression, SEEN_MS, shown);
  }

  function impression(shown) {
    if (shown.seen) return;
    shown.seen = true;
    clearTimeout(shown.timer);
    report(shown.page, { type: "impression", token: shown.token });
    happened(shown, "impression");
  }

  const happened = ({ page, slot, offer }, type) => tell(page.options, { type, placement: slot.name, offer });
  const dismissed = (page, token) => report(page, { type: "dismiss", tokens: [token] });

  function release(shown) {
    clearTimeout(shown.timer);
    if (!shown.clicked && !shown.released) dismissed(shown.page, shown.token);
    shown.released = true;
  }

  function attach(shown, element) {
    if (shownBy.has(element)) return;
    shownBy.set(element, shown);
    shown.elements.push(element);
    if (eyes) eyes.observe(element);
    const pressed = (event) => {
      if (event.button > 1) return;
      if (event.target.closest("[data-offer=dismiss]")) return hide(shown);
      if (!event.target.closest("a[href]")) return;
      impression(shown); // who clicks has seen it; the link itself counts the click
      shown.clicked = true;
      senders.forEach((sender) => wake(sender, 0));
      happened(shown, "click");
    };
    element.addEventListener("click", pressed);
    element.addEventListener("auxclick", pressed);
  }

  function detach(shown) {
    release(shown);
    shown.page.shown.delete(shown);
    shown.elements.forEach((element) => {
      if (eyes) eyes.unobserve(element);
      shownBy.delete(element);
    });
    if (shown.item) shown.item.remove();
  }

  function hide(shown) {
    const { page, slot, item } = shown;
    const next = item && (item.nextElementSibling || item.previousElementSibling);
    const focused = slot.into.contains(d.activeElement);
    detach(shown);
    happened(shown, "dismiss");
    if (![...page.shown].some((other) => other.slot === slot)) collapse(page, slot, "dismissed");
    else if (focused) ((next && next.querySelector("[data-offer=dismiss]")) || slot.into).focus();
  }

  function make(tag, name, what) {
    const element = d.createElement(tag);
    element.className = `offerrank-${name}`;
    if (what) element.dataset.offer = what;
    return element;
  }

  function usual() {
    const all = d.createDocumentFragment(), link = make("a", "link", "link"), button = make("button", "dismiss", "dismiss");
    for (const what of ["title", "body"]) {
      const line = make("span", what, what);
      line.dir = "auto";
      link.append(line);
    }
    button.textContent = "\u00d7";
    all.append(link, button);
    return all;
  }

  function fill(root, offer, slot) {
    root.querySelectorAll("[data-offer]").forEach((element) => {
      const what = element.dataset.offer;
      if (what === "link") {
        element.href = offer.click_url;
        element.target = slot.target || "_blank";
        element.rel = "sponsored noopener nofollow";
      } else if (what === "dismiss") {
        element.type = "button";
        element.setAttribute("aria-label", `${slot.dismissLabel || "Hide"}: ${offer.title}`);
      } else if (what === "image") {
        const { url, alt, width, height } = offer.image || {};
        url ? Object.assign(element, { alt, width, height, src: url }) : element.remove();
      } else element.textContent = text(offer[what]);
    });
  }

  function draw(page, slot, raw) {
    const shown = { page, slot, token: raw.token, elements: [] };
    page.shown.add(shown);
    try {
      const url = new URL(raw.click_url, page.gateway);
      if (!/^https?:$/.test(url.protocol)) throw new Error(`offer ${raw.offer_id}: not a web address: ${url.protocol}`);
      const offer = (shown.offer = { ...raw, title: text(raw.title), body: text(raw.body), click_url: url.href });
      const template = typeof slot.template === "string" ? d.querySelector(slot.template) : slot.template;
      let content;
      if (slot.render) content = slot.render(offer, (element) => attach(shown, element));
      else fill((content = template ? d.importNode(template.content, true) : usual()), offer, slot);
      if (!content) return;
      shown.item = make("li", "offer");
      shown.item.append(content);
      attach(shown, shown.item);
    } catch (error) {
      detach(shown);
      fail(page.options, error);
    }
  }

  function show(page, slot, { offers, reason }) {
    offers.forEach((raw) => draw(page, slot, raw));
    const mine = [...page.shown].filter((shown) => shown.slot === slot);
    const items = mine.map((shown) => shown.item).filter(Boolean);
    if (!mine.length) return collapse(page, slot, reason ? reason.name : "unusable");
    slot.into.removeAttribute("aria-busy");
    if (items.length) {
      const list = make("ul", "list"), label = make("p", "label");
      list.setAttribute("role", "list"); // for Safari
      list.append(...items);
      label.textContent = slot.label;
      slot.into.replaceChildren(label, list);
      slot.drawn = true;
    }
    mine.forEach((shown) => happened(shown, "shown"));
  }

  function reserve(slot) {
    const box = slot.into, style = box.style, before = [...box.childNodes], { minBlockSize, display } = style;
    const own = { role: "region", "aria-label": slot.label, tabindex: "-1", "aria-busy": "true" };
    const set = Object.keys(own).filter((name) => !box.hasAttribute(name));
    set.forEach((name) => box.setAttribute(name, own[name]));
    slot.own = before.some((node) => node instanceof Element && node.tagName !== "TEMPLATE");
    if (slot.reserve || getComputedStyle(box).minBlockSize === "0px") style.minBlockSize = `${slot.reserve || 30 + 84 * (slot.count || 3)}px`;
    slot.empty = () => slot.drawn && box.replaceChildren(...before);
    slot.restore = () => {
      slot.empty();
      set.forEach((name) => box.removeAttribute(name));
      Object.assign(style, { minBlockSize, display });
    };
  }

  function collapse(page, slot, reason) {
    slot.empty();
    slot.into.removeAttribute("aria-busy");
    if (!slot.own && slot.whenEmpty !== "keep") slot.into.style.setProperty("display", "none", "important");
    tell(page.options, { type: "empty", placement: slot.name, reason });
  }

  function stored(value) {
    try {
      if (value === undefined) return (/^\w{1,64}$/.exec(localStorage.getItem(STORED) || "") || [])[0];
      localStorage.setItem(STORED, value);
      if (!value) localStorage.removeItem(STORED);
    } catch (error) {}
  }

  async function consentOf({ consent }) {
    if (navigator.globalPrivacyControl) return false;
    return consent === undefined ? consent : (await (typeof consent === "function" ? consent() : consent)) === true;
  }

  function bodyOf({ options, slots }, consent) {
    const { key, attributes } = options.shopper || {};
    const body = {
      id: [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(36)).join("."), // a retry is the same page
      placements: slots.map(({ name, count }) => ({ name, count })),
      context: options.context,
    };
    if (consent === false) stored("");
    else body.shopper = { key: key || (consent && stored()) || undefined, attributes };
    return body;
  }

  async function ask(page, body, timeout) {
    const until = performance.now() + timeout;
    for (let wait = 250; ; wait *= 2) {
      let problem;
      try {
        const answer = await post(page.url("decisions"), body, false);
        if (answer.ok) return await answer.json();
        problem = new Error(`decision: ${answer.status} ${(await answer.text()).slice(0, 300)}`);
        wait = answer.status === 429 || answer.status === 503 ? Math.max(wait, 1000 * answer.headers.get("retry-after")) : Infinity;
      } catch (error) {
        problem = error;
      }
      if (performance.now() + wait > until) throw problem;
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  async function run(page) {
    const { options, slots } = page, timeout = +options.timeout || 2000;
    const consent = await consentOf(options).catch((error) => fail(options, error) || false);
    if (d.prerendering) await new Promise((done) => d.addEventListener("prerenderingchange", done));
    if (!page.live) return 0;
    const asked = ask(page, bodyOf(page, consent), timeout);
    const answer = await Promise.race([asked, new Promise((done) => setTimeout(done, timeout))]);
    if (!answer || !page.live) {
      // Too late: what it reserves goes back.
      asked.then((late) => late.placements.forEach((p) => p.offers.forEach(({ token }) => dismissed(page, token)))).catch(() => {});
      throw new Error(answer ? "unmounted" : `no answer within ${timeout} ms`);
    }
    if (consent && !(options.shopper && options.shopper.key)) stored(answer.shopper_key);
    slots.forEach((slot, i) => show(page, slot, answer.placements[i]));
    return page.shown.size;
  }

  function close(page) {
    page.live = false;
    pages.delete(page);
    page.shown.forEach(detach);
    page.slots.forEach((slot) => {
      if (pageOf.get(slot.into) !== page) return;
      slot.restore();
      pageOf.delete(slot.into);
    });
  }

  function slotsOf(options) {
    const { onEvent, placements, ...display } = options;
    return placements
      .map((placement) => {
        const slot = { label: "Sponsored", ...display, ...placement };
        if (typeof slot.into === "string") slot.into = d.querySelector(slot.into);
        slot.count = +slot.count || undefined;
        return slot;
      })
      .filter((slot) => slot.into instanceof Element || void fail(options, `placement ${slot.name}: no such element`));
  }

  function mount(options) {
    options = Object(options);
    const page = { options, slots: [], shown: new Set(), live: true };
    page.handle = { unmount: () => guarded(options, () => close(page)), done: Promise.resolve(0) };
    guarded(options, () => {
      page.gateway = text(options.gateway || (script && new URL(script.src).origin)).replace(/\/+$/, "");
      if (!page.gateway || !options.key) throw new Error("expected `gateway` and `key`");
      page.url = (route) => `${page.gateway}/v1/${route}?key=${encodeURIComponent(options.key)}`;
      const slots = slotsOf(options);
      page.same = JSON.stringify([page.url(""), slots.map(({ name, count }) => [name, count]), options.shopper, options.context]);
      // Routes left without a word.
      pages.forEach((other) => other.slots.some((slot) => slot.into.isConnected) || close(other));
      const there = slots.map((slot) => pageOf.get(slot.into)), [first] = there;
      if (first && first.same === page.same && there.every((other) => other === first)) return (page.handle = first.handle);
      there.forEach((other) => other && close(other));
      if (!slots.length) return;
      slots.forEach((slot) => {
        reserve(slot);
        pageOf.set(slot.into, page);
      });
      page.slots = slots;
      pages.add(page);
      page.handle.done = run(page).catch((error) => {
        if (!page.live) return 0;
        page.same = 0; // mounted again, it is asked again
        fail(options, error);
        slots.forEach((slot) => collapse(page, slot, "error"));
        return 0;
      });
    });
    return page.handle;
  }

  function guarded(options, step) {
    try {
      step();
    } catch (error) {
      fail(options, error);
    }
  }

  // The weight of one tag: more than a shop's `button`, less than any class.
  const STYLE = `
p:where(.offerrank-label) { margin: 0 0 .5em; font-size: .8em; opacity: .75 }
ul:where(.offerrank-list) { display: grid; gap: .5em; margin: 0; padding: 0; list-style: none }
li:where(.offerrank-offer) { display: flex; box-sizing: border-box; min-block-size: 76px; margin: 0; border: 1px solid #8886; border-radius: .5em }
a:where(.offerrank-link) { flex: 1; display: grid; align-content: center; min-inline-size: 0; padding: .75em 1em; color: inherit; text-decoration: none; overflow-wrap: anywhere }
a:where(.offerrank-link:hover) { text-decoration: underline }
span:where(.offerrank-title) { font-weight: 600 }
span:where(.offerrank-body) { opacity: .8 }
button:where(.offerrank-dismiss) { flex: none; inline-size: 44px; margin: 0; padding: 0; border: 0; background: none; color: inherit; font: inherit; cursor: pointer }`;

  function automatic() {
    const { context, shopper, consent, ...options } = script.dataset;
    const parsed = (json) => json && JSON.parse(json);
    mount({
      ...options,
      context: parsed(context),
      shopper: parsed(shopper),
      consent: consent && consent === "true",
      placements: [...d.querySelectorAll("[data-offerrank]")].map((into) => ({ ...into.dataset, name: into.dataset.offerrank, into })),
    });
  }

  const push = (...all) => all.forEach((wanted) => (typeof wanted === "function" ? guarded({}, () => wanted(api)) : mount(wanted)));
  const api = { version: "1.0", mount, push };

  push(() => {
    w.OfferRank = api;
    if (d.adoptedStyleSheets) {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      d.adoptedStyleSheets = [sheet, ...d.adoptedStyleSheets];
    }
    w.addEventListener("pagehide", leave);
    w.addEventListener("online", () => senders.forEach((sender) => wake(sender, 0)));
    d.addEventListener("visibilitychange", () => {
      pages.forEach((page) => page.shown.forEach(watch));
      if (d.visibilityState === "hidden") senders.forEach((sender) => wake(sender, 0));
    });
    if (Array.isArray(early)) push(...early);
    if (!script || !script.dataset.key) return;
    if (d.readyState === "loading") d.addEventListener("DOMContentLoaded", () => push(automatic));
    else push(automatic);
  });
})(window, document);

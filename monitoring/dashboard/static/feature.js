"use strict";
// One feature: over time, and its distribution now, the day before, and in training.

const name = decodeURIComponent(location.pathname.slice("/features/".length));
let said = null;

function where() {
  const asked = new URLSearchParams(location.search);
  return { by: asked.get("by") ?? "", value: asked.get("value") ?? "" };
}

async function turn() {
  await describeMarket();
  document.title = `${name} / Features / OfferRank`;
  const asked = new URLSearchParams(where());
  const [feature, incidents] = await Promise.all([get(`/api/features/${encodeURIComponent(name)}?${asked}`), get("/api/incidents")]);
  said = feature;
  if (feature.known) show(feature, incidents);
  else if (!feature.last_hour_ms) nothing(`${feature.trouble ?? "The watch has not seen a whole hour yet: offerrank watch reads the archive, and knows one once it is over."} `);
  else nothing(`Nothing is known of a feature ${name}${where().by ? ` in ${where().by} ${where().value}` : ""}. `);
  return null;
}

function nothing(text) {
  document.getElementById("nothing").hidden = false;
  document.getElementById("feature").hidden = true;
  fill("nothing", text, el("a", { href: where().by ? location.pathname : "/features" }, where().by ? "All traffic" : "All features"));
}

function show(feature, incidents) {
  document.getElementById("nothing").hidden = true;
  document.getElementById("feature").hidden = false;
  fill("name", name);
  showSlices(feature.slices);
  const mine = incidents.live.filter((one) => one.series.kind === "feature" && one.series.name === name);
  refill("incidents", mine, () => mine.map((one) => el("a", { class: "tag bad", href: `/incidents/${encodeURIComponent(one.id)}` }, one.title)));
  const now = feature.now ?? {};
  const facts = [["Rows, last day", number(now.rows)], ["Missing", percent(now.missing, 2)],
    ...(feature.numbers ? [] : [["Unknown to the model", percent(now.unknown, 2)]]),
    ["Distance from the day before", feature.numbers ? short(feature.distance) : percent(feature.distance, 2)],
    [`Distance from training${feature.release ? `, ${feature.release}` : ""}`, feature.numbers ? short(feature.training_distance) : percent(feature.training_distance, 2)]];
  document.getElementById("values").hidden = feature.numbers;
  refill("facts", facts, () => facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
  draw(feature);
  for (const [id, empty] of [["new", "no value is new"], ["gone", "no value is gone"]]) {
    table(id, ["value", id === "new" ? "rows, last day#" : "rows, week before#"], feature[id].map((one) => ({ cells: [one.value, number(one.count)] })), empty);
  }
}

function showSlices(slices) {
  refill("where", slices, () => {
    const chosen = JSON.stringify(where());
    const options = [{ by: "", value: "" }, ...slices].map((one) => {
      const made = el("option", { value: JSON.stringify({ by: one.by, value: one.value }) }, one.by ? `${one.by} ${one.value}` : "all traffic");
      made.selected = made.value === chosen;
      return made;
    });
    return options;
  });
}

function short(value) {
  return value === null || value === undefined ? NONE : value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

const SHOWN = [["now", "last day", "--a"], ["before", "day before", "--c"], ["training", "training", "--b"]];

function draw(feature) {
  const at = feature.hours.map((one) => one.hour_ms);
  const [from, to] = [at[0] ?? 0, (at[at.length - 1] ?? 0) + feature.hour_length_ms];
  const x = at.map(utc);
  const column = (key, scale = 1) => feature.hours.map((one) => (one[key] === null || one[key] === undefined ? null : one[key] * scale));
  drawDistribution(feature);
  const top = (...columns) => Math.max(0, ...columns.flat().map((value) => value ?? 0));
  fill("unit-distance", feature.numbers ? "in its own unit" : "share of rows that would have to change");
  const moved = column("distance");
  plot("chart-distance", [line(x, moved, "distance", colour("--a"), { hovertemplate: "%{y:.4~g}" })],
    { xaxis: timeAxis(from, to), yaxis: { ...axes(), range: [0, top(moved) * 1.08 || 1], nticks: 5 } }, "two days are needed to compare");
  numbers("figure-distance", ["hour", "distance#"], () => at.map((ms, i) => [stamp(ms), short(moved[i])]).reverse());
  const [missing, unknown] = [column("missing", 100), column("unknown", 100)];
  fill("title-missing", feature.numbers ? "Missing, %" : "Missing and unknown, %");
  fill("legend-missing", ...(feature.numbers ? [] : [el("span", { style: { color: "var(--a)" } }, "missing "), el("span", { style: { color: "var(--b)" } }, "unknown")]));
  plot("chart-missing", [line(x, missing, "missing", colour("--a"), { hovertemplate: "%{y:.2f} %" }), ...(feature.numbers ? [] : [line(x, unknown, "unknown", colour("--b"), { hovertemplate: "%{y:.2f} %" })])],
    { xaxis: timeAxis(from, to), yaxis: { ...axes(), range: [0, top(missing, unknown) * 1.08 || 1], nticks: 5 } });
  numbers("figure-missing", ["hour", "rows#", "missing %#", "unknown %#"], () => at.map((ms, i) => [stamp(ms), number(feature.hours[i].rows), number(missing[i], 2), number(unknown[i], 2)]).reverse());
  if (feature.numbers) drawQuantiles(x, at, column, from, to);
  else drawRows(x, at, column("rows"), from, to);
}

function drawQuantiles(x, at, column, from, to) {
  const [low, middle, high] = [column("q10"), column("q50"), column("q90")];
  fill("title-level", "Median, and where 80 % lie");
  plot("chart-level", [
    line(x, low, "10 %", colour("--held"), { hovertemplate: "%{y:.4~g}" }),
    line(x, high, "90 %", colour("--held"), { fill: "tonexty", fillcolor: `${colour("--a")}1f`, hovertemplate: "%{y:.4~g}" }),
    line(x, middle, "median", colour("--a"), { hovertemplate: "%{y:.4~g}" }),
  ], { xaxis: timeAxis(from, to), yaxis: { ...axes(), nticks: 5 } });
  numbers("figure-level", ["hour", "10 %#", "median#", "90 %#", "mean#"], () => {
    const mean = column("mean");
    return at.map((ms, i) => [stamp(ms), short(low[i]), short(middle[i]), short(high[i]), short(mean[i])]).reverse();
  });
}

function drawRows(x, at, rows, from, to) {
  fill("title-level", "Rows an hour");
  plot("chart-level", [line(x, rows, "rows", colour("--a"), { fill: "tozeroy", fillcolor: `${colour("--a")}1f`, hovertemplate: "%{y:,.0f}" })],
    { xaxis: timeAxis(from, to), yaxis: { ...axes(), range: [0, Math.max(1, ...rows) * 1.08], nticks: 5 } });
  numbers("figure-level", ["hour", "rows#"], () => at.map((ms, i) => [stamp(ms), number(rows[i])]).reverse());
}

function drawDistribution({ distribution, training_trouble }) {
  const known = SHOWN.filter(([key]) => distribution?.[key]);
  fill("legend-distribution", ...known.map(([, text, paint]) => el("span", { style: { color: `var(${paint})` } }, `${text} `)), distribution?.training ? "" : el("span", { class: "quiet" }, `training rows not known${training_trouble ? `: ${training_trouble}` : ""}`));
  const labels = distribution?.labels ?? [];
  const y = (key) => distribution[key].map((share) => share * 100);
  const category = distribution?.bars;
  const x = category ? labels.map((label) => escaped(String(label)).slice(0, 24)) : labels;
  const traces = known.map(([key, text, paint]) => (category
    ? { type: "bar", x, y: y(key), name: text, marker: { color: colour(paint) }, hovertemplate: "%{y:.2f} %" }
    : { ...line(x, y(key), text, colour(paint), { hovertemplate: "%{y:.2f} %" }), line: { color: colour(paint), width: 1.8, shape: "hvh" } }));
  const most = Math.max(0, ...traces.flatMap((trace) => trace.y));
  plot("chart-distribution", traces, {
    barmode: "group", bargap: 0.25,
    xaxis: { ...axes(), showgrid: false, ...(category ? { type: "category", tickangle: -40 } : { type: "linear", nticks: 6 }) },
    yaxis: { ...axes(), range: [0, most * 1.08 || 1], nticks: 5 },
    margin: { l: 52, r: 12, t: 18, b: category ? 84 : 36 },
  });
  numbers("figure-distribution", [category ? "value" : "about", ...known.map(([, text]) => `${text} %#`)], () => labels.map((label, i) => [category ? String(label) : short(label), ...known.map(([key]) => number(distribution[key][i] * 100, 2))]));
}

function stamp(ms) {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

document.getElementById("where").addEventListener("change", (event) => {
  const chosen = JSON.parse(event.target.value);
  history.replaceState(null, "", chosen.by ? `?${new URLSearchParams(chosen)}` : location.pathname);
  turn().catch((error) => connection(error.message));
});
redrawn.push(() => said?.known && draw(said));
keepAsking(turn, 10_000);

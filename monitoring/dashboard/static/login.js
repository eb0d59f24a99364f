"use strict";
// Trades a key for a session, and goes where one wanted to go.

function wanted() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  return /^\/(?![/\\])/.test(next) ? next : "/";
}

document.title = "OfferRank / log in";
document.querySelector("nav").hidden = true;
document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = document.getElementById("key");
  try {
    await post("/api/session", { key: key.value.trim() });
    location.assign(wanted());
  } catch (error) {
    fill("refused", error.message);
    key.select();
  }
});
// Before this script listens, a browser would send the form by itself.
document.querySelector("#login button").disabled = false;
document.getElementById("key").focus();

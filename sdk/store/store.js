"use strict";
// What the SDK tells the page, for people to see.
const said = {
  shown: (event) => `${event.offer.title}: shown`,
  impression: (event) => `${event.offer.title}: half in view for a second, an impression`,
  click: (event) => `${event.offer.title}: clicked`,
  dismiss: (event) => `${event.offer.title}: hidden, what was reserved goes back`,
  empty: (event) => `nothing to show: ${event.reason}`,
  error: (event) => event.error.message,
};
document.addEventListener("offerrank", ({ detail }) => {
  const line = document.createElement("li");
  line.textContent = said[detail.type](detail);
  document.querySelector("#events").append(line);
});

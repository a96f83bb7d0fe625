"use strict";
// Search in the list of clauses; the text searched for is in the address. Without this script all clauses are shown.
const form = document.getElementById("filters");
const items = [...document.querySelectorAll("li[data-words]")];

function show() {
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of items) item.hidden = !words.every((word) => item.dataset.words.includes(word));
  for (const section of document.querySelectorAll("section")) section.hidden = !section.querySelector("li:not([hidden])");
  document.getElementById("count").textContent = `${items.filter((item) => !item.hidden).length} of ${items.length} clauses`;
}

function recall() {
  if (location.hash.startsWith("#text=")) form.elements.text.value = new URLSearchParams(location.hash.slice(1)).get("text");
  show();
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  history.replaceState(null, "", `#${new URLSearchParams({ text: form.elements.text.value })}`);
  show();
});
addEventListener("hashchange", recall);
recall();

"use strict";
// Filters and copy buttons. Without this script the page shows everything; it never writes markup, only text.
const form = document.getElementById("filters");
const findings = [...document.querySelectorAll("article.finding")];
const rows = [...document.querySelectorAll("#all tbody tr")];
const names = ["level", "verdict", "clause", "text"];

function asked() {
  return Object.fromEntries(names.map((name) => [name, form.elements[name].value.trim()]));
}

function matches(item, wanted) {
  const data = item.dataset;
  const verdicts = data.verdicts;
  return (!wanted.level || data.levels.split(" ").includes(wanted.level)) &&
    (!wanted.verdict || verdicts === wanted.verdict || ` ${verdicts} `.includes(` ${wanted.verdict} `) ||
      (wanted.verdict === "engine" && verdicts.startsWith("engine"))) &&
    (!wanted.clause || data.words.split(" ").some((word) => word.startsWith(wanted.clause.toLowerCase()))) &&
    (!wanted.text || data.words.includes(wanted.text.toLowerCase()));
}

function show() {
  const wanted = asked();
  const counts = [findings, rows].map((items) => {
    for (const item of items) item.hidden = !matches(item, wanted);
    return items.filter((item) => !item.hidden).length;
  });
  document.getElementById("count").textContent =
    `${counts[0]} of ${findings.length} findings, ${counts[1]} of ${rows.length} clauses shown`;
}

function remember() {
  const set = Object.entries(asked()).filter(([, value]) => value);
  // The fragment is the one part of an address that a page opened from a file may change.
  const fragment = new URLSearchParams(set).toString();
  history.replaceState(null, "", `#${fragment}`);
  show();
}

function recall() {
  const fragment = location.hash.slice(1);
  if (fragment && !fragment.includes("=")) return;
  const set = new URLSearchParams(fragment);
  for (const name of names) form.elements[name].value = set.get(name) ?? "";
  show();
}

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not allowed here: select it, so that the reader's own keys copy it.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

form.hidden = false;
form.addEventListener("input", remember);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(remember));
addEventListener("hashchange", recall);
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
recall();
show();

"use strict";
// The page's data, its state and its table. Every text of the report reaches the page as a
// text node or an attribute, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ITEMS = DATA.items;
const SLICE = 100; // rows made at a time
const JOINED = new Set(["pair", "bind", "phrase"]);
const byId = id => document.getElementById(id);
const count = (n, one, many) => n.toLocaleString("en") + " " + (n === 1 ? one : many || one + "s");

function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return made;
}

// Spans count characters; strings of this language count in halves of those beyond U+FFFF.
function cutter(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (a, b) => text.slice(a, b);
  const characters = Array.from(text);
  return (a, b) => characters.slice(a, b).join("");
}

// --- what follows from the data, once
const LINES = new Map(DATA.prompts.map(([line, text], place) => [line, { line, text, place, items: [], spans: [], joins: [] }]));
const PROMPTS = Array.from(LINES.values());
ITEMS.forEach((item, number) => {
  item.id = number;
  item.find = item.u.toLowerCase();
  let last = null;
  item.a = 0;
  for (let i = 0; i < item.m.length; i += 3) {
    const prompt = LINES.get(item.m[i]);
    if (!prompt) continue;
    const start = item.m[i + 1], end = item.m[i + 2];
    if (item.k === "pair" || item.k === "bind") {
      if (prompt !== last) prompt.joins.push(number);
    } else {
      prompt.spans.push([start, end, number]);
      if (item.k === "phrase" && prompt !== last) prompt.joins.push(number);
    }
    if (prompt !== last) { item.a += 1; prompt.items.push(number); }
    last = prompt;
  }
});
for (const prompt of PROMPTS) {
  prompt.find = prompt.text.toLowerCase();
  const worst = [0, 0, 0];
  for (const id of prompt.items) worst[ITEMS[id].s] += 1;
  prompt.worst = worst;
}
const WORST_FIRST = PROMPTS.slice().sort((a, b) =>
  Math.sign(b.worst[0]) - Math.sign(a.worst[0]) || b.worst[0] - a.worst[0] ||
  b.worst[1] - a.worst[1] || a.place - b.place);

// --- state
const state = { view: "prompts", q: "", severities: [true, true, false], kind: "", verdict: "", sort: "", down: false, order: "worst" };
let passing = new Uint8Array(ITEMS.length);
let shownItems = [], shownPrompts = [];
let madeItems = 0, madePrompts = 0;

function choose() {
  const text = state.q.trim().toLowerCase();
  const bySeverity = new Uint8Array(ITEMS.length);
  shownItems = [];
  for (let i = 0; i < ITEMS.length; i++) {
    const item = ITEMS[i];
    const fits = state.severities[item.s] && (!state.kind || item.k === state.kind) && (!state.verdict || item.v === state.verdict);
    bySeverity[i] = fits ? 1 : 0;
    passing[i] = fits && (!text || item.find.includes(text)) ? 1 : 0;
    if (passing[i]) shownItems.push(item);
  }
  const prompts = state.order === "worst" ? WORST_FIRST : PROMPTS;
  const narrowed = state.kind || state.verdict || !state.severities.every(Boolean);
  shownPrompts = prompts.filter(prompt => {
    if (narrowed && !prompt.items.some(id => bySeverity[id])) return false;
    return !text || prompt.find.includes(text) || prompt.items.some(id => passing[id]);
  });
  sortItems();
  showItems();
  showPrompts();
  tellCounts();
}

function sortItems() {
  if (!state.sort) return;
  const sign = state.down ? -1 : 1;
  const name = state.sort;
  if (name === "v") { if (state.down) shownItems.reverse(); return; } // as given: worst first
  const known = item => (item[name] === undefined ? -1 : item[name]);
  const compare = name === "u"
    ? (a, b) => (a.find < b.find ? -1 : a.find > b.find ? 1 : 0)
    : (a, b) => known(a) - known(b);
  shownItems.sort((a, b) => sign * compare(a, b) || a.id - b.id);
}

function tellCounts() {
  const items = count(shownItems.length, "item") + " of " + ITEMS.length.toLocaleString("en");
  const prompts = count(shownPrompts.length, "prompt") + " of " + PROMPTS.length.toLocaleString("en");
  byId("count").textContent = state.view === "prompts" ? prompts : state.view === "items" ? items : "";
  const commands = commandsShown().length;
  byId("copy-all").textContent = "Copy " + count(commands, "command");
  byId("copy-all").disabled = !commands;
}

function commandsShown() {
  return Array.from(new Set(shownItems.flatMap(item => item.f || [])));
}

// --- the table
const BODY = document.querySelector("#items tbody");

function showItems() {
  BODY.replaceChildren();
  madeItems = 0;
  moreItems();
  byId("nothing").hidden = shownItems.length > 0;
  byId("nothing").textContent = ITEMS.length ? "Nothing fits this search and these filters." : "The prompts ask for nothing.";
}

function moreItems(focus) {
  const next = shownItems.slice(madeItems, madeItems + SLICE);
  const rows = next.map(row);
  BODY.append(...rows);
  madeItems += next.length;
  moreButton("more-items", shownItems.length - madeItems);
  if (focus && rows.length) rows[0].querySelector("button").focus();
}

function moreButton(id, left) {
  const button = byId(id);
  button.hidden = left <= 0;
  button.textContent = "Show " + Math.min(SLICE, left) + " more of " + left.toLocaleString("en");
}

function row(item) {
  const number = (name, value) => h("td", { role: "cell", class: "number", "data-name": value === "" ? null : name }, value);
  const made = h("tr", { role: "row", class: DATA.severities[item.s] + (item.id === openId ? " on" : ""), "data-id": item.id },
    h("td", { role: "cell" }, verdict(item)),
    h("td", { role: "cell", class: "unit" }, h("button", { type: "button" }, item.u),
      item.k === "word" ? null : h("span", { class: "kind" }, item.k === "bind" ? "binding" : item.k),
      (item.g || []).map(badge)),
    number("images", item.n.toLocaleString("en")),
    number("expected", item.x === undefined ? "" : item.x.toLocaleString("en")),
    number("prompts", item.a.toLocaleString("en")),
    number("short of", item.q ? item.q.toLocaleString("en") : ""),
    h("td", { role: "cell", class: "command" }, (item.f || []).map(command)));
  return made;
}

const verdict = item => h("span", { class: "verdict " + DATA.severities[item.s] + " " + item.v }, item.v);
const badge = name => h("span", { class: "badge" }, name);

function command(text) {
  return h("div", { class: "copy" },
    h("button", { type: "button", "data-copy": text, "aria-label": "Copy " + text }, "Copy"),
    h("code", null, text));
}

BODY.addEventListener("click", event => {
  if (event.target.closest(".copy")) return;
  if (!event.target.closest("button") && String(getSelection())) return; // a text being selected
  const found = event.target.closest("tr");
  if (found && found.dataset.id) openItem(Number(found.dataset.id), found.querySelector("button"), shownItems);
});

for (const head of document.querySelectorAll("#items th[data-sort]")) {
  const name = head.textContent;
  head.replaceChildren(h("button", { type: "button", click: () => {
    const again = state.sort === head.dataset.sort;
    const numbers = head.classList.contains("number");
    state.down = again ? !state.down : numbers;
    state.sort = head.dataset.sort;
    tellSort();
    choose();
    keep();
    say("Sorted by " + name + ", " + (state.down ? "descending" : "ascending"));
  } }, name));
}

function tellSort() {
  for (const head of document.querySelectorAll("#items th[data-sort]")) {
    const on = head.dataset.sort === (state.sort || "v");
    head.setAttribute("aria-sort", on ? (state.down ? "descending" : "ascending") : "none");
  }
}

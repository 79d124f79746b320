"use strict";
// The page's data, its state and its table. Every text of the report reaches the page as a
// text node or an attribute, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SLICE = 100; // rows made at a time
const JOINS = new Set(["pair", "bind", "phrase"]);
const byId = id => document.getElementById(id);
const format = n => n.toLocaleString("en");
const count = (n, noun) => format(n) + " " + noun + (n === 1 ? "" : "s");
const isGap = item => item.severity !== "info";
const isPair = item => item.kind === "pair" || item.kind === "bind";

// What strangers wrote is seen and does nothing, as `curate/system/strangers.py` has it: no line, no
// control character and no mark that sets the direction of writing is handed on.
const ACTS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;
const visible = text => text.replace(ACTS, c => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined)
    .map(child => typeof child === "string" ? visible(child) : child));
  return element;
}

// Spans count characters; strings of this language count in halves of those beyond U+FFFF.
function cutter(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (a, b) => text.slice(a, b);
  const characters = Array.from(text);
  return (a, b) => characters.slice(a, b).join("");
}

// --- the report, with what the page leaves out because it is blank or follows from the verdict
function fill(blank, given = {}) {
  const whole = { ...blank, ...given };
  for (const name in blank) {
    if (blank[name]?.constructor === Object) whole[name] = fill(blank[name], given[name]);
  }
  return whole;
}

const ITEMS = DATA.report.items.map((item, id) => ({ ...fill(DATA.blank, { ...DATA.verdicts[item.verdict], ...item }), id, find: item.unit.toLowerCase(), asked: 0 }));
const PROMPTS = DATA.prompts.map(({ line, text }, place) => ({ line, text, place, find: text.toLowerCase(), items: [], words: [], joins: [] }));
const LINES = new Map(PROMPTS.map(prompt => [prompt.line, prompt]));
for (const item of ITEMS) {
  let last = null;
  for (const { line, span: [start, end] } of item.prompts) {
    const prompt = LINES.get(line);
    if (!prompt) continue;
    if (!isPair(item)) prompt.words.push({ start, end, item });
    if (prompt === last) continue;
    last = prompt;
    item.asked += 1;
    prompt.items.push(item);
    if (JOINS.has(item.kind)) prompt.joins.push(item);
  }
}
for (const prompt of PROMPTS) {
  [prompt.errors, prompt.warnings] = ["error", "warning"].map(severity => prompt.items.filter(item => item.severity === severity).length);
}
const WORST_FIRST = PROMPTS.slice().sort((a, b) => b.errors - a.errors || b.warnings - a.warnings || a.place - b.place);

// --- state
const SEVERITIES = ["error", "warning", "info"];
const state = { view: "prompts", q: "", severities: new Set(), kind: "", verdict: "", sort: "verdict", down: false, order: "worst" };
let items = [], prompts = []; // those that fit

function choose() {
  const text = state.q.trim().toLowerCase();
  const fits = ITEMS.map(item => state.severities.has(item.severity) && (!state.kind || item.kind === state.kind) && (!state.verdict || item.verdict === state.verdict));
  const match = ITEMS.map(item => fits[item.id] && (!text || item.find.includes(text)));
  const all = !state.kind && !state.verdict && state.severities.size === SEVERITIES.length;
  items = ITEMS.filter(item => match[item.id]);
  prompts = (state.order === "worst" ? WORST_FIRST : PROMPTS).filter(prompt =>
    (all || prompt.items.some(item => fits[item.id])) &&
    (!text || prompt.find.includes(text) || prompt.items.some(item => match[item.id])));
  sortItems();
  showItems();
  showPrompts();
  showCounts();
}

function update() {
  choose();
  keep();
}

const SORT_KEYS = { unit: item => item.find, n_images: item => item.n_images, expected: item => item.expected ?? -1, prompts: item => item.asked, need: item => item.fix.need };

function sortItems() {
  const key = SORT_KEYS[state.sort];
  const sign = state.down ? -1 : 1;
  if (key) items.sort((a, b) => sign * ((key(a) > key(b)) - (key(a) < key(b))) || a.id - b.id);
  else if (state.down) items.reverse(); // as they stand: worst first
}

function showCounts() {
  const message = (some, noun, total) => count(some.length, noun) + " of " + format(total.length);
  byId("count").textContent = state.view === "prompts" ? message(prompts, "prompt", PROMPTS) : state.view === "items" ? message(items, "item", ITEMS) : "";
  const number = commands().length;
  byId("copy-all").textContent = "Copy " + count(number, "command");
  byId("copy-all").disabled = !number;
}

const commands = () => Array.from(new Set(items.flatMap(item => item.fix.fetch)));

// --- the table
const BODY = document.querySelector("#items tbody");

const listItems = slices(BODY, byId("more-items"), itemRow);

function showItems() {
  listItems(items);
  byId("nothing").hidden = items.length > 0;
  byId("nothing").textContent = ITEMS.length ? "Nothing fits this search and these filters." : "The prompts ask for nothing.";
}

// What shows a list, some rows at a time.
function slices(box, button, row) {
  let all = [], made = 0;
  const more = focus => {
    const rows = all.slice(made, made + SLICE).map(row);
    box.append(...rows);
    made += rows.length;
    const left = all.length - made;
    button.hidden = left <= 0;
    button.textContent = "Show " + Math.min(SLICE, left) + " more of " + format(left);
    if (focus) rows[0]?.querySelector("a,button")?.focus();
  };
  button.addEventListener("click", () => more(true));
  return list => {
    [all, made] = [list, 0];
    box.replaceChildren();
    more(false);
  };
}

function itemRow(item) {
  const number = (name, value) => h("td", { role: "cell", class: "number", "data-name": value === "" ? null : name }, value);
  return h("tr", { role: "row", class: item.id === openId ? "on" : null, "data-id": item.id },
    h("td", { role: "cell" }, verdict(item)),
    h("td", { role: "cell", class: "unit" }, h("button", { type: "button" }, item.unit),
      item.kind === "word" ? null : h("span", { class: "kind" }, item.kind === "bind" ? "binding" : item.kind),
      item.badges.map(badge)),
    number("images", format(item.n_images)),
    number("expected", item.expected === null ? "" : format(item.expected)),
    number("prompts", format(item.asked)),
    number("short of", item.fix.need ? format(item.fix.need) : ""),
    h("td", { role: "cell", class: "command" }, item.fix.fetch.map(command)));
}

const verdict = item => h("span", { class: "verdict " + item.severity + " " + item.verdict }, item.verdict);
const badge = name => h("span", { class: "badge" }, name);
const command = text => h("div", { class: "copy" },
  h("button", { type: "button", "data-copy": text, "aria-label": "Copy " + text }, "Copy"),
  h("code", null, text));

BODY.addEventListener("click", event => {
  if (event.target.closest(".copy")) return;
  if (!event.target.closest("button") && String(getSelection())) return; // a text being selected
  const row = event.target.closest("tr");
  if (row && row.dataset.id) openItem(ITEMS[row.dataset.id], row.querySelector("button"), items);
});

const HEADS = Array.from(document.querySelectorAll("#items th[data-sort]"));
for (const head of HEADS) {
  const name = head.textContent;
  head.replaceChildren(h("button", { type: "button", click: () => {
    state.down = state.sort === head.dataset.sort ? !state.down : head.classList.contains("number");
    state.sort = head.dataset.sort;
    showSort();
    update();
    say("Sorted by " + name + ", " + (state.down ? "descending" : "ascending"));
  } }, name));
}

function showSort() {
  for (const head of HEADS) {
    head.setAttribute("aria-sort", head.dataset.sort !== state.sort ? "none" : state.down ? "descending" : "ascending");
  }
}

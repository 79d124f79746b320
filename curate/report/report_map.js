// The pair map and the map of bindings: how many images show two words together.

const MAP_WORDS = 24; // words on a side

function showMaps() {
  if (byId("maps").hasChildNodes()) return;
  const maps = [];
  const [pairs, bindings] = ["pair", "bind"].map(kind => ITEMS.filter(item => item.kind === kind));
  if (pairs.length) {
    const words = mostAsked(pairs.flatMap(item => item.unit.split(" + ").map(word => [word, item.asked])));
    maps.push(...map("Nouns asked for together", words, words, pairs, true));
  }
  if (bindings.length) {
    const split = bindings.map(item => [item.unit.split(" + "), item.asked]);
    const rows = mostAsked(split.map(([[adjective], n]) => [adjective, n]));
    const columns = mostAsked(split.filter(([[adjective]]) => rows.includes(adjective)).map(([[, noun], n]) => [noun, n]));
    maps.push(...map("Adjectives at their nouns", rows, columns, bindings, false));
  }
  const none = h("p", { class: "soft" }, "No prompt asks for two words together that captions know.");
  byId("maps").replaceChildren(...(maps.length ? [mapKey(), ...maps] : [none]));
}

function mostAsked(asked) {
  const sums = new Map();
  for (const [word, n] of asked) sums.set(word, (sums.get(word) || 0) + n);
  return Array.from(sums).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, MAP_WORDS).map(([word]) => word);
}

function mapKey() {
  const swatch = (name, sample, text) => h("li", null, h("span", { class: name, "aria-hidden": "true" }, sample), text);
  return h("ul", { class: "swatches" }, swatch("zero", "0", "unseen"), swatch("zero due", "0", "unseen, though one or more were to be expected"), swatch("rare", "3", "rare, fewer than 5 images"), swatch("seen", "12", "seen"), swatch("many", "99", "seen in as many as the target, or more"), h("li", null, "empty: no prompt asks for both"));
}

function map(title, rows, columns, items, symmetric) {
  const found = new Map();
  for (const item of items) {
    const [a, b] = item.unit.split(" + ");
    found.set(a + "\n" + b, item);
    if (symmetric) found.set(b + "\n" + a, item);
  }
  const alone = new Map(ITEMS.filter(item => item.kind === "word").map(item => [item.unit, item.n_images]));
  const cells = rows.map(row => columns.map(column => found.get(row + "\n" + column)));
  const readout = h("p", { class: "readout", "aria-hidden": "true" }, "Point at a number, or move with the arrow keys, to read it.");
  const inMap = new Set(cells.flat().filter(Boolean));
  const among = items.filter(item => inMap.has(item));
  const body = cells.map((line, y) => h("tr", null, h("th", { scope: "row", title: rows[y] }, rows[y]),
    line.map((item, x) => cell(item, rows[y], symmetric && x === y ? alone.get(rows[y]) : undefined))));
  const at = (event, act) => { const cell = event.target.closest("td[data-id]"); if (cell) act(ITEMS[cell.dataset.id], cell); };
  const tell = event => at(event, item => { readout.textContent = cellText(item); });
  const table = h("table", { role: "grid", "aria-label": title + ", numbers of images", mouseover: tell, focusin: tell,
    click: event => at(event, (item, cell) => openItem(item, cell, among)), keydown: event => walk(event, table) },
    h("thead", null, h("tr", null, h("td"), columns.map(word => h("th", { scope: "col", title: word }, h("span", null, word))))),
    h("tbody", null, body));
  const first = table.querySelector("td.cell");
  if (first) first.tabIndex = 0;
  return [h("h3", null, title), h("p", { class: "soft" }, rows.length < MAP_WORDS ? "All of the prompts." : "The " + MAP_WORDS + " asked for most."),
    h("div", { class: "map" }, table), readout];
}

function cell(item, row, alone) {
  if (!item) return alone === undefined ? h("td") : h("td", { class: "self", title: row + ": " + count(alone, "image") }, short(alone));
  const name = item.n_images === 0 ? (item.expected >= 1 ? "zero due" : "zero") : isGap(item) ? "rare" : item.n_images >= DATA.report.profile.target ? "many" : "seen";
  return h("td", { class: "cell " + name, "data-id": item.id, tabindex: "-1", title: cellText(item), "aria-label": cellText(item) }, short(item.n_images));
}

const short = n => (n >= 10000 ? Math.round(n / 1000) + "k" : String(n));

function cellText(item) {
  const noun = item.kind === "bind" ? "binding" : "pair";
  const expected = item.expected === null ? "" : ", " + format(item.expected) + " expected if independent";
  return item.unit + ": " + count(item.n_images, "image") + expected + "; " + item.verdict.replace("-", " ") + ", asked for in " + count(item.asked, "prompt") + ". Enter opens the " + noun + ".";
}

function walk(event, table) {
  const at = event.target.closest("td.cell");
  if (!at) return;
  const enters = event.key === "Enter" || event.key === " ";
  const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  if (enters || move) event.preventDefault();
  if (enters) at.click();
  if (!move) return;
  const lines = Array.from(table.tBodies[0].rows);
  let y = lines.indexOf(at.parentElement), x = at.cellIndex;
  for (;;) {
    y += move[0];
    x += move[1];
    const next = lines[y] && lines[y].cells[x];
    if (!next || x < 1) return;
    if (next.classList.contains("cell")) { at.tabIndex = -1; next.tabIndex = 0; next.focus(); return; }
  }
}

// --- begin
for (const hidden of document.querySelectorAll(".tabs, .keys")) hidden.hidden = false;
restore();

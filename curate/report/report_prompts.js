// The prompts, their words as links to the items.

function showPrompts() {
  byId("prompts").replaceChildren();
  madePrompts = 0;
  morePrompts();
  const orders = [["worst", "worst first"], ["file", "as in the file"]];
  byId("prompt-order").replaceChildren("Order: ", ...orders.map(([name, text]) =>
    h("button", { type: "button", "aria-pressed": String(state.order === name), click: () => {
      state.order = name; choose(); keep();
      byId("prompt-order").querySelector("[aria-pressed=true]").focus();
    } }, text)));
}

function morePrompts(focus) {
  const next = shownPrompts.slice(madePrompts, madePrompts + SLICE);
  const rows = next.map(promptRow);
  byId("prompts").append(...rows);
  madePrompts += next.length;
  moreButton("more-prompts", shownPrompts.length - madePrompts);
  const first = focus && rows.length && rows[0].querySelector("a,button");
  if (first) first.focus();
}

function promptRow(prompt) {
  const joins = prompt.joins.map(id => ITEMS[id]).filter(item => item.s < 2).sort((a, b) => a.id - b.id);
  const some = (from, to) => joins.slice(from, to).map(item => h("button", { type: "button", class: DATA.severities[item.s], "data-id": item.id }, item.v.replace("-", " ") + ": " + item.u));
  const shown = h("div", { class: "joins" }, some(0, 4));
  if (joins.length > 4) {
    shown.append(h("button", { type: "button", class: "rest", click: event => {
      const first = some(4);
      event.currentTarget.replaceWith(...first);
      first[0].focus();
    } }, "and " + (joins.length - 4) + " more"));
  }
  return h("li", null,
    h("div", { class: "where" }, h("span", { class: "unseen" }, "line "), String(prompt.line)),
    h("div", null, h("div", { class: "text", dir: "auto" }, pieces(prompt)), joins.length ? shown : null));
}

// The text of a prompt, its words as links; words of a phrase share a line under them.
function pieces(prompt) {
  const cut = cutter(prompt.text);
  const inner = prompt.spans.filter(s => ITEMS[s[2]].k !== "phrase").sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  const phrases = prompt.spans.filter(s => ITEMS[s[2]].k === "phrase").sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  const made = [];
  let reached = 0, box = made, boxEnd = -1, wrapped = null;
  const close = () => { if (wrapped) { wrapped.append(...box); made.push(wrapped); wrapped = null; box = made; } };
  const upTo = end => { if (end > reached) { box.push(cut(reached, end)); reached = end; } };
  for (const [start, end, id] of inner) {
    if (start < reached) continue;
    if (wrapped && start >= boxEnd) { upTo(boxEnd); close(); }
    const phrase = !wrapped && phrases.find(p => p[0] <= start && start < p[1] && p[0] >= reached);
    if (phrase) {
      upTo(phrase[0]);
      const item = ITEMS[phrase[2]];
      wrapped = h("span", { class: "phrase " + DATA.severities[item.s], title: item.u + ": " + item.v });
      box = [];
      boxEnd = phrase[1];
    }
    upTo(start);
    const item = ITEMS[id];
    const severity = DATA.severities[item.s];
    box.push(h("a", { class: "w " + severity + " " + item.v, href: "#item=" + id, "data-id": id, tabindex: item.s < 2 ? null : "-1", title: item.u + ": " + item.v + ", " + count(item.n, "image") }, cut(start, end)));
    reached = end;
  }
  if (wrapped) { upTo(boxEnd); close(); }
  upTo(Array.from(prompt.text).length);
  return made;
}

byId("prompts").addEventListener("click", event => {
  const word = event.target.closest("[data-id]");
  if (!word || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const prompt = word.closest("li");
  const around = Array.from(prompt.querySelectorAll("[data-id]"), w => ITEMS[Number(w.dataset.id)]);
  openItem(Number(word.dataset.id), word, Array.from(new Set(around)));
});

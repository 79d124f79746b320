// The prompts, their words as links to the items.

const ORDERS = { worst: "worst first", file: "as in the file" };

const listPrompts = slices(byId("prompts"), byId("more-prompts"), promptRow);

function showPrompts() {
  listPrompts(prompts);
  byId("prompt-order").replaceChildren("Order: ", ...Object.entries(ORDERS).map(([name, text]) =>
    h("button", { type: "button", "aria-pressed": String(state.order === name), click: () => {
      state.order = name;
      update();
      byId("prompt-order").querySelector("[aria-pressed=true]").focus();
    } }, text)));
}

function promptRow(prompt) {
  const joins = prompt.joins.filter(isGap);
  const buttons = some => some.map(item => h("button", { type: "button", class: item.severity, "data-id": item.id }, item.verdict.replace("-", " ") + ": " + item.unit));
  const first = h("div", { class: "joins" }, buttons(joins.slice(0, 4)));
  if (joins.length > 4) {
    first.append(h("button", { type: "button", class: "rest", click: event => {
      const rest = buttons(joins.slice(4));
      event.currentTarget.replaceWith(...rest);
      rest[0].focus();
    } }, "and " + (joins.length - 4) + " more"));
  }
  return h("li", null,
    h("div", { class: "where" }, h("span", { class: "unseen" }, "line "), String(prompt.line)),
    h("div", null, h("div", { class: "text", dir: "auto" }, linkedText(prompt)), joins.length ? first : null));
}

// The text of a prompt, its words as links; words of a phrase share a line under them.
function linkedText(prompt) {
  const cut = cutter(prompt.text);
  const isPhrase = one => one.item.kind === "phrase";
  const inOrder = prompt.words.slice().sort((a, b) => a.start - b.start || b.end - a.end || isPhrase(b) - isPhrase(a));
  const stretch = (from, to, all, make) => {
    const parts = [];
    for (const one of all) {
      if (one.start < from || one.end > to) continue;
      parts.push(cut(from, one.start), make(one));
      from = one.end;
    }
    return [...parts, cut(from, to)];
  };
  const link = ({ start, end, item }) => h("a", { class: "w " + item.severity + " " + item.verdict, href: "#item=" + item.id, "data-id": item.id, tabindex: isGap(item) ? null : "-1", title: item.unit + ": " + item.verdict + ", " + count(item.n_images, "image") }, cut(start, end));
  const underline = ({ start, end, item }) => h("span", { class: "phrase " + item.severity, title: item.unit + ": " + item.verdict }, stretch(start, end, inOrder.filter(one => !isPhrase(one)), link));
  return stretch(0, Array.from(prompt.text).length, inOrder, one => isPhrase(one) ? underline(one) : link(one));
}

byId("prompts").addEventListener("click", event => {
  const word = event.target.closest("[data-id]");
  if (!word || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const among = new Set(Array.from(word.closest("li").querySelectorAll("[data-id]"), one => ITEMS[one.dataset.id]));
  openItem(ITEMS[word.dataset.id], word, Array.from(among));
});

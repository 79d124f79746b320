// One item, opened: what was counted, where, and what closes the gap.

let openId = null, opener = null, around = [];
const DETAIL = byId("detail");
const WIDE = matchMedia("(min-width: 70rem)");
const PLACES = 12; // prompts listed before the rest is asked for

function openItem(item, from, among) {
  if (from) opener = from;
  if (among) around = among;
  openId = item.id;
  DETAIL.replaceChildren(bar(item), sheet(item));
  DETAIL.scrollTop = 0;
  if (!DETAIL.open) {
    if (WIDE.matches) DETAIL.show(); else DETAIL.showModal();
    document.body.classList.add("open");
  }
  markOpen();
  byId("detail-title").focus();
  keep();
}

function closeItem(back) {
  if (back === false) opener = null;
  DETAIL.close();
}

DETAIL.addEventListener("close", () => {
  if (DETAIL.open) return; // opened again in another way
  document.body.classList.remove("open");
  const again = opener?.isConnected ? opener : opener && document.querySelector('tr[data-id="' + openId + '"] button, :not(tr)[data-id="' + openId + '"]');
  openId = null;
  markOpen();
  keep();
  again?.focus();
});
DETAIL.addEventListener("click", event => { if (event.target === DETAIL) closeItem(); }); // backdrop
DETAIL.addEventListener("keydown", event => {
  if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); closeItem(); }
  if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
});
document.addEventListener("keydown", event => { if (event.key === "Escape" && DETAIL.open) closeItem(); });
WIDE.addEventListener("change", () => { if (DETAIL.open) { const item = ITEMS[openId]; DETAIL.close(); openItem(item); } });

function markOpen() {
  for (const old of document.querySelectorAll(".on")) old.classList.remove("on");
  if (openId === null) return;
  for (const one of document.querySelectorAll('tr[data-id="' + openId + '"], .w[data-id="' + openId + '"]')) one.classList.add("on");
}

function step(by) {
  const next = around[around.findIndex(item => item.id === openId) + by];
  if (!next) { say(by > 0 ? "That was the last" : "That was the first"); return; }
  const row = document.querySelector('tr[data-id="' + next.id + '"]');
  if (row && state.view === "items") { opener = row.querySelector("button"); row.scrollIntoView({ block: "nearest" }); }
  openItem(next);
}

function bar(item) {
  const at = around.indexOf(item);
  const button = (text, label, action, off) => h("button", { type: "button", class: "quiet", "aria-label": label, disabled: off, click: action }, text);
  return h("div", { class: "bar" }, h("span", { class: "place" }, at < 0 ? "" : format(at + 1) + " of " + format(around.length)),
    button("↑", "Previous item", () => step(-1), at <= 0),
    button("↓", "Next item", () => step(1), at < 0 || at + 1 >= around.length),
    button("Close", "Close, Escape", () => closeItem()));
}

function sheet(item) {
  return h("div", { class: "sheet" },
    h("h2", { id: "detail-title", tabindex: "-1" }, item.unit),
    h("div", null, verdict(item), " ", h("span", { class: "kind" }, DATA.kinds[item.kind] || item.kind), item.badges.map(badge)),
    h("p", { class: "description" }, item.description),
    item.kind === "token" || item.verdict === "function-word" ? null : [counts(item), hints(item)],
    closing(item), senses(item), evidence(item), relatives(item), combinations(item), places(item));
}

const part = (title, ...content) => [h("h3", null, title), ...content];
const list = (...entries) => h("ul", { class: "list" }, entries);
const soft = (...content) => h("p", { class: "soft" }, content);

function counts(item) {
  const { levels, n_images: n } = item, { min, target } = DATA.report.profile;
  const single = item.kind === "word";
  const related = ["synonym", "narrower", "derivation"].reduce((sum, name) => sum + levels[name].n, 0);
  return [h("p", { class: "big" }, h("b", null, format(n)), n === 1 ? " image" : " images", single ? " of " + target + " wanted" : null),
    single ? gauge(levels, related, min, target) : null,
    levels.inflection + levels.variant + related ? levelTable(levels) : single && n ? soft("All name it as it is written here.") : null,
    item.expected === null ? null : h("p", null, format(item.expected) + " expected if the words were independent of each other",
      item.pmi === null ? "." : "; pointwise mutual information " + item.pmi.toLocaleString("en", { maximumFractionDigits: 2 }) + "."),
    item.upper_bound_visible_95 === null ? null : soft("Captions are silent about much that is seen: up to " + count(Math.round(item.upper_bound_visible_95), "image") + " may show it unnamed (upper bound, 95 %)."),
    item.p_correct === null ? null : soft("Verdicts of this kind were right in " + Math.round(item.p_correct * 100) + " % of the cases that could be checked.")];
}

function gauge({ exact, inflection, variant }, related, min, target) {
  const most = Math.max(target, exact + inflection + variant + related);
  const stretch = (name, n) => { const s = h("span", { class: name }); s.style.width = (100 * n) / most + "%"; return n ? s : null; };
  const at = (n, text) => { const m = h("em", { class: n / most > .6 ? "late" : null }, h("i", null, text)); m.style.left = (100 * n) / most + "%"; return m; };
  return h("div", { class: "gauge", "aria-hidden": "true" }, stretch("exact", exact), stretch("inflection", inflection + variant), stretch("related", related),
    target / most - min / most > .25 ? at(min, "min " + min) : null, at(target, "target " + target));
}

const LEVELS = { exact: "as written", inflection: "in another form", variant: "in another spelling", synonym: "synonym", narrower: "narrower word", derivation: "derived word" };

function levelTable(levels) {
  const rows = Object.entries(LEVELS).map(([name, title]) => {
    const level = levels[name], n = level.n ?? level, via = level.via;
    if (!n && name !== "exact") return null;
    return h("tr", null, h("th", { scope: "row" }, title), h("td", { class: "number" }, format(n)),
      h("td", { class: "soft" }, via ? (via.length ? "via " + via.join(", ") + "; " : "") + "not counted as the word" : ""));
  });
  return h("table", { class: "levels" }, h("caption", { class: "unseen" }, "Images by how the captions name it"), h("tbody", null, rows));
}

const hints = ({ did_you_mean: near }) => near.length ? part("Did you mean", h("p", null, near.map(({ unit, n_images }, place) => [place ? ", " : "", h("b", null, unit), " (" + count(n_images, "image") + ")"]))) : null;
const senses = ({ senses: found }) => found && part("Another sense", h("dl", { class: "senses" }, h("dt", null, "asked for"), h("dd", null, found.asked), h("dt", null, "captions show"), h("dd", null, found.shown)));
const closing = ({ fix }) => fix.fetch.length ? part("What closes it", fix.need ? soft(count(fix.need, "image") + " short of the target.") : null, fix.fetch.map(command)) : null;
const evidence = item => item.evidence.length ? part("Captions that show it", h("ul", { class: "evidence" }, item.evidence.map(proof))) : null;

function proof({ key, caption, marks }) {
  const image = DATA.thumbnails[key] || {};
  return h("li", null, frame(key, image), h("div", null, h("p", null, highlight(caption, marks)), credit(key, image)));
}

function frame(key, { data_uri, reason }) {
  if (!data_uri) return h("div", { class: "frame" }, h("span", null, reason ? "no image: " + reason : "no image"));
  const image = h("img", { src: data_uri, alt: "image " + key, decoding: "async" });
  image.addEventListener("load", () => { if (Math.max(image.naturalWidth, image.naturalHeight) <= 48) image.classList.add("small"); });
  return h("div", { class: "frame" }, image);
}

function credit(key, { license, source, page_url, author }) {
  const from = page_url ? h("a", { href: page_url, rel: "noopener noreferrer", target: "_blank" }, source || "source") : source || null;
  return h("p", { class: "credit" }, license || "licence unknown", author ? ", by " + author : null, from ? [", ", from] : null, h("br"), key);
}

function highlight(text, marks) {
  const cut = cutter(text);
  let reached = 0;
  const parts = marks.map(([start, end]) => {
    const before = cut(reached, start);
    reached = end;
    return [before, h("mark", null, cut(start, end))];
  });
  return [parts, cut(reached, text.length)];
}

function relatives({ related_not_counted: related, nearest }) {
  return [
    related.length ? part("Related words, not counted", list(related.map(({ unit, relation, n_images }) => h("li", null, unit, h("span", { class: "soft" }, " " + relation + ", " + count(n_images, "image")))))) : null,
    nearest.length ? part("Known words that look like it", h("p", null, nearest.map(({ unit, n_images }) => unit + " (" + format(n_images) + ")").join(", "))) : null,
  ];
}

const wordsOf = item => item.kind === "word" ? [] : item.unit.split(item.kind === "phrase" ? " " : " + ");
let joinsOf = null; // word -> items that combine it with others

function combinations(item) {
  if (item.kind === "token") return null;
  if (!joinsOf) {
    joinsOf = new Map();
    for (const one of ITEMS.filter(one => JOINS.has(one.kind))) {
      for (const word of wordsOf(one)) {
        if (!joinsOf.has(word)) joinsOf.set(word, []);
        joinsOf.get(word).push(one);
      }
    }
  }
  const words = wordsOf(item);
  const parts = words.map(word => ITEMS.find(one => !isPair(one) && one.unit === word)).filter(Boolean);
  const found = parts.concat(isPair(item) ? [] : joinsOf.get(item.unit) || []).filter(one => one !== item);
  if (!found.length) return null;
  const first = found.slice(0, 10);
  return part(words.length ? "Its words, and where else it stands" : "In combination", list(
    first.map(one => h("li", null, h("button", { type: "button", click: () => openItem(one) }, one.unit), " ", h("span", { class: "soft" }, one.verdict + ", " + count(one.n_images, "image")))),
    found.length > first.length ? h("li", { class: "soft" }, "and " + format(found.length - first.length) + " more: find “" + item.unit + "” in the list") : null));
}

function places(item) {
  const entries = list();
  const add = (from, to) => entries.append(...item.prompts.slice(from, to).map(({ line, span }) => {
    const prompt = LINES.get(line);
    return h("li", { dir: "auto" }, h("span", { class: "where" }, "line " + line), " ", prompt ? excerpt(prompt.text, ...span) : null);
  }));
  add(0, PLACES);
  const rest = item.prompts.length - PLACES;
  const button = rest > 0 ? h("button", { type: "button", class: "quiet", click: event => { add(PLACES); event.currentTarget.remove(); } }, "Show " + format(rest) + " more") : null;
  return part("Asked for in " + count(item.asked, "prompt"), entries, button);
}

// Of a long prompt, what stands around the words that matter.
function excerpt(text, start, end) {
  const length = Array.from(text).length, room = 90;
  const from = Math.max(0, start - room);
  const to = Math.min(length, end + room);
  const cut = cutter(text);
  return [(from ? "… " : "") + cut(from, start), h("mark", null, cut(start, end)), cut(end, to) + (to < length ? " …" : "")];
}

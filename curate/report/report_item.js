// One item, opened: what was counted, where, and what closes the gap.

let openId = null, opener = null, around = [];
const DETAIL = byId("detail");
const WIDE = matchMedia("(min-width: 70rem)");
const EVIDENCE_LINES = 12; // prompts told before the rest is asked for

function openItem(id, from, among) {
  if (from) opener = from;
  if (among) around = among;
  openId = id;
  const item = ITEMS[id];
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
  if (!DETAIL.open) return;
  DETAIL.close();
  if (back === false || !opener) return;
  const again = opener.isConnected ? opener : document.querySelector('[data-id="' + openId + '"]');
  if (again) (again.matches("tr") ? again.querySelector("button") : again).focus();
}

DETAIL.addEventListener("close", () => {
  document.body.classList.remove("open");
  const closed = openId;
  openId = null;
  markOpen();
  keep();
  if (opener && !opener.isConnected) {
    const again = document.querySelector('tr[data-id="' + closed + '"] button, [data-id="' + closed + '"]');
    if (again && document.activeElement === document.body) again.focus();
  }
});
DETAIL.addEventListener("click", event => { if (event.target === DETAIL) closeItem(); }); // backdrop
DETAIL.addEventListener("keydown", event => {
  if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); closeItem(); }
  if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
});
document.addEventListener("keydown", event => { if (event.key === "Escape" && DETAIL.open) closeItem(); });
WIDE.addEventListener("change", () => { if (DETAIL.open) { const id = openId; DETAIL.close(); openItem(id); } });

function markOpen() {
  for (const old of document.querySelectorAll(".on")) old.classList.remove("on");
  if (openId === null) return;
  for (const found of document.querySelectorAll('tr[data-id="' + openId + '"], .w[data-id="' + openId + '"]')) found.classList.add("on");
}

function step(by) {
  const at = around.findIndex(item => item.id === openId);
  const next = around[at + by];
  if (!next) { say(by > 0 ? "That was the last" : "That was the first"); return; }
  const made = document.querySelector('tr[data-id="' + next.id + '"]');
  if (made && state.view === "items") { opener = made.querySelector("button"); made.scrollIntoView({ block: "nearest" }); }
  openItem(next.id);
}

function bar(item) {
  const at = around.findIndex(one => one.id === item.id);
  const place = at < 0 ? "" : (at + 1).toLocaleString("en") + " of " + around.length.toLocaleString("en");
  const button = (text, label, action, off) => h("button", { type: "button", class: "quiet", "aria-label": label, disabled: off, click: action }, text);
  return h("div", { class: "bar" }, h("span", { class: "place" }, place),
    button("↑", "Previous item", () => step(-1), at <= 0),
    button("↓", "Next item", () => step(1), at < 0 || at + 1 >= around.length),
    button("Close", "Close, Escape", () => closeItem()));
}

function sheet(item) {
  const kind = DATA.kinds[item.k] || item.k;
  return h("div", { class: "sheet" },
    h("h2", { id: "detail-title", tabindex: "-1" }, item.u),
    h("div", null, verdict(item), " ", h("span", { class: "kind" }, kind), (item.g || []).map(badge)),
    h("p", { class: "meaning" }, DATA.meanings[item.v] || null),
    item.k === "token" || item.v === "function-word" ? null : [counted(item), hints(item)],
    closing(item), senses(item), evidence(item), relatives(item), combinations(item), wanting(item));
}

const part = (title, ...content) => [h("h3", null, title), ...content];

function counted(item) {
  const target = DATA.profile.target, least = DATA.profile.min;
  const single = item.k === "word";
  const made = [h("p", { class: "big" }, h("b", null, item.n.toLocaleString("en")), item.n === 1 ? " image" : " images",
    single ? " of " + target + " wanted" : null)];
  const levels = item.l || [item.n, 0, 0, [0], [0], [0]];
  if (single) made.push(gauge(levels, least, target));
  if (item.l) made.push(levelTable(item));
  else if (single && item.n) made.push(h("p", { class: "soft" }, "All name it as it is written here."));
  if (item.x !== undefined) {
    made.push(h("p", null, item.x.toLocaleString("en") + " expected if the words were independent of each other",
      item.i === undefined ? "." : "; pointwise mutual information " + item.i.toLocaleString("en", { maximumFractionDigits: 2 }) + "."));
  }
  if (item.b !== undefined) {
    made.push(h("p", { class: "soft" }, "Captions are silent about much that is seen: up to " + count(Math.round(item.b), "image") + " may show it unnamed (upper bound, 95 %)."));
  }
  if (item.p !== undefined) made.push(h("p", { class: "soft" }, "Verdicts of this kind were right in " + Math.round(item.p * 100) + " % of the cases that could be checked."));
  return made;
}

function gauge(levels, least, target) {
  const related = levels.slice(3).reduce((sum, one) => sum + one[0], 0);
  const most = Math.max(target, levels[0] + levels[1] + levels[2] + related);
  const stretch = (name, n) => { const s = h("span", { class: name }); s.style.width = (100 * n) / most + "%"; return n ? s : null; };
  const at = (n, text) => { const m = h("em", { class: n / most > .6 ? "late" : null }, h("i", null, text)); m.style.left = (100 * n) / most + "%"; return m; };
  return h("div", { class: "gauge", "aria-hidden": "true" }, stretch("counted", levels[0]), stretch("inflected", levels[1] + levels[2]), stretch("related", related),
    target / most - least / most > .25 ? at(least, "min " + least) : null, at(target, "target " + target));
}

function levelTable(item) {
  const names = ["as written", "in another form", "in another spelling", "synonym", "narrower word", "derived word"];
  const rows = item.l.map((level, n) => {
    const [number, ...via] = n < 3 ? [level] : level;
    if (!number && n > 0) return null;
    return h("tr", null, h("th", { scope: "row" }, names[n]), h("td", { class: "number" }, number.toLocaleString("en")),
      h("td", { class: "soft" }, (via.length ? "via " + via.join(", ") + "; " : "") + (n < 3 ? "" : "not counted as the word")));
  });
  return h("table", { class: "levels" }, h("caption", { class: "unseen" }, "Images by how the captions name it"), h("tbody", null, rows));
}

function hints(item) {
  if (!item.d) return null;
  return part("Did you mean", h("p", null, item.d.flatMap(([unit, n], place) => [place ? ", " : "", h("b", null, unit), " (" + count(n, "image") + ")"])));
}

function senses(item) {
  if (!item.z) return null;
  return part("Another sense", h("dl", { class: "senses" }, h("dt", null, "asked for"), h("dd", null, item.z.asked), h("dt", null, "captions show"), h("dd", null, item.z.shown)));
}

function closing(item) {
  if (!item.f) return null;
  const short = item.q ? h("p", { class: "soft" }, count(item.q, "image") + " short of the target.") : null;
  return part("What closes it", short, item.f.map(command));
}

function evidence(item) {
  if (!item.e) return null;
  return part("Captions that show it", h("ul", { class: "evidence" }, item.e.map(([text, ...spans]) => {
    const [place, caption] = DATA.texts[text];
    return h("li", null, frame(DATA.pictures[place]), h("div", null, h("p", null, marked(caption, spans)), credit(DATA.pictures[place])));
  })));
}

function frame([key, uri, , , , , reason]) {
  if (!uri || !uri.startsWith("data:image/webp;base64,")) return h("div", { class: "frame" }, h("span", null, reason ? "no picture: " + reason : "no picture"));
  const image = h("img", { src: uri, alt: "picture " + key, decoding: "async" });
  image.addEventListener("load", () => { if (Math.max(image.naturalWidth, image.naturalHeight) <= 48) image.classList.add("small"); });
  return h("div", { class: "frame" }, image);
}

function credit([key, , licence, source, page, author]) {
  const said = [licence || "licence unknown", author ? "by " + author : null].filter(Boolean).join(", ");
  const from = page && /^https?:\/\//i.test(page)
    ? h("a", { href: page, rel: "noopener noreferrer", target: "_blank" }, source || "source")
    : source ? h("span", null, source) : null;
  return h("p", { class: "credit" }, said, from ? [", ", from] : null, h("br"), key);
}

function marked(text, spans) {
  const cut = cutter(text);
  const made = [];
  let reached = 0;
  for (let i = 0; i < spans.length; i += 2) {
    made.push(cut(reached, spans[i]), h("mark", null, cut(spans[i], spans[i + 1])));
    reached = spans[i + 1];
  }
  made.push(cut(reached, text.length));
  return made;
}

function relatives(item) {
  const made = [];
  if (item.r) made.push(...part("Related words, not counted", h("ul", { class: "list" }, item.r.map(([unit, relation, n]) => h("li", null, unit, h("span", { class: "soft" }, " " + relation + ", " + count(n, "image")))))));
  if (item.y) made.push(...part("Known words that look like it", h("p", null, item.y.map(([unit, n]) => unit + " (" + n.toLocaleString("en") + ")").join(", "))));
  return made;
}

let joinedBy = null; // word -> items that combine it with others
function combinations(item) {
  if (item.k === "token") return null;
  if (!joinedBy) {
    joinedBy = new Map();
    for (const one of ITEMS) {
      if (!JOINED.has(one.k)) continue;
      for (const word of one.u.split(one.k === "phrase" ? " " : " + ")) {
        if (!joinedBy.has(word)) joinedBy.set(word, []);
        joinedBy.get(word).push(one);
      }
    }
  }
  const words = item.k === "word" ? [] : item.u.split(item.k === "phrase" ? " " : " + ");
  const parts = words.map(word => ITEMS.find(one => one.k !== "pair" && one.k !== "bind" && one.u === word && one !== item)).filter(Boolean);
  const found = parts.concat(item.k === "word" || item.k === "phrase" ? joinedBy.get(item.u) || [] : []).filter(one => one !== item);
  if (!found.length) return null;
  const shown = found.slice(0, 10);
  return part(words.length ? "Its words, and where else it stands" : "In combination", h("ul", { class: "list" },
    shown.map(one => h("li", null, h("button", { type: "button", click: () => openItem(one.id) }, one.u), " ", h("span", { class: "soft" }, one.v + ", " + count(one.n, "image")))),
    found.length > shown.length ? h("li", { class: "soft" }, "and " + (found.length - shown.length).toLocaleString("en") + " more: find “" + item.u + "” in the list") : null));
}

function wanting(item) {
  const places = [];
  for (let i = 0; i < item.m.length; i += 3) places.push(item.m.slice(i, i + 3));
  const list = h("ul", { class: "list" });
  const more = (from, to) => list.append(...places.slice(from, to).map(([line, start, end]) => {
    const prompt = LINES.get(line);
    if (!prompt) return h("li", null, "line " + line);
    return h("li", { dir: "auto" }, h("span", { class: "where" }, "line " + line), " ", clipped(prompt.text, start, end));
  }));
  more(0, EVIDENCE_LINES);
  const rest = places.length - EVIDENCE_LINES;
  const button = rest > 0 ? h("button", { type: "button", class: "quiet", click: event => { more(EVIDENCE_LINES); event.currentTarget.remove(); } }, "Show " + rest.toLocaleString("en") + " more") : null;
  return part("Asked for in " + count(item.a, "prompt"), list, button);
}

// A long prompt is told around the words that matter.
function clipped(text, start, end) {
  const all = Array.from(text), room = 90;
  const from = start > room ? start - room : 0;
  const to = Math.min(all.length, end + room);
  const cut = (a, b) => all.slice(a, b).join("");
  return [(from ? "… " : "") + cut(from, start), h("mark", null, cut(start, end)), cut(end, to) + (to < all.length ? " …" : "")];
}

// Views, filters, keys, copying, and the address that keeps the state.

const VIEWS = Array.from(document.querySelectorAll("[role=tab]"), tab => tab.id.slice(4));

function view(name, focus) {
  state.view = VIEWS.includes(name) ? name : "prompts";
  for (const each of VIEWS) {
    const on = each === state.view;
    const tab = byId("tab-" + each);
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    byId("view-" + each).hidden = !on;
    if (on && focus) tab.focus();
    if (on) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  byId("controls").hidden = state.view !== "prompts" && state.view !== "items";
  byId("count").hidden = byId("controls").hidden;
  if (state.view === "map") showMaps();
  tellCounts();
}

for (const name of VIEWS) {
  byId("tab-" + name).addEventListener("click", () => { view(name); keep(); });
  byId("tab-" + name).addEventListener("keydown", event => {
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    const at = VIEWS.indexOf(name), last = VIEWS.length - 1;
    const to = event.key === "Home" ? 0 : event.key === "End" ? last
      : event.key in steps ? (at + steps[event.key] + VIEWS.length) % VIEWS.length : null;
    if (to === null) return;
    event.preventDefault();
    view(VIEWS[to], true);
    keep();
  });
}

function fill(select, values, names) {
  for (const value of values) select.append(h("option", { value }, names[value] || value));
}

const PRESENT = name => Array.from(new Set(ITEMS.map(item => item[name])));
fill(byId("kind"), Object.keys(DATA.kinds).filter(kind => PRESENT("k").includes(kind)), DATA.kinds);
fill(byId("verdict"), Object.keys(DATA.meanings).concat(PRESENT("v").filter(v => !(v in DATA.meanings))), {});

const BOXES = Array.from(document.querySelectorAll(".severities input"));
BOXES.forEach((box, severity) => box.addEventListener("change", () => { state.severities[severity] = box.checked; choose(); keep(); }));
byId("find").addEventListener("input", event => { state.q = event.target.value; choose(); keep(); });
byId("kind").addEventListener("change", event => { state.kind = event.target.value; choose(); keep(); });
byId("verdict").addEventListener("change", event => {
  state.verdict = event.target.value;
  const found = ITEMS.find(item => item.v === state.verdict);
  if (found && !state.severities[found.s]) BOXES[found.s].checked = state.severities[found.s] = true;
  choose();
  keep();
});
byId("filters").addEventListener("click", event => {
  const all = byId("controls").classList.toggle("all");
  event.currentTarget.setAttribute("aria-expanded", String(all));
  event.currentTarget.textContent = all ? "Less" : "More";
});
byId("more-items").addEventListener("click", () => moreItems(true));
byId("more-prompts").addEventListener("click", () => morePrompts(true));
byId("copy-all").addEventListener("click", () => {
  const all = commandsShown();
  copy(all.join("\n") + "\n", count(all.length, "command") + " copied");
});

document.addEventListener("keydown", event => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    if (byId("controls").hidden) { view("items"); keep(); }
    closeItem(false);
    byId("find").focus();
    byId("find").select();
  } else if (event.key === "Escape" && typing && byId("find").value) {
    byId("find").value = state.q = "";
    choose();
    keep();
  }
});

// --- copying
function say(text) {
  byId("live").textContent = "";
  setTimeout(() => { byId("live").textContent = text; }, 30);
}

async function copy(text, told) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    const box = h("textarea", { class: "unseen", "aria-hidden": "true" });
    const before = document.activeElement;
    const place = byId("detail").open ? byId("detail") : document.body;
    box.value = text;
    place.append(box);
    box.select();
    done = document.execCommand("copy");
    box.remove();
    if (before) before.focus();
  }
  say(done ? told : "Could not copy; select the text instead");
  return done;
}

document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const done = await copy(button.dataset.copy, "Copied: " + button.dataset.copy);
  button.textContent = done ? "Copied" : "Failed";
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
});

// --- the address keeps the state
function keep() {
  const kept = new URLSearchParams();
  if (state.view !== "prompts") kept.set("view", state.view);
  if (state.q) kept.set("q", state.q);
  const severities = "ewi".split("").filter((_, n) => state.severities[n]).join("");
  if (severities !== "ew") kept.set("show", severities);
  for (const name of ["kind", "verdict"]) if (state[name]) kept.set(name, state[name]);
  if (state.sort) kept.set("sort", (state.down ? "-" : "") + state.sort);
  if (state.order !== "worst") kept.set("order", state.order);
  if (openId !== null) kept.set("item", String(openId));
  try {
    history.replaceState(null, "", "#" + kept);
  } catch {
    // some browsers refuse this for files; the page works without
  }
}

function restore() {
  const kept = new URLSearchParams(location.hash.slice(1));
  state.q = kept.get("q") || "";
  const shown = kept.has("show") ? kept.get("show") : "ew";
  state.severities = ["e", "w", "i"].map(letter => shown.includes(letter));
  state.kind = kept.get("kind") || "";
  state.verdict = kept.get("verdict") || "";
  const sort = kept.get("sort") || "";
  state.down = sort.startsWith("-");
  state.sort = "vunxaq".includes(sort.replace("-", "")) ? sort.replace("-", "") : "";
  state.order = kept.get("order") === "file" ? "file" : "worst";
  byId("find").value = state.q;
  byId("kind").value = state.kind;
  byId("verdict").value = state.verdict;
  BOXES.forEach((box, n) => { box.checked = state.severities[n]; });
  tellSort();
  view(kept.get("view") || "prompts");
  choose();
  const item = kept.get("item");
  if (item !== null && ITEMS[Number(item)]) openItem(Number(item), null, shownItems);
}

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
    // not scrollIntoView, from which some browsers go on with Tab, past the link to skip
    if (on) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 40;
  }
  byId("controls").hidden = state.view !== "prompts" && state.view !== "items";
  byId("count").hidden = byId("controls").hidden;
  if (state.view === "map") showMaps();
  showCounts();
}

const STEPS = { ArrowRight: at => at + 1, ArrowLeft: at => at - 1, Home: () => 0, End: () => -1 };

for (const [at, name] of VIEWS.entries()) {
  byId("tab-" + name).addEventListener("click", () => { view(name); keep(); });
  byId("tab-" + name).addEventListener("keydown", event => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    view(VIEWS.at(STEPS[event.key](at) % VIEWS.length), true);
    keep();
  });
}

const BOXES = Array.from(document.querySelectorAll(".severities input"));
for (const box of BOXES) {
  box.addEventListener("change", () => { state.severities = new Set(BOXES.filter(one => one.checked).map(one => one.value)); update(); });
}
const FIELDS = { find: "q", kind: "kind", verdict: "verdict" }; // element -> what of the state it sets
for (const [id, name] of Object.entries(FIELDS)) {
  byId(id).addEventListener("input", event => {
    state[name] = event.target.value;
    const box = id === "verdict" && BOXES.find(one => one.value === DATA.verdicts[state.verdict]?.severity);
    if (box) { box.checked = true; state.severities.add(box.value); }
    update();
  });
}
byId("filters").addEventListener("click", event => {
  const all = byId("controls").classList.toggle("all");
  event.currentTarget.setAttribute("aria-expanded", String(all));
  event.currentTarget.textContent = all ? "Less" : "More";
});
byId("copy-all").addEventListener("click", () => {
  const all = commands();
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
    update();
  }
});

// --- copying
function say(text) {
  byId("live").textContent = "";
  setTimeout(() => { byId("live").textContent = text; }, 30);
}

async function copy(text, message) {
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
  say(done ? message : "Could not copy; select the text instead");
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
const USUAL = { view: "prompts", q: "", show: "error,warning", kind: "", verdict: "", sort: "verdict", order: "worst" };

function keep() {
  const show = SEVERITIES.filter(severity => state.severities.has(severity)).join();
  const values = { ...state, show, sort: (state.down ? "-" : "") + state.sort };
  const kept = new URLSearchParams();
  for (const name in USUAL) if (values[name] !== USUAL[name]) kept.set(name, values[name]);
  if (openId !== null) kept.set("item", String(openId));
  try {
    history.replaceState(null, "", "#" + kept);
  } catch {
    // some browsers refuse this for files; the page works without
  }
}

function restore() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const { view: name, show, sort, ...values } = { ...USUAL, ...Object.fromEntries(kept) };
  Object.assign(state, values, { severities: new Set(show.split(",")), down: sort.startsWith("-"), sort: sort.replace("-", "") });
  if (!HEADS.some(head => head.dataset.sort === state.sort)) state.sort = USUAL.sort;
  for (const [id, name] of Object.entries(FIELDS)) byId(id).value = state[name];
  for (const box of BOXES) box.checked = state.severities.has(box.value);
  showSort();
  view(name);
  choose();
  const item = ITEMS[values.item];
  if (item) openItem(item, null, items);
}

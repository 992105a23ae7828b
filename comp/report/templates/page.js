"use strict";
// Without this script all pictures, charts and tables show; with it they can be filtered and sorted.
document.documentElement.classList.add("js");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const chosen = (controls, name) => { const control = one(`[name=${name}]`, controls); return control ? control.value : ""; };
// Whether the controls' choices are among the values, name by name; no choice fits all.
const fitting = (controls, values) => ["actual", "predicted", "right", "fold"].every(name => {
  const value = chosen(controls, name);
  return value === "" || [values(name)].flat().map(String).includes(value);
});
const compared = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
const made = (tag, text = "", kind = "") => {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  if (tag === "button") element.type = "button";
  return element;
};
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

for (const gallery of all(".gallery")) {
  const controls = one(".controls", gallery), place = one(".pictures", gallery), more = one(".more", gallery);
  const cards = all("figure", place), step = Number(gallery.dataset.shown);
  let shown = step;
  const show = () => {
    const order = chosen(controls, "order");
    const values = ({dataset}) => name => name === "fold" ? dataset.fold : (dataset[name] || "").split(" ");
    const fits = cards.filter(card => fitting(controls, values(card)) && (!order || card.dataset[order] !== undefined));
    if (order) fits.sort((a, b) => Number(a.dataset[order]) - Number(b.dataset[order]));
    cards.forEach(card => { card.hidden = true; });
    fits.forEach((card, number) => { card.hidden = number >= shown; place.append(card); });
    one(".count", gallery).textContent = `${Math.min(shown, fits.length)} of ${counted(fits.length, "picture")}`;
    more.hidden = fits.length <= shown;
  };
  controls.addEventListener("change", event => {
    if (event.target.name === "maps") gallery.classList.toggle("maps", event.target.checked);
    shown = step;
    show();
  });
  more.addEventListener("click", () => { shown += step; show(); });
  show();
}

// Clicking a pair of classes shows its pictures.
document.addEventListener("click", event => {
  const button = event.target.closest("[data-pair]"), gallery = one("#gallery");
  if (!button || !gallery) return;
  const [actual, predicted] = button.dataset.pair.split(" ");
  for (const [name, value] of Object.entries({order: "loss", actual, predicted, right: ""})) {
    const control = one(`[name=${name}]`, gallery);
    if (control) control.value = value;
  }
  one(".controls", gallery).dispatchEvent(new Event("change"));
  gallery.closest("section").scrollIntoView();
  one("[name=actual]", gallery).focus({preventScroll: true});
});

// A click shows a picture large, with its map, predictions and path to copy; arrow keys go to the next one.
const large = made("dialog", "", "large");
large.setAttribute("aria-label", "One picture, large");
const openLarge = card => {
  const cards = all("figure", card.parentNode).filter(other => !other.hidden), at = cards.indexOf(card);
  const parts = made("div"), said = made("div", "", "said"), [picture, map] = all(".view img", card), names = one("[name=actual]", document);
  for (const over of map ? [null, map] : [null]) {
    const view = made("div", "", "view");
    view.append(...[picture, over].filter(Boolean).map(image => image.cloneNode()));
    parts.append(view);
  }
  said.append(...all("figcaption > *", card).map(line => line.cloneNode(true)));
  if (card.dataset.p) {
    const bars = made("ol"), actual = card.dataset.actual.split(" ");
    for (const [index, p] of card.dataset.p.split(" ").map(pair => pair.split(":"))) {
      const row = made("li", "", actual.includes(index) ? "actual" : ""), bar = made("i");
      bar.style.width = `${100 * p}%`;
      row.append(made("span", one(`option[value="${index}"]`, names).textContent), bar, made("span", p));
      bars.append(row);
    }
    said.append(bars);
  }
  if (card.dataset.path) {
    const line = made("p"), copy = made("button", "copy path", "more");
    copy.addEventListener("click", async () => { await navigator.clipboard.writeText(card.dataset.path); copy.textContent = "copied"; });
    line.append(made("code", card.dataset.path), " ", copy);
    said.append(line);
  }
  const pager = made("p", "", "pager");
  for (const [name, to] of [["previous", at - 1], ["next", at + 1], ["close", null]]) {
    const button = made("button", name, "more");
    button.name = name;
    button.disabled = to !== null && !cards[to];
    button.addEventListener("click", () => { if (to === null) large.close(); else openLarge(cards[to]); });
    pager.append(button);
    if (name === "previous") pager.append(made("span", `${at + 1} of ${cards.length}`));
  }
  said.append(pager);
  parts.append(said);
  large.replaceChildren(parts);
  if (!large.open) large.showModal();
};
document.body.append(large);
document.addEventListener("click", event => {
  const view = event.target.closest("button.view");
  if (view) openLarge(view.closest("figure"));
  else if (event.target === large) large.close();
});
document.addEventListener("keydown", event => {
  const name = large.open && {ArrowLeft: "previous", ArrowRight: "next"}[event.key], button = name && one(`[name=${name}]`, large);
  if (button) { event.preventDefault(); button.click(); }
});

const as_sent = new Map(all("[data-part]").map(part => [part, part.innerHTML]));
// Tables: a click on a head sorts by its column; on a phone, cells name their column and minor columns are hidden.
const order = (table, column, down) => {
  const body = table.tBodies[0], value = row => {
    const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim(), number = Number(text.replace(/[,%\s]/g, ""));
    return text !== "" && Number.isFinite(number) ? number : text;
  };
  all("th[aria-sort]", table).forEach(other => other.removeAttribute("aria-sort"));
  all("thead th", table)[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map(row => [value(row), row]);
  rows.sort(([a], [b]) => compared(a, b) * (down ? -1 : 1));
  body.append(...rows.map(([, row]) => row));
};
const labelled = table => all("thead th", table).forEach((head, column) => {
  const label = head.textContent.trim(), less = head.classList.contains("less");
  for (const {cells} of table.tBodies[0].rows) if (cells[column]) {
    cells[column].dataset.label = label;
    if (less) cells[column].classList.add("less");
  }
});
const prepared = table => {
  labelled(table);
  if (table.matches(".sortable")) all("thead th", table).forEach((head, column) => {
    const button = made("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => order(table, column, head.getAttribute("aria-sort") !== "descending"));
  });
};
all("table:not(.matrix table, .rows table)").forEach(prepared);
for (const place of all(".tall")) if (place.scrollHeight > place.clientHeight + 4)
  place.after(made("p", `${counted(one("tbody", place).rows.length, "row")}; the table goes on below its edge.`, "quiet goes-on"));

for (const place of all(".rows")) {
  const data = JSON.parse(one("script[type='application/json']", place).textContent), controls = one(".controls", place);
  const body = one("tbody", place), heads = all("thead th", place), size = 25;
  let page = 0, sorted = data.columns.indexOf("loss"), down = true;
  const names = places => (Array.isArray(places) ? places : [places]).map(number => data.classes[number]).join(", ");
  const cell = (value, kind) => {
    const text = kind === "class" ? names(value) : kind === "right" ? (value ? "yes" : "no") : kind === "number" ? value.toFixed(4) : value;
    return made("td", text, kind === "number" ? "" : "text");
  };
  const at = name => data.columns.indexOf(name);
  const show = () => {
    const text = chosen(controls, "id").toLowerCase();
    const fits = data.rows.filter(row => fitting(controls, name => row[at(name)]) && row[at("id")].toLowerCase().includes(text));
    const key = row => data.kinds[sorted] === "class" ? names(row[sorted]) : row[sorted];
    fits.sort((a, b) => compared(key(a), key(b)) * (down ? -1 : 1));
    const pages = Math.max(1, Math.ceil(fits.length / size));
    page = Math.min(page, pages - 1);
    body.replaceChildren(...fits.slice(page * size, (page + 1) * size).map(row => {
      const line = made("tr");
      line.append(...row.map((value, column) => cell(value, data.kinds[column])));
      return line;
    }));
    heads.forEach((head, column) => { column === sorted ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"); });
    one(".count", place).textContent = counted(fits.length, "row");
    one(".page", place).textContent = `${page + 1} of ${pages}`;
    one("[name=previous]", place).disabled = page === 0;
    one("[name=next]", place).disabled = page === pages - 1;
  };
  heads.forEach((head, column) => one("button", head).addEventListener("click", () => { down = sorted === column ? !down : true; sorted = column; page = 0; show(); }));
  controls.addEventListener("input", () => { page = 0; show(); });
  one("[name=previous]", place).addEventListener("click", () => { page -= 1; show(); });
  one("[name=next]", place).addEventListener("click", () => { page += 1; show(); });
  show();
}

// The board reloads itself, replaces the parts that changed, and keeps sorting, ticks and filters.
const board = one("main[data-refresh]");
if (board) {
  const filter = one("[name=filter]"), parts = all("[data-part]", board);
  const ticked = part => all("[name=run]:checked", part).map(box => box.value);
  const narrow = () => {
    const rows = all("table.runs tbody tr", board), text = filter.value.toLowerCase();
    rows.forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(text); });
    one(".controls .count").textContent = counted(rows.filter(row => !row.hidden).length, "run");
  };
  const enable = () => all("[name=compare]", board).forEach(button => { button.disabled = ticked(button.closest("section")).length < 2; });
  filter.addEventListener("input", narrow);
  board.addEventListener("change", enable);
  board.addEventListener("click", event => {
    const button = event.target.closest("[name=compare]");
    if (button) location.assign(`${button.dataset.url}?${ticked(button.closest("section")).map(run => `run=${encodeURIComponent(run)}`).join("&")}`);
  });
  narrow();
  enable();
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, {cache: "no-store"});
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const other = one(`[data-part="${part.dataset.part}"]`, fresh);
        if (!other || other.innerHTML === as_sent.get(part)) continue;
        const kept = ticked(part), sorted = all("thead th", part).findIndex(head => head.hasAttribute("aria-sort"));
        const down = sorted >= 0 && all("thead th", part)[sorted].getAttribute("aria-sort") === "descending", inside = part.contains(document.activeElement);
        as_sent.set(part, other.innerHTML);
        const focused = inside ? all("a, button, input", part).indexOf(document.activeElement) : -1;
        part.innerHTML = other.innerHTML;
        all("table", part).forEach(prepared);
        all("[name=run]", part).forEach(box => { box.checked = kept.includes(box.value); });
        if (sorted >= 0) order(one("table", part), sorted, down);
        if (focused >= 0) all("a, button, input", part)[focused]?.focus({preventScroll: true});
      }
      narrow();
      enable();
      one(".state").textContent = "";
    } catch {
      one(".state").textContent = "The board does not answer; it shows what it knew last.";
    }
  }, Number(board.dataset.refresh) * 1000);
}

"use strict";
// Without this script all pictures, charts and tables show; with it they can be filtered and ordered.
document.documentElement.classList.add("js");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const chosen = (controls, name) => { const control = one(`[name=${name}]`, controls); return control ? control.value : ""; };
const listed = (text, number) => number === "" || text.split(" ").includes(number);
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

for (const gallery of all(".gallery")) {
  const controls = one(".controls", gallery), place = one(".pictures", gallery), more = one(".more", gallery);
  const cards = all("figure", place), step = Number(gallery.dataset.shown);
  let shown = step;
  const show = () => {
    const order = chosen(controls, "order"), actual = chosen(controls, "actual"), predicted = chosen(controls, "predicted");
    const right = chosen(controls, "right"), fold = chosen(controls, "fold");
    const fits = cards.filter(({dataset}) => listed(dataset.actual || "", actual) && listed(dataset.predicted || "", predicted) &&
      (right === "" || dataset.right === right) && (fold === "" || dataset.fold === fold) && (!order || dataset[order] !== undefined));
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

// A pair of classes leads to its pictures.
for (const button of all("button[data-pair]")) button.addEventListener("click", () => {
  const gallery = one("#" + button.dataset.gallery), [actual, predicted] = button.dataset.pair.split(" ");
  one("[name=order]", gallery).value = "loss";
  one("[name=actual]", gallery).value = actual;
  one("[name=predicted]", gallery).value = predicted;
  one("[name=right]", gallery).value = "";
  one(".controls", gallery).dispatchEvent(new Event("change"));
  gallery.closest("section").scrollIntoView();
  one("[name=actual]", gallery).focus({preventScroll: true});
});

for (const table of all("table.sortable")) {
  const body = table.tBodies[0], value = (row, column) => {
    const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim(), number = Number(text.replace(/[,%\s]/g, ""));
    return text !== "" && Number.isFinite(number) ? number : text;
  };
  all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      all("th[aria-sort]", table).forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map(row => [value(row, column), row]);
      rows.sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true})) * (down ? -1 : 1));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

for (const place of all(".rows")) {
  const data = JSON.parse(one("script[type='application/json']", place).textContent), controls = one(".controls", place);
  const body = one("tbody", place), heads = all("thead th", place), size = 25;
  let page = 0, sorted = data.columns.indexOf("loss"), down = true;
  const names = places => (Array.isArray(places) ? places : [places]).map(number => data.classes[number]).join(", ");
  const cell = (value, kind) => {
    const made = document.createElement("td");
    made.textContent = kind === "class" ? names(value) : kind === "right" ? (value ? "yes" : "no") : kind === "number" ? value.toFixed(4) : value;
    if (kind !== "number") made.className = "text";
    return made;
  };
  const at = name => data.columns.indexOf(name), has = (value, number) => number === "" || (Array.isArray(value) ? value.includes(Number(number)) : value === Number(number));
  const show = () => {
    const actual = chosen(controls, "actual"), predicted = chosen(controls, "predicted"), right = chosen(controls, "right"), fold = chosen(controls, "fold"), text = chosen(controls, "id").toLowerCase();
    const fits = data.rows.filter(row => has(row[at("actual")], actual) && has(row[at("predicted")], predicted) && (right === "" || row[at("right")] === Number(right)) &&
      (fold === "" || String(row[at("fold")]) === fold) && (text === "" || row[at("id")].toLowerCase().includes(text)));
    const key = row => data.kinds[sorted] === "class" ? names(row[sorted]) : row[sorted];
    fits.sort((a, b) => { const [x, y] = [key(a), key(b)]; return (typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true})) * (down ? -1 : 1); });
    const pages = Math.max(1, Math.ceil(fits.length / size));
    page = Math.min(page, pages - 1);
    body.replaceChildren(...fits.slice(page * size, (page + 1) * size).map(row => {
      const made = document.createElement("tr");
      made.append(...row.map((value, column) => cell(value, data.kinds[column])));
      return made;
    }));
    heads.forEach((head, column) => { column === sorted ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"); });
    one(".count", place).textContent = counted(fits.length, "row");
    one(".page", place).textContent = `${page + 1} of ${pages}`;
    one("[name=before]", place).disabled = page === 0;
    one("[name=after]", place).disabled = page === pages - 1;
  };
  heads.forEach((head, column) => one("button", head).addEventListener("click", () => { down = sorted === column ? !down : true; sorted = column; page = 0; show(); }));
  controls.addEventListener("input", () => { page = 0; show(); });
  one("[name=before]", place).addEventListener("click", () => { page -= 1; show(); });
  one("[name=after]", place).addEventListener("click", () => { page += 1; show(); });
  show();
}

// The board asks for itself again, and takes what changed.
const board = one("main[data-refresh]");
if (board) setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of all("[data-part]", board)) {
      const other = one(`[data-part="${part.dataset.part}"]`, fresh);
      if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) part.innerHTML = other.innerHTML;
    }
    one(".state").textContent = "";
  } catch {
    one(".state").textContent = "The board does not answer; it shows what it knew last.";
  }
}, Number(board.dataset.refresh) * 1000);

// The images of a test: a table by error, one landmark or all; the tables and figures of the report beside it.

const imageTable = sortable("list", { key: "mean", down: true }, (rows) => {
  state.shown = rows.map(({ index }) => index);
  showPlace();
});
let rowOf = new Map();

function listColumns() {
  const landmark = state.landmark;
  const found = landmark === null ? null : (image) => errorOf(image.landmarks[landmark]);
  const worst = ({ worst }) => (worst === null ? "\u2013" : numbered(worst, data.landmarks[worst]));
  const columns = [
    { key: "name", label: "image", value: (image) => image.name },
    found && { key: "landmark", label: numbered(landmark, data.landmarks[landmark]), value: found, digits: 2, worst: true },
    { key: "mean", label: `mean error, ${data.unit}`, value: (image) => image.mean, digits: 2, worst: true },
    found ? null : {
      key: "greatest", label: `worst landmark, ${data.unit}`, worst: true,
      value: ({ worst, landmarks }) => (worst === null ? null : errorOf(landmarks[worst])),
      cell: (image) => make(
        "span", {}, make("span", { class: "faint" }, `${worst(image)} `),
        image.worst === null ? "" : text(errorOf(image.landmarks[image.worst]), 2),
      ),
    },
    { key: "within", label: `${data.within}, %`, value: (image) => image.within, digits: 0 },
    { key: "expected", label: `expected, ${data.length}`, value: expectedOf, digits: 2, worst: true },
  ];
  const known = (column) => column && (column.key === "name" || images.some((image) => column.value(image) !== null));
  return columns.filter(known);
}

const expectedOf = ({ landmarks }) => {
  const expected = (landmark) => landmark[`error_${data.length}`];
  return state.landmark === null ? meanOf(landmarks.map(expected)) : expected(landmarks[state.landmark]);
};

function arrange() {
  const rows = imageTable.fill(listColumns(), named().map((index) => {
    const button = make("button", { type: "button", title: images[index].name }, images[index].name);
    button.addEventListener("click", () => show(index));
    return [images[index], index, {}, button];
  }));
  rowOf = new Map(rows.map(({ index, element }) => [index, element]));
  for (const { index, element } of rows) element.addEventListener("click", () => index !== state.current && show(index));
  markCurrent(state.current, true);
  refill();
}

// Colours what lies beyond the limit: the mean error, and the chosen landmark's.
function refill() {
  for (const [index, row] of rowOf) {
    const image = images[index];
    const values = { mean: image.mean };
    if (state.landmark !== null) values.landmark = errorOf(image.landmarks[state.landmark]);
    for (const [key, value] of Object.entries(values)) {
      row.querySelector(`.${key}`)?.classList.toggle("beyond", isBeyond(value));
    }
  }
}

function markCurrent(index, current) {
  const row = rowOf.get(index);
  if (!row) return;
  row.classList.toggle("active", current);
  row.querySelector("button").toggleAttribute("aria-current", current);
  if (current) row.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function gridOf({ title, above, long_headings: headings, sections, notes }) {
  const lines = (texts) => texts.map((line) => make("p", { class: "small" }, line));
  const row = (cells) => make("tr", {}, ...cells.map((cell, column) => (
    column ? make("td", {}, cell) : make("th", { scope: "row" }, cell)
  )));
  const head = make("tr", {}, ...headings.map((heading) => make("th", { scope: "col" }, heading)));
  const bodies = sections.map((rows) => make("tbody", {}, ...rows.map(row)));
  const table = make("table", { class: "grid" }, make("thead", {}, head), ...bodies);
  return [make("h2", {}, title), ...lines(above), make("div", { class: "scroll" }, table), ...lines(notes)];
}

function startTables() {
  const figures = data.figures.map(([caption, png]) => make(
    "figure", {}, make("img", { alt: caption, src: `data:image/png;base64,${png}` }), make("figcaption", {}, caption),
  ));
  const tables = make("section", { id: "tables" }, ...data.grids.flatMap(gridOf), ...figures);
  tables.hidden = true;
  const main = document.querySelector("main");
  main.after(tables);
  const tabs = [["Images", main], ["Tables and figures", tables]].map(([name, part]) => {
    const button = make("button", { type: "button", "aria-pressed": part === main }, name);
    button.addEventListener("click", () => {
      for (const [other, shown] of [[tabs[0], main], [tabs[1], tables]]) {
        shown.hidden = other !== button;
        other.setAttribute("aria-pressed", other === button);
      }
    });
    return button;
  });
  document.querySelector("h1").after(make("nav", { "aria-label": "Parts" }, ...tabs));
}

function startList() {
  const select = byId("landmark");
  data.landmarks.forEach((name, index) => {
    const mean = meanOf(images.map(({ landmarks }) => errorOf(landmarks[index])));
    select.append(make("option", { value: index }, `${numbered(index, name)}: ${text(mean, 2)} ${data.unit}`));
  });
  select.addEventListener("change", () => {
    state.landmark = select.value === "" ? null : Number(select.value);
    imageTable.sortBy(state.landmark === null ? "mean" : "landmark", true);
    arrange();
    show(state.shown[0] ?? state.current);
  });
  const people = data.annotators.map((name, person) => make("span", { class: `person${person % 4}` }, `\u25cb ${name}`));
  byId("key").append(make("span", { class: "found" }, "\u00d7 prediction"), ...people);
  byId("truth-label").hidden = !data.annotators.length;
  startTables();
  arrange();
}

// Tables that sort: columns are {key, label, value(item, index), digits} and, where text is shown, cell(item, index).

function sortable(id, sort, sortedRows = () => {}) {
  const table = byId(id);
  let columns = [];
  let rows = [];

  function arrange() {
    const column = columns.find(({ key }) => key === sort.key) ?? columns[0];
    for (const cell of table.tHead.querySelectorAll("th")) {
      if (cell.dataset.key !== column.key) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    }
    const ordered = sorted(rows, ({ item, index }) => column.value(item, index), sort.down);
    table.tBodies[0].append(...ordered.map(({ element }) => element));
    sortedRows(ordered);
  }

  function fillHead() {
    const signature = columns.map(({ label }) => label).join();
    if (table.tHead.dataset.signature === signature) return; // kept, and with it the focus
    table.tHead.dataset.signature = signature;
    const cells = columns.map(({ key, label, worst }) => {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", () => {
        Object.assign(sort, { key, down: sort.key === key ? !sort.down : Boolean(worst) });
        arrange();
      });
      return make("th", { scope: "col", class: key, "data-key": key }, button);
    });
    table.tHead.replaceChildren(make("tr", {}, ...cells));
  }

  // Rows are [item, index, attributes, button]: the button stands in the column "name".
  function fill(newColumns, newRows) {
    columns = newColumns;
    fillHead();
    rows = newRows.map(([item, index, attributes, button]) => {
      const cells = columns.map(({ key, value, digits, cell }) => {
        if (key === "name") return make("th", { scope: "row", class: key }, button);
        return make("td", { class: key }, cell ? cell(item, index) : text(value(item, index), digits));
      });
      return { item, index, element: make("tr", attributes, ...cells) };
    });
    table.tBodies[0].replaceChildren();
    arrange();
    return rows;
  }

  const sortBy = (key, down) => Object.assign(sort, { key, down });
  return { fill, sortBy };
}

// ---- the landmarks of an image, and what is known of it ----

const landmarkTable = sortable("table", { key: "number", down: false });

function columnsOf(image) {
  const unit = unitOf(image);
  const people = (data.annotators ?? []).map((name, person) => (
    { key: `to${person}`, label: `to ${name}, ${data.unit}`, value: ({ to }) => to[person], digits: 2 }
  ));
  const columns = [
    { key: "number", label: "#", value: (_, index) => index + 1, digits: 0 },
    { key: "name", label: "landmark", value: (landmark) => landmark.name },
    { key: "found", label: `error, ${data.unit}`, value: ({ found }) => found ?? null, digits: 2, worst: true },
    ...(people.length > 1 ? people : []),
    {
      key: "far", label: "far off, %", digits: 0, worst: true,
      value: ({ far = null, x }) => (far === null || x === null ? null : 100 * far),
    },
    { key: "error", label: `expected error, ${unit}`, value: (landmark) => landmark[`error_${unit}`], digits: 2 },
    { key: "area", label: `region, ${unit}\u00b2`, value: (landmark) => landmark[`area_${unit}2`], digits: 1 },
    { key: "x", label: "x, px", value: (landmark) => landmark.x, digits: 1 },
    { key: "y", label: "y, px", value: (landmark) => landmark.y, digits: 1 },
    { key: "x_mm", label: "x, mm", value: (landmark) => landmark.x_mm, digits: 2 },
    { key: "y_mm", label: "y, mm", value: (landmark) => landmark.y_mm, digits: 2 },
  ];
  const always = ["number", "name", "x", "y"];
  const places = ["x", "y", "x_mm", "y_mm"]; // beside errors there is no room for them: the tooltip has them
  const known = ({ value }) => image.landmarks.some((landmark) => value(landmark) !== null);
  return columns.filter(({ key }) => data.kind === "detections" || !places.includes(key))
    .filter((column) => always.includes(column.key) || known(column));
}

function badgesOf({ mark = "", doubtful, outside = null }) {
  if (!mark) return [];
  const title = doubtful ? "may be far off: look at this point" : `with ${percent(outside)}`;
  return [" ", make("span", { class: doubtful ? "badge wide" : "badge absent", title }, mark)];
}

function fillLandmarks(image) {
  const focused = document.activeElement.closest?.("#table tr[data-landmark]")?.dataset.landmark;
  const rows = landmarkTable.fill(columnsOf(image), image.landmarks.map((landmark, index) => {
    const button = make("button", { type: "button" }, landmark.name, ...badgesOf(landmark));
    button.addEventListener("click", () => {
      bringIntoView(landmark);
      choose(index);
    });
    button.addEventListener("focus", () => setActive(index));
    button.addEventListener("blur", () => setActive(state.chosen));
    return [landmark, index, { "data-landmark": index }, button];
  }));
  for (const { element, index } of rows) {
    element.addEventListener("pointerenter", () => setActive(index));
    element.addEventListener("pointerleave", () => setActive(state.chosen));
  }
  markWide();
  byId("table").querySelector(`tr[data-landmark="${focused}"] button`)?.focus();
}

function spacingText({ spacing, spacing_source }) {
  if (!spacing) return "not known";
  const [across, down] = spacing;
  return `${across === down ? across : `${across} \u00d7 ${down}`} mm per px, from ${spacing_source}`;
}

function fillAbout(image) {
  const [width, height] = image.size;
  const facts = [["Size", `${width} \u00d7 ${height} px`], ["Spacing", spacingText(image)]];
  if (data.kind === "detections") facts.unshift(["File", image.path]);
  if (image.score !== null) {
    facts.push(["Image score", `p = ${image.score.toPrecision(2)}; small is unlike the training images`]);
  }
  if (image.orientation) facts.push(["Orientation of the file", image.orientation]);
  if (image.level !== null) facts.push(["Region", `holds the true point in ${percent(image.level)} of cases`]);
  if (data.expected) facts.push(["Expected error", data.expected]);
  facts.push(["Coordinates", "pixels of the file, the first pixel's centre at (0, 0)"]);
  if (image.picture === "reduced") {
    facts.push(["Picture", "reduced, to keep this page small; points keep the file's precision"]);
  }
  byId("about").replaceChildren(...facts.flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, fact)]));
  byId("notes").replaceChildren(...image.notes.map((note) => make("li", {}, note)));
}

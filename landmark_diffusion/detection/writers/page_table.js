// The table of landmarks, and what is known of the image.

function columnsOf(image) {
  const unit = unitOf(image);
  const columns = [
    { key: "number", label: "#", value: (_, index) => index + 1, digits: 0 },
    { key: "name", label: "landmark", value: (landmark) => landmark.name },
    { key: "x", label: "x, px", value: (landmark) => landmark.x, digits: 1 },
    { key: "y", label: "y, px", value: (landmark) => landmark.y, digits: 1 },
    { key: "x_mm", label: "x, mm", value: (landmark) => landmark.x_mm, digits: 2 },
    { key: "y_mm", label: "y, mm", value: (landmark) => landmark.y_mm, digits: 2 },
    { key: "error", label: `expected error, ${unit}`, value: (landmark) => landmark[`error_${unit}`], digits: 2 },
    { key: "area", label: `region, ${unit}\u00b2`, value: (landmark) => landmark[`area_${unit}2`], digits: 1 },
  ];
  const always = ["number", "name", "x", "y"];
  const known = ({ value }) => image.landmarks.some((landmark) => value(landmark) !== null);
  return columns.filter((column) => always.includes(column.key) || known(column));
}

function fillTable(image) {
  const columns = columnsOf(image);
  const focused = document.activeElement.closest?.("tr[data-landmark]")?.dataset.landmark;
  fillHead(columns);
  const rows = image.landmarks.map((landmark, index) => {
    const cells = columns.map(({ key, value, digits }) => {
      if (key !== "name") return make("td", { class: key }, text(value(landmark, index), digits));
      const button = make("button", { type: "button" }, landmark.name);
      button.addEventListener("click", () => {
        bringIntoView(landmark);
        choose(index);
      });
      button.addEventListener("focus", () => setActive(index));
      button.addEventListener("blur", () => setActive(state.chosen));
      return make("th", { scope: "row" }, button);
    });
    const row = make("tr", { "data-landmark": index }, ...cells);
    row.addEventListener("pointerenter", () => setActive(index));
    row.addEventListener("pointerleave", () => setActive(state.chosen));
    return row;
  });
  byId("table").tBodies[0].replaceChildren(...rows);
  sortTable(columns);
  markWide();
  byId("table").querySelector(`tr[data-landmark="${focused}"] button`)?.focus();
}

function fillHead(columns) {
  const head = byId("table").tHead;
  const signature = columns.map(({ label }) => label).join();
  if (head.dataset.signature === signature) return; // kept, and with it the focus
  head.dataset.signature = signature;
  const cells = columns.map(({ key, label }) => {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      state.sort = { key, down: state.sort.key === key && !state.sort.down };
      sortTable(columns);
    });
    return make("th", { scope: "col", class: key, "data-key": key }, button);
  });
  head.replaceChildren(make("tr", {}, ...cells));
}

function sortTable(columns) {
  const column = columns.find(({ key }) => key === state.sort.key) ?? columns[0];
  for (const cell of byId("table").tHead.querySelectorAll("th")) {
    if (cell.dataset.key !== column.key) cell.removeAttribute("aria-sort");
    else cell.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
  }
  const body = byId("table").tBodies[0];
  const landmarks = images[state.current].landmarks;
  const value = (row) => column.value(landmarks[row.dataset.landmark], Number(row.dataset.landmark));
  body.append(...sorted([...body.rows], value, state.sort.down));
}

function spacingText({ spacing, spacing_source }) {
  if (!spacing) return "not known";
  const [across, down] = spacing;
  return `${across === down ? across : `${across} \u00d7 ${down}`} mm per px, from ${spacing_source}`;
}

function fillAbout(image) {
  const [width, height] = image.size;
  const facts = [["File", image.path], ["Size", `${width} \u00d7 ${height} px`], ["Spacing", spacingText(image)]];
  if (image.score !== null) {
    facts.push(["Image score", `p = ${image.score.toPrecision(2)}; small is unlike the training images`]);
  }
  if (image.level !== null) facts.push(["Region", `holds the true point in ${percent(image.level)} of cases`]);
  facts.push(["Coordinates", "pixels of the file, the first pixel's centre at (0, 0)"]);
  if (image.thumbnail) facts.push(["Picture", "reduced for this page; points keep the file's precision"]);
  byId("about").replaceChildren(...facts.flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, fact)]));
  byId("notes").replaceChildren(...image.notes.map((note) => make("li", {}, note)));
}

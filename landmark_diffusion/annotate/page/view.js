// What is seen: a canvas with the image, and an svg over it whose user units are image pixels, centres at integers.
const view = byId("view");
const layers = ["regions", "others", "ghost", "marks"].map((name) => draw("g", { class: name }));
const [regionsLayer, othersLayer, ghostLayer, marksLayer] = layers;
view.append(...layers);
const MOST_ZOOM = 24; // screen px per image px

function stageSize() {
  const { width, height } = byId("stage").getBoundingClientRect(); // with parts of a pixel, which clientWidth rounds
  return [width, height];
}

const toScreen = ([x, y]) => {
  const [across, down] = stageSize();
  return [(x - state.centre[0]) * state.scale + across / 2, (y - state.centre[1]) * state.scale + down / 2];
};

const toImage = (left, top) => {
  const [across, down] = stageSize();
  return [(left - across / 2) / state.scale + state.centre[0], (top - down / 2) / state.scale + state.centre[1]];
};

// Where an event of the mouse is, in screen px of the stage.
const placeOf = (event) => {
  const box = byId("stage").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

function fitView() {
  if (!state.image) return;
  const [width, height] = state.image.size;
  const [across, down] = stageSize();
  state.fit = Math.min(across / width, down / height);
  Object.assign(state, { scale: state.fit, centre: [width / 2 - 0.5, height / 2 - 0.5] });
  drawView();
}

// Zooms so that the image pixel under (left, top) stays there.
function zoom(factor, left = stageSize()[0] / 2, top = stageSize()[1] / 2) {
  if (!state.image) return;
  const before = toImage(left, top);
  const most = Math.max(MOST_ZOOM, 8 * state.fit);
  state.scale = clamp(state.scale * factor, state.fit, most);
  const after = toImage(left, top);
  state.centre = state.centre.map((value, axis) => value + before[axis] - after[axis]);
  drawView();
}

function pan(right, down) {
  state.centre = [state.centre[0] - right / state.scale, state.centre[1] - down / state.scale];
  drawView();
}

function zoomTo(index) {
  const point = pointOf(index) ?? expected(index);
  if (!point) return;
  state.centre = [...point];
  state.scale = clamp(Math.max(state.scale, 4 * state.fit), state.fit, MOST_ZOOM);
  drawView();
}

// Moves the image where the point is near the edge or beyond it.
function bringIntoView(point) {
  if (!point) return;
  const [across, down] = stageSize();
  const [left, top] = toScreen(point);
  const edge = 24;
  if (left >= edge && top >= edge && left <= across - edge && top <= down - edge) return;
  state.centre = [...point];
  drawView();
}

function drawView() {
  if (!state.image) return;
  const [width, height] = state.image.size;
  const [across, down] = stageSize();
  const { scale, centre } = state;
  centre[0] = clamp(centre[0], -0.5, width - 0.5);
  centre[1] = clamp(centre[1], -0.5, height - 0.5);
  drawFilm(byId("film"), across, down, scale, centre);
  view.setAttribute("viewBox", [
    centre[0] - across / 2 / scale, centre[1] - down / 2 / scale, across / scale, down / scale,
  ].join(" "));
  for (const glyph of view.querySelectorAll(".glyph")) glyph.setAttribute("transform", `scale(${1 / scale})`);
  drawNames();
  drawLoupe();
  byId("zoom").textContent = `${fixed(scale / state.fit)} \u00d7`;
}

// Draws the image into a canvas of so many css px, at its device's own pixels.
function drawFilm(canvas, across, down, scale, centre) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.max(1, Math.round(across * ratio)), Math.max(1, Math.round(down * ratio))];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  const [right, below] = [wide / across, high / down]; // device px per css px, exactly
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, wide, high);
  context.setTransform(
    scale * right, 0, 0, scale * below,
    ((-0.5 - centre[0]) * scale + across / 2) * right, ((-0.5 - centre[1]) * scale + down / 2) * below,
  );
  context.imageSmoothingEnabled = scale * ratio < 4;
  context.imageSmoothingQuality = "high";
  if (film.width) context.drawImage(film.canvas, 0, 0);
}

const SHAPES = {
  set: "M-10 0H-3M3 0H10M0-10V-3M0 3V10", found: "M-2.5 0H2.5M0-2.5V2.5", other: "", ghost: "",
};
const RINGS = { set: 0, found: 7, other: 4, ghost: 11 };

function glyph(kind, point, classes, label = "") {
  const parts = [];
  for (const style of ["edge", "line"]) if (SHAPES[kind]) parts.push(draw("path", { class: style, d: SHAPES[kind] }));
  if (RINGS[kind]) {
    parts.push(draw("circle", { class: "edge", r: RINGS[kind] }), draw("circle", { class: "ring", r: RINGS[kind] }));
  }
  parts.push(draw("path", { class: "leader" }), draw("text", {}, label));
  const inner = draw("g", { class: "glyph", transform: `scale(${1 / state.scale})` }, ...parts);
  return draw("g", { class: `mark ${kind} ${classes}`, transform: `translate(${point[0]} ${point[1]})` }, inner);
}

function drawMarks() {
  if (!state.image) return;
  marksLayer.replaceChildren();
  regionsLayer.replaceChildren();
  othersLayer.replaceChildren();
  ghostLayer.replaceChildren();
  const order = names().map((_, index) => index).filter((index) => index !== state.chosen);
  for (const index of [...order, state.chosen]) { // the chosen one lies on top
    drawRegion(index);
    const point = pointOf(index);
    if (!point) continue;
    const mark = state.marks[index];
    const classes = [index === state.chosen && "chosen", isUnsure(mark) && "doubt", !mark && found()?.doubtful[index] && "doubt"];
    const label = `${index + 1}${isUnsure(mark) ? "?" : ""}`;
    const drawn = glyph(mark ? "set" : "found", point, classes.filter(Boolean).join(" "), label);
    drawn.dataset.landmark = index;
    marksLayer.append(drawn);
  }
  drawOthers();
  drawGhost();
  drawView();
}

function drawRegion(index) {
  const ellipse = found()?.ellipses?.[index];
  const point = foundPoint(index);
  const shown = index === state.chosen || (byId("show-regions").checked && !isDone(index));
  if (!ellipse || !point || !shown || !byId("show-regions").checked) return;
  const [longer, shorter, angle] = ellipse;
  const classes = [index === state.chosen && "chosen", found().doubtful[index] && "doubt"].filter(Boolean).join(" ");
  regionsLayer.append(draw("ellipse", {
    class: classes, rx: longer, ry: shorter, transform: `translate(${point[0]} ${point[1]}) rotate(${angle})`,
  }));
}

function drawOthers() {
  const others = state.image.others ?? [];
  byId("others-label").hidden = !others.length;
  if (!byId("show-others").checked) return;
  for (const { annotator, marks } of others) {
    marks.forEach((mark, index) => {
      if (!mark || isAbsent(mark)) return;
      const drawn = glyph("other", [mark.x, mark.y], "", index === state.chosen ? annotator : "");
      drawn.dataset.other = index;
      if (index === state.chosen) drawn.querySelector("text").setAttribute("y", 16);
      othersLayer.append(drawn);
    });
  }
}

// A faint ring where the chosen landmark is to be expected, as long as nobody has said where it is.
function drawGhost() {
  if (state.about.blind || isDone(state.chosen) || foundPoint(state.chosen)) return;
  const point = expected(state.chosen);
  if (point) ghostLayer.append(glyph("ghost", point, ""));
}

// Numbers, or names where these are asked for, that avoid each other and the marks.
function drawNames() {
  const long = byId("show-names").checked;
  const [across, down] = stageSize();
  const drawn = [...marksLayer.children];
  const anchors = drawn.map((mark) => {
    const place = pointOf(Number(mark.dataset.landmark));
    if (!place) return null; // drawn of the image before, which is about to be exchanged
    const point = toScreen(place);
    return point[0] > -40 && point[1] > -40 && point[0] < across + 40 && point[1] < down + 40 ? point : null;
  });
  const texts = drawn.map((mark) => {
    const index = Number(mark.dataset.landmark);
    const name = long || index === state.chosen ? numbered(index) : `${index + 1}`;
    return name + (isUnsure(state.marks[index]) ? " ?" : "");
  });
  const obstacles = anchors.filter((point) => point !== null);
  placeLabels(anchors, texts.map(labelWidth), [across, down], obstacles).forEach((label, place) => {
    if (label === null) return;
    const text = drawn[place].querySelector("text");
    text.textContent = texts[place];
    const [x, y] = label.centre.map((value, axis) => value - anchors[place][axis]);
    filled(text, { x, y }, []);
    const length = Math.hypot(x, y);
    const end = Math.max(6 / length, 1 - label.half[1] / length);
    const leader = label.far ? `M${x * 6 / length} ${y * 6 / length}L${x * end} ${y * end}` : "";
    drawn[place].querySelector(".leader").setAttribute("d", leader);
  });
}

new ResizeObserver(() => {
  if (!state.image) return;
  const whole = Math.abs(state.scale - state.fit) < 1e-9;
  const [width, height] = state.image.size;
  const [across, down] = stageSize();
  if (!across || !down) return;
  state.fit = Math.min(across / width, down / height);
  if (whole || state.scale < state.fit) fitView();
  else drawView();
}).observe(byId("stage"));

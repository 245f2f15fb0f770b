// The viewer: the svg's user units are image pixels, centres at integers.

const view = byId("view");
const ground = draw("rect", { class: "ground", x: -0.5, y: -0.5 });
const film = draw("image", { x: -0.5, y: -0.5, preserveAspectRatio: "none" });
const regions = draw("g", { class: "regions" });
const truth = draw("g", { class: "truth" });
const marks = draw("g", { class: "marks" });
view.append(lightFilter, ground, film, regions, truth, marks);

function show(index) {
  const image = images[index];
  const [width, height] = image.size;
  const near = state.landmark === null ? 1 : state.scale / state.fit;
  markCurrent(state.current, false);
  Object.assign(state, { current: index, active: null, chosen: null });
  markCurrent(index, true);
  for (const element of [ground, film]) {
    element.setAttribute("width", width);
    element.setAttribute("height", height);
  }
  byId("image-name").textContent = image.name;
  view.setAttribute("aria-label", `Radiograph with ${image.landmarks.length} landmarks, which the table lists`);
  byId("unlike").hidden = !image.unlike;
  byId("unlike").textContent = `U${image.unlike_words.slice(1)}: do not use these points`;
  showPlace();
  drawLandmarks(image);
  fillLandmarks(image);
  fillAbout(image);
  fitView();
  if (state.landmark !== null) stayAtLandmark(image.landmarks[state.landmark], near);
  loadPicture(index);
}

// From image to image the chosen landmark is looked at, as near as before.
function stayAtLandmark({ x, y }, near) {
  choose(state.landmark);
  if (near <= 1 || x === null || y === null) return;
  Object.assign(state, { centre: [x, y], scale: near * state.fit });
  drawView();
}

// The thumbnail stands in until the picture, which is decoded only now, is there.
async function loadPicture(index) {
  const stage = byId("stage");
  const small = stored("thumbnail", index);
  const none = images[index].picture === "none";
  stage.dataset.picture = none ? "none" : "thumbnail";
  film.setAttribute("href", small ? jpeg(small) : "");
  if (none) return;
  if (document.readyState === "loading") {
    await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
  }
  const picture = new Image();
  picture.src = jpeg(stored("picture", index));
  await picture.decode();
  if (state.current !== index) return;
  film.setAttribute("href", light.local ? localContrast(picture) : picture.src);
  stage.dataset.picture = "full";
}

function drawLandmarks(image) {
  regions.replaceChildren();
  truth.replaceChildren();
  marks.replaceChildren();
  image.landmarks.forEach((landmark, index) => {
    const { x, y, longer, shorter, angle } = landmark;
    drawTruth(landmark, index);
    if (x === null || y === null) return;
    if (longer !== null) {
      const turn = `translate(${x} ${y}) rotate(${angle})`;
      regions.append(draw("ellipse", { "data-landmark": index, rx: longer, ry: shorter, transform: turn }));
    }
    const cross = landmark.doubtful ? "M0-7L7 0L0 7L-7 0Z" : "M-5-5L5 5M-5 5L5-5";
    const glyph = draw(
      "g", { class: "glyph" }, draw("circle", { class: "hit", r: 11 }), draw("path", { class: "edge", d: cross }),
      draw("path", { class: "cross", d: cross }), draw("path", { class: "leader" }), draw("text", {}, String(index + 1)),
    );
    const mark = draw("g", { class: "mark", "data-landmark": index, transform: `translate(${x} ${y})` }, glyph);
    mark.addEventListener("pointerenter", () => setActive(index));
    mark.addEventListener("pointerleave", () => setActive(state.chosen));
    mark.addEventListener("click", () => choose(index));
    marks.append(mark);
  });
  markWide();
}

// A ring for each annotator, and a line from their mean to the prediction.
function drawTruth({ x, y, mean = null, people = [] }, index) {
  if (mean !== null && x !== null && y !== null) {
    const ends = { x1: x, y1: y, x2: mean[0], y2: mean[1] };
    for (const kind of ["edge", "error"]) truth.append(draw("line", { class: kind, "data-landmark": index, ...ends }));
  }
  people.forEach((point, person) => {
    if (point === null) return;
    const rings = ["edge", `ring person${person % 4}`].map((kind) => draw("circle", { class: kind, r: 4.5 }));
    truth.append(draw("g", { transform: `translate(${point[0]} ${point[1]})` }, draw("g", { class: "glyph" }, ...rings)));
  });
}

function markWide() {
  images[state.current].landmarks.forEach((landmark, index) => {
    const wide = isWide(landmark);
    for (const element of parts(index)) {
      element.classList.toggle("wide", wide);
      element.classList.toggle("doubtful", Boolean(landmark.doubtful));
    }
  });
}

const parts = (index) => document.querySelectorAll(`[data-landmark="${index}"]`);

function setActive(index) {
  if (state.active !== null) for (const element of parts(state.active)) element.classList.remove("active");
  state.active = index;
  if (index !== null) for (const element of parts(index)) element.classList.add("active");
  placeTip();
}

function choose(index) {
  state.chosen = state.chosen === index ? null : index;
  setActive(state.chosen);
}

function stageSize() {
  const { width, height } = byId("stage").getBoundingClientRect(); // with parts of a pixel, which clientWidth rounds
  return [width, height];
}

function fitView() {
  const [width, height] = images[state.current].size;
  const [across, down] = stageSize();
  state.fit = Math.min(across / width, down / height);
  state.scale = state.fit;
  state.centre = [width / 2 - 0.5, height / 2 - 0.5];
  drawView();
}

function drawView() {
  const [width, height] = images[state.current].size;
  const [across, down] = stageSize();
  const { scale, centre } = state;
  centre[0] = Math.min(Math.max(centre[0], -0.5), width - 0.5);
  centre[1] = Math.min(Math.max(centre[1], -0.5), height - 0.5);
  view.setAttribute("viewBox", [
    centre[0] - across / 2 / scale, centre[1] - down / 2 / scale, across / scale, down / scale,
  ].join(" "));
  for (const glyph of view.querySelectorAll(".glyph")) glyph.setAttribute("transform", `scale(${1 / scale})`);
  drawLabels();
  byId("zoom").textContent = `${(scale / state.fit).toFixed(1)} \u00d7`;
  view.style.touchAction = scale > state.fit ? "none" : "pan-y";
  placeTip();
}

// Zooms so that the image pixel under (left, top), screen px within the stage, stays there.
function zoom(factor, left = stageSize()[0] / 2, top = stageSize()[1] / 2) {
  const [across, down] = stageSize();
  const from = [left - across / 2, top - down / 2];
  const scale = Math.min(Math.max(state.scale * factor, state.fit), Math.max(MOST_ZOOM, 8 * state.fit));
  state.centre = state.centre.map((value, axis) => value + from[axis] / state.scale - from[axis] / scale);
  state.scale = scale;
  drawView();
}

function pan(right, down) {
  state.centre = [state.centre[0] - right / state.scale, state.centre[1] - down / state.scale];
  drawView();
}

function bringIntoView({ x, y }) {
  if (x === null || y === null) return;
  const [across, down] = stageSize();
  const away = [Math.abs(x - state.centre[0]) / across, Math.abs(y - state.centre[1]) / down];
  if (Math.max(...away) * state.scale < 0.5) return;
  state.centre = [x, y];
  drawView();
}

function tipText(image, landmark) {
  const unit = unitOf(image);
  const lines = landmark.doubtful ? ["doubtful: look at this point"] : [];
  lines.push(`x ${text(landmark.x, 1)}, y ${text(landmark.y, 1)} px`);
  if (unit === "mm") lines.push(`x ${text(landmark.x_mm, 2)}, y ${text(landmark.y_mm, 2)} mm`);
  if ((landmark.found ?? null) !== null) lines.push(`error ${text(landmark.found, 2)} ${data.unit}`);
  if (landmark.error_px !== null) lines.push(`expected error ${text(landmark[`error_${unit}`], 2)} ${unit}`);
  if (landmark.longer !== null) {
    const share = image.level === null ? "" : `${percent(image.level)} `;
    lines.push(`${share}region ${text(landmark[`area_${unit}2`], 1)} ${unit}\u00b2`);
  }
  const chances = [["far", "far off (over 5 % of the width)"], ["outside", "not in the image"]];
  for (const [key, words] of chances) {
    if ((landmark[key] ?? null) !== null) lines.push(`${words}: ${percent(landmark[key])}`);
  }
  return lines.join("\n");
}

function placeTip() {
  const tip = byId("tip");
  const image = images[state.current];
  const landmark = state.active === null ? null : image.landmarks[state.active];
  tip.hidden = landmark === null || landmark.x === null || landmark.y === null;
  if (tip.hidden) return;
  const [across, down] = stageSize();
  const left = (landmark.x - state.centre[0]) * state.scale + across / 2;
  const top = (landmark.y - state.centre[1]) * state.scale + down / 2;
  tip.hidden = left < 0 || top < 0 || left > across || top > down;
  if (tip.hidden) return;
  tip.replaceChildren(make("b", {}, `${state.active + 1} ${landmark.name}`), tipText(image, landmark));
  const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
  const pinned = state.active === state.chosen; // it stays, so it goes where it hides nothing near the point
  const [x, y] = pinned
    ? [left > across / 2 ? 8 : across - wide - 8, top > down / 2 ? 8 : down - high - 8]
    : [left + 16 + wide > across ? left - 16 - wide : left + 16, top + 16 + high > down ? top - 16 - high : top + 16];
  tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
}

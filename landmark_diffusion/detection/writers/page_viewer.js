// The viewer: the svg's user units are image pixels, centres at integers.

const view = byId("view");
const ground = draw("rect", { class: "ground", x: -0.5, y: -0.5 });
const film = draw("image", { x: -0.5, y: -0.5, preserveAspectRatio: "none" });
const regions = draw("g", { class: "regions" });
const marks = draw("g", { class: "marks" });
view.append(ground, film, regions, marks);

function show(index) {
  const image = images[index];
  const [width, height] = image.size;
  cards[state.current].button.removeAttribute("aria-current");
  Object.assign(state, { current: index, active: null, chosen: null });
  cards[index].button.setAttribute("aria-current", "true");
  cards[index].item.scrollIntoView({ block: "nearest", inline: "nearest" });
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
  fillTable(image);
  fillAbout(image);
  fitView();
  loadPicture(index);
}

// The thumbnail stands in until the picture, which is decoded only now, is there.
async function loadPicture(index) {
  const stage = byId("stage");
  stage.dataset.picture = images[index].thumbnail ? "thumbnail" : "none";
  film.setAttribute("href", images[index].thumbnail ? jpeg(images[index].thumbnail) : "");
  if (!images[index].thumbnail) return;
  if (document.readyState === "loading") {
    await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
  }
  const picture = new Image();
  picture.src = jpeg(byId(`picture-${index}`).textContent);
  await picture.decode();
  if (state.current !== index) return;
  film.setAttribute("href", picture.src);
  stage.dataset.picture = "full";
}

function drawLandmarks(image) {
  regions.replaceChildren();
  marks.replaceChildren();
  image.landmarks.forEach((landmark, index) => {
    const { x, y, longer, shorter, angle } = landmark;
    if (x === null || y === null) return;
    if (longer !== null) {
      const turn = `translate(${x} ${y}) rotate(${angle})`;
      regions.append(draw("ellipse", { "data-landmark": index, rx: longer, ry: shorter, transform: turn }));
    }
    const cross = "M-5-5L5 5M-5 5L5-5";
    const glyph = draw(
      "g", { class: "glyph" }, draw("circle", { class: "hit", r: 11 }), draw("path", { class: "edge", d: cross }),
      draw("path", { class: "cross", d: cross }), draw("text", { x: 7, y: -5 }, String(index + 1)),
    );
    const mark = draw("g", { class: "mark", "data-landmark": index, transform: `translate(${x} ${y})` }, glyph);
    mark.addEventListener("pointerenter", () => setActive(index));
    mark.addEventListener("pointerleave", () => setActive(state.chosen));
    mark.addEventListener("click", () => choose(index));
    marks.append(mark);
  });
  markWide();
}

function markWide() {
  images[state.current].landmarks.forEach((landmark, index) => {
    const wide = isWide(landmark);
    for (const element of parts(index)) element.classList.toggle("wide", wide);
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
  for (const glyph of marks.querySelectorAll(".glyph")) glyph.setAttribute("transform", `scale(${1 / scale})`);
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
  const lines = [`x ${text(landmark.x, 1)}, y ${text(landmark.y, 1)} px`];
  if (unit === "mm") lines.push(`x ${text(landmark.x_mm, 2)}, y ${text(landmark.y_mm, 2)} mm`);
  if (landmark.error_px !== null) lines.push(`expected error ${text(landmark[`error_${unit}`], 2)} ${unit}`);
  if (landmark.longer !== null) {
    const share = image.level === null ? "" : `${percent(image.level)} `;
    lines.push(`${share}region ${text(landmark[`area_${unit}2`], 1)} ${unit}\u00b2`);
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
  const x = left + 16 + tip.offsetWidth > across ? left - 16 - tip.offsetWidth : left + 16;
  const y = top + 16 + tip.offsetHeight > down ? top - 16 - tip.offsetHeight : top + 16;
  tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
}

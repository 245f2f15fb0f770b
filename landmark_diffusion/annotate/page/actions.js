// What the annotator does; and the start.
const stage = byId("stage");
const NEAR = 10; // screen px within which a point is meant

function hit(left, top) {
  let best = null;
  names().forEach((_, index) => {
    const point = pointOf(index);
    if (!point) return;
    const [x, y] = toScreen(point);
    const far = Math.hypot(x - left, y - top) - (index === state.chosen ? 2 : 0);
    if (far <= NEAR && (best === null || far < best.far)) best = { index, far };
  });
  return best?.index ?? null;
}

let spaceHeld = false;
stage.addEventListener("contextmenu", (event) => event.preventDefault());
stage.addEventListener("pointerdown", (event) => {
  if (!state.image || event.button > 2 || state.drag) return;
  event.preventDefault();
  stage.focus({ preventScroll: true });
  const [left, top] = placeOf(event);
  const free = event.button === 0 && !spaceHeld;
  const index = free && !event.shiftKey ? hit(left, top) : null;
  const kind = event.button === 2 || (free && event.shiftKey) ? "light" : index !== null && !event.ctrlKey && !event.altKey ? "mark" : "pan";
  const start = index === null ? null : pointOf(index);
  state.drag = {
    kind: "none", wanted: kind, index, left, top, last: [left, top], start, before: index === null ? null : copy(state.marks[index] ?? null),
    click: free && !event.shiftKey, force: event.ctrlKey || event.altKey || event.metaKey,
  };
  stage.setPointerCapture(event.pointerId);
});

stage.addEventListener("pointermove", (event) => {
  const [left, top] = placeOf(event);
  state.pointer = event.pointerType === "touch" && !state.drag ? null : [left, top];
  const drag = state.drag;
  if (!drag) return drawLoupe();
  if (drag.kind === "none") {
    if (Math.hypot(left - drag.left, top - drag.top) <= 3) return; // else it is a click
    drag.kind = drag.wanted;
    stage.classList.add(drag.kind === "mark" ? "moving" : "dragging");
    if (drag.kind === "mark") choose(drag.index);
  }
  const [right, down] = [left - drag.last[0], top - drag.last[1]];
  drag.last = [left, top];
  if (drag.kind === "pan") pan(right, down);
  else if (drag.kind === "light") changeLight(right, down);
  else moveMark(drag, left, top);
});

function moveMark(drag, left, top) {
  const point = within([0, 1].map((axis) => drag.start[axis] + ([left, top][axis] - [drag.left, drag.top][axis]) / state.scale));
  const origin = drag.origin ??= originOf(drag.index);
  state.marks[drag.index] = { x: point[0], y: point[1], flag: keptFlag(drag.before), origin };
  drawMarks();
}

function endDrag(event) {
  const drag = state.drag;
  if (!drag) return;
  state.drag = null;
  stage.classList.remove("moving", "dragging");
  if (event.type === "pointercancel") {
    if (drag.kind === "mark") state.marks[drag.index] = drag.before;
    return showMarks();
  }
  if (drag.kind === "mark") {
    const mark = state.marks[drag.index];
    state.marks[drag.index] = drag.before; // so that the way back is known
    return change({ [drag.index]: mark });
  }
  if (drag.kind !== "none" || !drag.click) return drawView();
  if (drag.index !== null && !drag.force) return choose(drag.index);
  putPoint(state.chosen, toImage(drag.left, drag.top));
  choose(nextOpen());
}
for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, endDrag);
stage.addEventListener("pointerleave", () => {
  state.pointer = null;
  drawLoupe();
});
for (const name of ["focus", "blur"]) stage.addEventListener(name, () => drawLoupe());

stage.addEventListener("mousedown", (event) => {
  if (event.button === 1) event.preventDefault(); // some browsers scroll by it
});
// After a click of the mouse the keys mean the image again; who goes by Tab stays where he is.
document.querySelector("main").addEventListener("click", (event) => {
  if (event.detail > 0 && event.target.closest("button, input[type=checkbox]")) stage.focus({ preventScroll: true });
});

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  zoom(Math.exp(-0.0015 * lines * event.deltaY), ...placeOf(event));
}, { passive: false });

function toggle(id) {
  const box = byId(id);
  if (box.closest("label").hidden) return;
  box.checked = !box.checked;
  drawMarks();
}

// Tab goes through the landmarks while the image has the focus, and on to the page behind the last one.
function stepLandmark(by) {
  const order = inOrder();
  const next = order[order.indexOf(state.chosen) + by];
  if (next === undefined) return false;
  choose(next);
  bringIntoView(pointOf(next));
  return true;
}

const light2 = (window, level) => {
  const now = lightNow();
  setLight(now[0] * window, now[1] + level * now[0]);
};
const keys = {
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: fitView,
  "[": () => light2(1 / 1.15, 0), "]": () => light2(1.15, 0), ",": () => light2(1, -0.04), ".": () => light2(1, 0.04),
  a: toggleAbsent, u: toggleUnsure, n: () => step(1), p: () => step(-1), z: () => zoomTo(state.chosen), w: resetLight,
  i: invertLight, m: () => toggle("show-loupe"), t: () => toggle("show-names"), r: () => toggle("show-regions"),
  o: () => toggle("show-others"), j: () => stepLandmark(1), k: () => stepLandmark(-1), Delete: remove, Backspace: remove,
  d: () => {
    choose(nextOpen());
    bringIntoView(pointOf(state.chosen));
  },
  "?": () => byId("help").showModal(),
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.target.matches("select, input:not([type=checkbox], [type=range])")) return;
  const strong = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const onImage = event.target === stage || event.target === document.body;
  let act = null;
  if (strong && key === "z") act = event.shiftKey ? redo : undo;
  else if (strong && key === "y") act = redo;
  else if (!state.image && !["n", "p", "?"].includes(key)) return;
  else if (onImage && ARROWS[event.key]) {
    const far = (strong || event.altKey ? 10 : 0.1) * (event.shiftKey ? (strong || event.altKey ? 5 : 10) : 1);
    const [right, down] = ARROWS[event.key];
    act = () => nudge(right * far, down * far);
  } else if (strong || event.altKey) return;
  else if (event.target === stage && event.key === "Tab") {
    if (stepLandmark(event.shiftKey ? -1 : 1)) event.preventDefault();
    return;
  } else if (event.target === stage && event.key === "Escape") {
    act = () => rows[state.chosen].button.focus();
  } else if (onImage && event.key === "Enter") act = event.shiftKey ? acceptAll : accept;
  else if (onImage && event.key === " ") act = () => { spaceHeld = true; stage.classList.add("pan"); };
  else if (event.target.matches("input[type=range]") && ["+", "-"].includes(key)) return;
  else act = keys[key] ?? null;
  if (!act) return;
  event.preventDefault();
  state.pointer = ARROWS[event.key] ? null : state.pointer; // the magnifier goes to the point
  act();
});
document.addEventListener("keyup", (event) => {
  if (event.key !== " ") return;
  spaceHeld = false;
  stage.classList.remove("pan");
});

listen("previous", "click", () => step(-1));
listen("next", "click", () => step(1));
listen("zoom-in", "click", () => zoom(1.5));
listen("zoom-out", "click", () => zoom(1 / 1.5));
listen("zoom-fit", "click", fitView);
listen("window", "input", (event) => setLight(event.target.valueAsNumber, lightNow()[1]));
listen("level", "input", (event) => setLight(lightNow()[0], event.target.valueAsNumber));
listen("light-reset", "click", resetLight);
for (const name of ["names", "regions", "others", "loupe"]) listen(`show-${name}`, "change", drawMarks);
for (const [id, act] of Object.entries({ accept, absent: toggleAbsent, unsure: toggleUnsure, delete: remove, undo, redo, "accept-all": acceptAll })) {
  listen(id, "click", () => {
    if (!state.image && act !== undo && act !== redo) return;
    act();
    if (!byId(id).disabled) return;
    stage.focus(); // a button that has nothing left to do would lose the focus to nowhere
  });
}
listen("help-open", "click", () => byId("help").showModal());
listen("order", "change", () => {
  looked.splice(0, looked.length, state.place);
  arrangeImages();
  showImages();
});
listen("landmark-order", "change", () => {
  arrangeLandmarks();
  showLandmarks();
});

async function start() {
  try {
    state.about = await askJson("/api/session");
    state.news = await askJson("/api/news");
  } catch (error) {
    return showTrouble(error.message, "Try again", start);
  }
  showTrouble("");
  const { folder, annotator, blind, table } = state.about;
  byId("folder").textContent = folder.split(/[\\/]/).filter(Boolean).at(-1) ?? folder;
  byId("folder").title = folder;
  document.title = `${byId("folder").textContent} \u2013 marking landmarks`;
  byId("who").textContent = `${annotator}${blind ? ", blind: no points of the model or of others" : ""} \u2192 ${table}`;
  if (state.about.model) {
    byId("order").append(make("option", { value: "doubt" }, "most doubtful first"));
    byId("order").value = "doubt";
  }
  if (state.about.suggest) {
    byId("order").append(make("option", { value: "suggest" }, "worth marking next"));
    byId("order").value = "suggest";
  }
  showModel(state.about);
  suggested = Boolean(state.news.suggesting?.done);
  startAdapt();
  makeLandmarks();
  makeImages();
  arrangeImages();
  const first = arranged.find((place) => state.news.done[place] < names().length) ?? arranged[0];
  await show(first);
  showWork(state.news);
  stage.focus({ preventScroll: true });
  asking = setTimeout(askNews, 1000);
}

start();

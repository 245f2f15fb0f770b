// What the reader does; and the start.

function listen(id, event, act) {
  byId(id).addEventListener(event, act);
}

listen("filter", "input", arrange);
listen("warn", "input", (event) => {
  state.threshold = Number.isFinite(event.target.valueAsNumber) ? event.target.valueAsNumber : null;
  refill();
  markWide();
});
listen("previous", "click", () => step(-1));
listen("next", "click", () => step(1));
listen("zoom-in", "click", () => zoom(1.5));
listen("zoom-out", "click", () => zoom(1 / 1.5));
listen("zoom-fit", "click", fitView);
listen("show-marks", "change", (event) => marks.classList.toggle("off", !event.target.checked));
listen("show-numbers", "change", (event) => marks.classList.toggle("bare", !event.target.checked));
listen("show-truth", "change", (event) => truth.classList.toggle("off", !event.target.checked));
listen("show-regions", "change", (event) => regions.classList.toggle("all", event.target.checked));

listen("window", "input", (event) => setLight({ window: event.target.valueAsNumber }));
listen("level", "input", (event) => setLight({ level: event.target.valueAsNumber }));
listen("light-reset", "click", () => setLight(WHOLE));
listen("local", "change", (event) => setLocal(event.target.checked));

view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = view.getBoundingClientRect();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  zoom(Math.exp(-0.0015 * lines * event.deltaY), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });

const changeLight = (across, down) => setLight({
  window: light.window * Math.exp(across / 250), level: light.level + down * light.window / 600,
});

view.addEventListener("contextmenu", (event) => event.preventDefault());
view.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 && event.button !== 2) return;
  const drag = event.button === 0 ? pan : changeLight;
  let last = event;
  let moved = false;
  const move = (next) => {
    moved ||= Math.hypot(next.clientX - event.clientX, next.clientY - event.clientY) > 3; // else it is a click
    if (!moved) return;
    view.setPointerCapture(event.pointerId);
    view.classList.add("dragging");
    drag(next.clientX - last.clientX, next.clientY - last.clientY);
    last = next;
  };
  const end = () => {
    view.classList.remove("dragging");
    view.removeEventListener("pointermove", move);
  };
  view.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, end, { once: true });
});

const keys = {
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": fitView,
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), Escape: () => choose(state.chosen),
  "[": () => setLight({ window: light.window / 1.15 }), "]": () => setLight({ window: light.window * 1.15 }),
  ",": () => setLight({ level: light.level - light.window / 25 }),
  ".": () => setLight({ level: light.level + light.window / 25 }),
  r: () => setLight(WHOLE), c: () => setLocal(!light.local),
};
const shiftKeys = {
  ...keys, ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0),
  ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select")) return; // there the keys write
  const act = (event.shiftKey ? shiftKeys : keys)[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

let stageWas = "";
new ResizeObserver(() => {
  const whole = state.scale === state.fit;
  const [width, height] = images[state.current].size;
  const [across, down] = stageSize();
  if (!across || `${across} ${down}` === stageWas) return; // no width: the page shows its tables
  stageWas = `${across} ${down}`;
  state.fit = Math.min(across / width, down / height);
  if (whole || state.scale < state.fit) fitView();
  else drawView();
}).observe(byId("stage"));

const settings = (data.settings ?? []).map(([key, value]) => `${key} ${value}`).join(", ");
const count = data.kind === "detections" && `${images.length} ${images.length === 1 ? "image" : "images"}`;
byId("facts").textContent = [data.model, count, settings].filter(Boolean).join(" \u00b7 ");
byId("warn-label").hidden = data.threshold === null;
byId("warn").value = data.threshold ?? "";
byId("warn-unit").textContent = data.kind === "report" ? data.unit : `${data.unit} expected error`;
byId("regions-label").hidden = !images.some((image) => image.landmarks.some(({ longer }) => longer !== null));
setLight(WHOLE);
startList();
show(state.shown[0]);

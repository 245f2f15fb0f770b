// The list of landmarks with the state of each, and what belongs to the chosen one.
let rows = [];

function makeLandmarks() {
  rows = names().map((name, index) => {
    const parts = ["number", "state", "name", "more"].map((kind) => make("span", { class: kind }));
    parts[0].textContent = index + 1;
    parts[2].textContent = name;
    const button = make("button", { type: "button", "data-landmark": index }, ...parts);
    button.addEventListener("click", () => {
      choose(index);
      byId("stage").focus();
      bringIntoView(pointOf(index) ?? expected(index));
    });
    return { item: make("li", {}, button), button, parts };
  });
  arrangeLandmarks();
}

function arrangeLandmarks() {
  byId("landmark-order-label").hidden = !found()?.doubts.some((doubt) => doubt !== null);
  byId("landmarks").replaceChildren(...(state.image ? inOrder().map((index) => rows[index].item) : []));
}

const STATES = {
  open: ["\u25cb", "not marked"], "by hand": ["\u25cf", "marked"], model: ["\u2713", "the model's point, accepted"],
  corrected: ["\u25d0", "the model's point, corrected"], absent: ["\u2205", "not in the image"],
  found: ["\u25cc", "the model's point, not yet accepted"], gone: ["\u25cc", "not in the image by the model, not yet accepted"],
};

function stateOf(index) {
  const mark = state.marks[index];
  if (mark) return isAbsent(mark) ? "absent" : STATES[mark.origin] ? mark.origin : "by hand";
  if (found()?.absent[index]) return "gone";
  return foundPoint(index) ? "found" : "open";
}

function moreOf(index) {
  if (isUnsure(state.marks[index])) return ["unsure", true];
  if (isDone(index) || !found()) return ["", false];
  if (found().absent[index]) return ["absent?", true];
  const error = found().errors?.[index] ?? null;
  const words = error === null ? "" : `\u00b1 ${fixed(error)} ${found().unit}`;
  return [found().doubtful[index] && !words ? "doubtful" : words, found().doubtful[index]];
}

function showLandmarks() {
  rows.forEach(({ button, parts }, index) => {
    const kind = stateOf(index);
    const [sign, words] = STATES[kind];
    parts[1].textContent = sign;
    parts[1].className = `state ${isDone(index) ? "done" : kind === "open" ? "" : "found"}`;
    const [more, doubt] = moreOf(index);
    parts[3].textContent = more;
    parts[3].className = `more ${doubt ? "doubt" : ""}`;
    button.toggleAttribute("aria-current", index === state.chosen);
    if (index === state.chosen) button.setAttribute("aria-current", "true");
    const label = `${index + 1} ${names()[index]}: ${words}${more ? `, ${more}` : ""}${doubt && more !== "doubtful" && more !== "unsure" ? ", doubtful" : ""}`;
    button.setAttribute("aria-label", label);
    button.title = words;
  });
  const done = state.marks.filter((mark) => mark !== null).length;
  byId("image-done").textContent = state.image ? `${done} of ${names().length}` : "";
  showChosen();
}

function showNothingChosen() {
  for (const id of ["chosen-name", "chosen-words", "shape-words"]) byId(id).textContent = "";
  for (const id of ["absent", "unsure"]) byId(id).setAttribute("aria-pressed", "false");
  for (const id of ["accept", "absent", "unsure", "delete", "accept-all"]) byId(id).disabled = true;
  byId("accept-all").hidden = true;
}

function showChosen() {
  byId("undo").disabled = !history_.done.length;
  byId("redo").disabled = !history_.undone.length;
  if (!state.image) return showNothingChosen();
  const index = state.chosen;
  const mark = state.marks[index];
  byId("chosen-name").textContent = numbered(index);
  byId("chosen-words").textContent = chosenWords(index, mark);
  byId("accept").textContent = acceptedMark(index) ? "Accept" : isDone(index) ? "Next" : "Set here";
  byId("accept").disabled = byId("absent").disabled = false;
  byId("absent").setAttribute("aria-pressed", String(Boolean(isAbsent(mark))));
  byId("unsure").setAttribute("aria-pressed", String(Boolean(isUnsure(mark))));
  byId("unsure").disabled = isAbsent(mark ?? acceptedMark(index)) || (!mark && !acceptedMark(index));
  byId("delete").disabled = !mark;
  const open = names().map((_, place) => place).filter(acceptedMark);
  const [left, doubts] = [open.length, open.filter((place) => found().doubtful[place]).length];
  byId("accept-all").hidden = !found();
  byId("accept-all").disabled = !left || found()?.unlike === true;
  byId("accept-all").textContent = !left ? "Nothing left to accept"
    : `Accept all ${left} left${doubts ? ` (${doubts} doubtful)` : ""}`;
  for (const [place, dot] of [...byId("shape").querySelectorAll("circle")].map((dot) => [Number(dot.dataset.landmark), dot])) {
    dot.classList.toggle("chosen", place === index);
    dot.setAttribute("r", place === index ? shapeDot * 1.9 : shapeDot);
  }
  const there = state.hint[index];
  byId("shape-words").textContent = !state.hint.some(Boolean) ? "Where landmarks usually lie is shown once an image is marked."
    : there ? `Where ${names()[index]} usually lies.` : `Where ${names()[index]} lies is not known yet.`;
}

function chosenWords(index, mark) {
  const at = ([x, y]) => `x ${fixed(x)}, y ${fixed(y)} px`;
  if (mark) {
    const words = STATES[stateOf(index)][1];
    return `${isAbsent(mark) ? "" : `${at([mark.x, mark.y])}: `}${words}${isUnsure(mark) ? ", unsure" : ""}`;
  }
  const point = foundPoint(index);
  if (found()?.absent[index]) return "The model says that it is not in the image: Enter agrees, a click sets it.";
  if (!point) return "Click where it lies.";
  const error = found().errors?.[index] ?? null;
  const doubt = found().doubtful[index] ? "Doubtful: look at it. " : "";
  const expects = error === null ? "" : `, expected error ${fixed(error)} ${found().unit}`;
  return `${doubt}The model says ${at(point)}${expects}. Enter accepts.`;
}

// The mean shape, in the proportions of the image.
let shapeDot = 1;
function showShape() {
  const shape = byId("shape");
  const dots = state.hint.map((share, index) => (share ? [index, share] : null)).filter(Boolean);
  byId("shape").style.display = dots.length && state.image ? "" : "none";
  if (!dots.length || !state.image) return shape.replaceChildren();
  const [width, height] = state.image.size;
  const points = dots.map(([index, [x, y]]) => [index, x * width, y * height]);
  const [left, right] = [Math.min(...points.map(([, x]) => x)), Math.max(...points.map(([, x]) => x))];
  const [top, bottom] = [Math.min(...points.map(([, , y]) => y)), Math.max(...points.map(([, , y]) => y))];
  const edge = 0.09 * Math.max(right - left, bottom - top, 1);
  shape.setAttribute("viewBox", [left - edge, top - edge, right - left + 2 * edge, bottom - top + 2 * edge].join(" "));
  shapeDot = 0.3 * edge;
  shape.setAttribute("aria-label", `Where ${dots.length} landmarks usually lie`);
  shape.replaceChildren(...points.map(([index, cx, cy]) => draw("circle", { cx, cy, r: shapeDot, "data-landmark": index })));
}

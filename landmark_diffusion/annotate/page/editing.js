// What changes marks, each change with its way back.
const history_ = {
  done: [], undone: [],
  keep(entry) {
    this.done.push(entry);
    this.undone.length = 0;
  },
  forget(place) {
    for (const list of [this.done, this.undone]) list.splice(0, list.length, ...list.filter((entry) => entry.place !== place));
  },
};

// What is said of a point stays when it is moved; one that was absent is there then.
const keptFlag = (mark) => (!mark || isAbsent(mark) ? "visible" : mark.flag);

const copy = (mark) => (mark === null ? null : { ...mark });

// Sets marks {index: mark or null} of the current image.
function change(marks, soon = false) {
  const before = {};
  for (const [index, mark] of Object.entries(marks)) {
    before[index] = copy(state.marks[index] ?? null);
    state.marks[index] = copy(mark);
  }
  const last = history_.done.at(-1);
  const keys = Object.keys(marks).join();
  if (soon && last?.soon && last.place === state.place && Object.keys(last.after).join() === keys && Date.now() - last.at < 1000) {
    Object.assign(last, { after: { ...marks }, at: Date.now() }); // one held key is undone at once
  } else {
    history_.keep({ place: state.place, before, after: { ...marks }, soon, at: Date.now() });
  }
  (soon ? saveSoon : save)(state.place, marks);
  showMarks();
}

async function goBack(from, to, side) {
  const entry = from.pop();
  if (!entry) return;
  to.push(entry);
  if (entry.place !== state.place) await show(entry.place);
  const marks = {};
  for (const [index, mark] of Object.entries(entry[side])) {
    marks[index] = copy(mark);
    state.marks[index] = copy(mark);
  }
  entry.soon = false;
  save(state.place, marks);
  state.chosen = Number(Object.keys(marks)[0]);
  showMarks();
  bringIntoView(pointOf(state.chosen));
}

const undo = () => goBack(history_.done, history_.undone, "before");
const redo = () => goBack(history_.undone, history_.done, "after");

// Where a point that is put now comes from.
function originOf(index) {
  const mark = state.marks[index];
  if (mark && !isAbsent(mark)) return mark.origin === "model" || mark.origin === "corrected" ? "corrected" : "by hand";
  return foundPoint(index) ? "corrected" : "by hand";
}

function putPoint(index, point, soon = false) {
  const [x, y] = within(point);
  change({ [index]: { x, y, flag: keptFlag(state.marks[index]), origin: originOf(index) } }, soon);
}

function nudge(right, down) {
  const point = pointOf(state.chosen);
  if (!point) return;
  putPoint(state.chosen, [point[0] + right, point[1] + down], true);
  bringIntoView(pointOf(state.chosen));
}

function acceptedMark(index) {
  if (!found() || isDone(index)) return null;
  if (found().absent[index]) return { x: null, y: null, flag: "absent", origin: "model" };
  const point = found().points[index];
  if (!point) return null;
  const [x, y] = within(point);
  return { x, y, flag: "visible", origin: "model" };
}

// Enter: the model's point; without one the place where the landmark usually lies, or the middle of what is seen.
function accept() {
  const index = state.chosen;
  if (isDone(index)) return choose(nextOpen());
  const mark = acceptedMark(index);
  if (mark) {
    change({ [index]: mark });
    return choose(nextOpen());
  }
  putPoint(index, (state.about.blind ? null : expected(index)) ?? state.centre);
  bringIntoView(pointOf(index));
}

function acceptAll() {
  if (!found()) return;
  if (found().unlike) return say("unlike image: accept its points one by one", "bad");
  const marks = {};
  names().forEach((_, index) => {
    const mark = acceptedMark(index);
    if (mark) marks[index] = mark;
  });
  if (Object.keys(marks).length) change(marks);
}

function toggleAbsent() {
  const index = state.chosen;
  if (isAbsent(state.marks[index])) return change({ [index]: null });
  const origin = found()?.absent[index] ? "model" : found() ? "corrected" : "by hand";
  change({ [index]: { x: null, y: null, flag: "absent", origin } });
  choose(nextOpen());
}

function toggleUnsure() {
  const index = state.chosen;
  const mark = state.marks[index] ?? acceptedMark(index);
  if (!mark || isAbsent(mark)) return say("set the point first, then say that you are unsure", "bad");
  change({ [index]: { ...mark, flag: isUnsure(mark) ? "visible" : "unsure" } });
}

function remove() {
  if (isDone(state.chosen)) change({ [state.chosen]: null });
}

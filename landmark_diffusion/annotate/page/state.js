// The image that is marked. A mark is {x, y, flag, origin, time}, or null where nothing is said yet.
const state = {
  about: { landmarks: [], images: [] }, news: null, place: null, image: null, marks: [], chosen: 0,
  scale: 1, fit: 1, centre: [0, 0], hint: [], drag: null, pointer: null,
};
const known = new Map(); // place -> the server's last word on an image

const isAbsent = (mark) => mark?.flag === "absent";
const isUnsure = (mark) => mark?.flag === "unsure";
const names = () => state.about.landmarks;
const numbered = (index) => (names()[index] === `${index + 1}` ? names()[index] : `${index + 1} ${names()[index]}`);
const found = () => state.image?.prediction ?? null;
const isDone = (index) => (state.marks[index] ?? null) !== null;

// Where a landmark is drawn: its mark, else the model's point; null for one that is absent or nowhere.
function pointOf(index) {
  const mark = state.marks[index];
  if (mark) return isAbsent(mark) ? null : [mark.x, mark.y];
  return foundPoint(index);
}

const foundPoint = (index) => (found() && !found().absent[index] ? found().points[index] : null);

// Landmarks in the order in which they are gone through.
function inOrder() {
  const all = names().map((_, index) => index);
  const doubts = found()?.doubts;
  if (!doubts || byId("landmark-order").value === "list") return all;
  return all.sort((a, b) => (doubts[b] ?? -1) - (doubts[a] ?? -1) || a - b);
}

// The next one behind the chosen that is not done; the chosen one where all are.
function nextOpen() {
  const order = inOrder();
  const at = order.indexOf(state.chosen);
  const later = [...order.slice(at + 1), ...order.slice(0, at + 1)];
  return later.find((index) => !isDone(index)) ?? state.chosen;
}

// Where a landmark is to be expected: the mean shape, laid on the points that are there by place, size and turning.
function expected(index) {
  const [width, height] = state.image.size;
  const usual = state.hint.map((share) => (share ? [share[0] * width - 0.5, share[1] * height - 0.5] : null));
  if (!usual[index]) return null;
  const pairs = [];
  state.marks.forEach((mark, place) => {
    if (mark && !isAbsent(mark) && usual[place] && place !== index) pairs.push([usual[place], [mark.x, mark.y]]);
  });
  if (!pairs.length) return usual[index];
  const mean = (side) => [0, 1].map((axis) => pairs.reduce((sum, pair) => sum + pair[side][axis], 0) / pairs.length);
  const [from, to] = [mean(0), mean(1)];
  let [real, imaginary, size] = [0, 0, 0];
  for (const [[a, b], [c, d]] of pairs) {
    const [x, y, u, v] = [a - from[0], b - from[1], c - to[0], d - to[1]];
    real += x * u + y * v;
    imaginary += x * v - y * u;
    size += x * x + y * y;
  }
  const [cosine, sine] = pairs.length > 1 && size > 0 ? [real / size, imaginary / size] : [1, 0];
  const [x, y] = [usual[index][0] - from[0], usual[index][1] - from[1]];
  return within([to[0] + cosine * x - sine * y, to[1] + sine * x + cosine * y]);
}

function within([x, y]) {
  const [width, height] = state.image.size;
  return [rounded(clamp(x, -0.5, width - 0.501)), rounded(clamp(y, -0.5, height - 0.501))];
}

const rounded = (value) => Math.round(value * 1000) / 1000;

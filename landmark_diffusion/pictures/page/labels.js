// Numbers that avoid each other and the marks: a greedy choice among places around each, as pictures/figures.py does.

const LABEL_HEIGHT = 14;
const LABEL_RADII = [9, 16, 25, 36]; // screen px from the mark to the label's nearest corner or edge
const LABEL_DIRECTIONS = [-45, 45, -135, 135, 0, 180, -90, 90].map((degrees) => {
  const angle = degrees * Math.PI / 180;
  return [Math.cos(angle), Math.sin(angle)].map((part) => (Math.abs(part) < 1e-9 ? 0 : part));
});
const labelWidth = (label) => 7 * label.length + 5; // with its dark edge

// Anchors are [x, y] in screen px or null, and so are the centres given back; bounds is the stage's [width, height].
function placeLabels(anchors, widths, bounds, obstacles) {
  const placed = [];
  return anchors.map((anchor, index) => {
    if (anchor === null) return null;
    const half = [widths[index] / 2, LABEL_HEIGHT / 2];
    let best = { cost: Infinity };
    for (const radius of LABEL_RADII) {
      for (const direction of LABEL_DIRECTIONS) {
        const centre = anchor.map((value, axis) => (
          value + direction[axis] * radius + Math.sign(direction[axis]) * half[axis]
        ));
        const cost = radius / 9 + crowding(centre, half, placed, bounds, obstacles);
        if (cost < best.cost) best = { cost, centre, half, far: radius > LABEL_RADII[0] };
      }
      if (best.cost <= 1 + radius / 9) break; // no place farther out costs less
    }
    placed.push(best);
    return best;
  });
}

// 20 for leaving the stage, 10 for each label covered, 4 for each mark covered.
function crowding(centre, half, placed, bounds, obstacles) {
  const within = (other, reach) => other.every((value, axis) => Math.abs(value - centre[axis]) < reach[axis]);
  const leaves = centre.some((value, axis) => value < half[axis] || value > bounds[axis] - half[axis]);
  let cost = leaves ? 20 : 0;
  for (const other of placed) {
    if (within(other.centre, half.map((value, axis) => value + other.half[axis] + 1))) cost += 10;
  }
  for (const point of obstacles) if (within(point, half.map((value) => value + 5))) cost += 4;
  return cost;
}

function drawLabels() {
  const [across, down] = stageSize();
  const { scale, centre } = state;
  const onScreen = ([x, y]) => [(x - centre[0]) * scale + across / 2, (y - centre[1]) * scale + down / 2];
  const inside = ([x, y]) => x > -40 && y > -40 && x < across + 40 && y < down + 40;
  const { landmarks } = images[state.current];
  const points = landmarks.map(({ x, y }) => (x === null || y === null ? null : onScreen([x, y])));
  const anchors = points.map((point) => (point !== null && inside(point) ? point : null));
  const people = landmarks.flatMap(({ people = [] }) => people.filter((point) => point !== null).map(onScreen));
  const obstacles = [...anchors.filter((point) => point !== null), ...people.filter(inside)];
  const widths = landmarks.map((_, index) => labelWidth(String(index + 1)));
  placeLabels(anchors, widths, [across, down], obstacles).forEach((label, index) => {
    if (label === null) return;
    const mark = marks.querySelector(`.mark[data-landmark="${index}"]`);
    const [x, y] = label.centre.map((value, axis) => value - anchors[index][axis]);
    filled(mark.querySelector("text"), { x, y }, []);
    const length = Math.hypot(x, y);
    const start = 6 / length;
    const end = Math.max(start, 1 - label.half[1] / length);
    const leader = label.far ? `M${x * start} ${y * start}L${x * end} ${y * end}` : "";
    mark.querySelector(".leader").setAttribute("d", leader);
  });
}

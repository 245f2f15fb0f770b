// The magnifier: what lies under the mouse, or under the point that the keys move, several times as large.
const LOUPE_ZOOM = 4;

// What it is centred on, in image px; null for nothing.
function loupeCentre() {
  if (!state.image || !byId("show-loupe").checked) return null;
  if (state.drag?.kind === "mark") return pointOf(state.drag.index);
  if (state.pointer) return toImage(...state.pointer);
  return document.activeElement === byId("stage") ? pointOf(state.chosen) : null;
}

function drawLoupe() {
  const loupe = byId("loupe");
  const centre = loupeCentre();
  loupe.hidden = centre === null || state.drag?.kind === "pan" || state.drag?.kind === "light";
  if (loupe.hidden) return;
  const [across, down] = stageSize();
  const size = loupe.clientWidth;
  const scale = clamp(LOUPE_ZOOM * state.scale, 2, 2 * MOST_ZOOM);
  const [left, top] = toScreen(centre);
  const far = left < size + 60 && top > down - size - 60; // else it would lie under the mouse
  loupe.style.left = far ? `${across - size - 10}px` : "6px";
  loupe.style.top = `${down - size - 10}px`;
  drawFilm(loupe, size, size, scale, centre);
  drawCross(loupe, size);
  drawInLoupe(loupe, size, scale, centre);
}

function drawCross(loupe, size) {
  const context = loupe.getContext("2d");
  const ratio = loupe.width / size;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const middle = size / 2;
  for (const [width, style] of [[3, "#000a"], [1.2, "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    for (const [from, to] of [[-size, -7], [7, size]]) {
      context.moveTo(middle + from, middle);
      context.lineTo(middle + to, middle);
      context.moveTo(middle, middle + from);
      context.lineTo(middle, middle + to);
    }
    context.stroke();
  }
}

// The marks that lie in it, as small rings, but for the one that it is centred on.
function drawInLoupe(loupe, size, scale, centre) {
  const context = loupe.getContext("2d");
  names().forEach((_, index) => {
    const point = pointOf(index);
    if (!point || state.drag?.index === index) return;
    const [x, y] = point.map((value, axis) => (value - centre[axis]) * scale + size / 2);
    if (Math.hypot(x - size / 2, y - size / 2) > size / 2 || Math.hypot(x - size / 2, y - size / 2) < 1) return;
    context.lineWidth = 1.5;
    context.strokeStyle = state.marks[index] ? "#56b4e9" : "#f0e442";
    context.beginPath();
    context.arc(x, y, 4, 0, 7);
    context.stroke();
  });
}

// Window and level, by a filter of the svg, and local contrast, by a picture made of the stored one.

const WHOLE = { window: 255, level: 127.5 };
const light = { ...WHOLE, local: false };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const ramps = ["R", "G", "B"].map((channel) => draw(`feFunc${channel}`, { type: "linear" }));
const lightFilter = draw(
  "filter", { id: "light-filter", x: 0, y: 0, width: 1, height: 1, "color-interpolation-filters": "sRGB" },
  draw("feComponentTransfer", {}, ...ramps),
);

function setLight(wanted) {
  light.window = clamp(wanted.window ?? light.window, 8, 510);
  light.level = clamp(wanted.level ?? light.level, 0, 255);
  const low = light.level - light.window / 2;
  for (const ramp of ramps) filled(ramp, { slope: 255 / light.window, intercept: -low / light.window }, []);
  const whole = light.window === WHOLE.window && light.level === WHOLE.level;
  if (whole) film.removeAttribute("filter");
  else film.setAttribute("filter", "url(#light-filter)");
  byId("window").value = light.window;
  byId("level").value = light.level;
  byId("light").textContent = `${Math.round(low)} to ${Math.round(low + light.window)}`;
  byId("light-reset").disabled = whole;
}

function setLocal(local) {
  light.local = local;
  byId("local").checked = local;
  loadPicture(state.current);
}

const TILES = 8;
const STEEPEST = 3; // times as many pixels of one grey as if all greys were alike

// Contrast-limited adaptive histogram equalisation (Zuiderveld, 1994) of a decoded picture; gives a JPEG's address.
function localContrast(picture) {
  const { naturalWidth: width, naturalHeight: height } = picture;
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  const greys = pixels.data;
  const curves = [];
  for (let row = 0; row < TILES; row++) {
    for (let column = 0; column < TILES; column++) curves.push(tileCurve(greys, width, height, column, row));
  }
  const columns = Array.from({ length: width }, (_, x) => between(x, width));
  for (let y = 0; y < height; y++) {
    const [top, below, downwards] = between(y, height);
    for (let x = 0; x < width; x++) {
      const [left, right, along] = columns[x];
      const place = 4 * (y * width + x);
      const grey = greys[place];
      const upper = curves[top * TILES + left][grey] * (1 - along) + curves[top * TILES + right][grey] * along;
      const lower = curves[below * TILES + left][grey] * (1 - along) + curves[below * TILES + right][grey] * along;
      greys[place] = greys[place + 1] = greys[place + 2] = upper * (1 - downwards) + lower * downwards;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL("image/jpeg", 0.92);
}

// The two tiles whose centres lie around a pixel, and how far it is from the first to the second.
function between(pixel, size) {
  const place = clamp((pixel + 0.5) * TILES / size - 0.5, 0, TILES - 1);
  const first = Math.floor(place);
  return [first, Math.min(first + 1, TILES - 1), place - first];
}

function tileCurve(greys, width, height, column, row) {
  const [left, right] = [column, column + 1].map((edge) => Math.floor(edge * width / TILES));
  const [top, bottom] = [row, row + 1].map((edge) => Math.floor(edge * height / TILES));
  const counts = new Float64Array(256);
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) counts[greys[4 * (y * width + x)]]++;
  const total = Math.max((right - left) * (bottom - top), 1);
  const most = STEEPEST * total / 256;
  const over = counts.reduce((sum, count) => sum + Math.max(count - most, 0), 0);
  let sum = 0;
  return counts.map((count) => {
    sum += Math.min(count, most) + over / 256;
    return 255 * sum / total;
  });
}

// Grey values: the server sends the stored values and the grey of each as the model sees it; another window is made here.
const light = { low: 0, high: 1, own: false, inverted: false }; // low and high in shares of the values that can be
const film = { canvas: document.createElement("canvas"), values: null, table: null, width: 0, height: 0, falling: false };

async function loadFilm(place) {
  const answer = await ask(`/api/images/${place}/pixels`);
  const [width, height, levels, bytes] = ["width", "height", "levels", "bytes"].map((name) => Number(answer.headers.get(`x-${name}`)));
  const body = await answer.arrayBuffer();
  const start = levels + (levels % 2);
  const values = bytes === 1 ? new Uint8Array(body, start) : littleEndian(body, start);
  return { values, table: new Uint8Array(body, 0, levels), width, height };
}

function littleEndian(body, start) {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return new Uint16Array(body, start);
  const view = new DataView(body, start);
  return Uint16Array.from({ length: view.byteLength / 2 }, (_, place) => view.getUint16(2 * place, true));
}

function takeFilm(loaded) {
  Object.assign(film, loaded);
  film.falling = film.table[0] > film.table[film.table.length - 1];
  film.canvas.width = film.width;
  film.canvas.height = film.height;
  if (!light.own) Object.assign(light, usualLight());
  expose();
}

// The window that the table shows, in shares.
function usualLight() {
  const { table } = film;
  const last = table.length - 1;
  let [low, high] = [0, last];
  while (low < last && table[low + 1] === table[0]) low++;
  while (high > low + 1 && table[high - 1] === table[last]) high--;
  return { low: low / last, high: high / last };
}

let exposing = false;
function exposeSoon() {
  if (exposing) return;
  exposing = true;
  requestAnimationFrame(() => {
    exposing = false;
    expose();
    drawView();
  });
}

function expose() {
  if (!film.values) return;
  const { values, table, width, height } = film;
  const last = table.length - 1;
  const lookup = new Uint32Array(table.length);
  for (let value = 0; value <= last; value++) {
    let grey = table[value];
    if (light.own) {
      const share = clamp((value / last - light.low) / Math.max(light.high - light.low, 1e-6), 0, 1);
      grey = Math.round(255 * (film.falling ? 1 - share : share));
    }
    if (light.inverted) grey = 255 - grey;
    lookup[value] = 0xff000000 | grey * 0x010101;
  }
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let place = 0; place < pixels.length; place++) pixels[place] = lookup[values[place]];
  film.canvas.getContext("2d").putImageData(picture, 0, 0);
  byId("window").value = light.high - light.low;
  byId("level").value = (light.high + light.low) / 2;
  byId("light-reset").disabled = !light.own && !light.inverted;
}

function setLight(window, level) {
  const half = clamp(window, 0.004, 2) / 2;
  const middle = clamp(level, 0, 1);
  Object.assign(light, { low: middle - half, high: middle + half, own: true });
  exposeSoon();
}

const lightNow = () => [light.high - light.low, (light.high + light.low) / 2];

function changeLight(across, down) {
  const [window, level] = lightNow();
  setLight(window * Math.exp(across / 250), level + down * window / 600);
}

function resetLight() {
  Object.assign(light, { own: false, inverted: false }, usualLight());
  exposeSoon();
}

function invertLight() {
  light.inverted = !light.inverted;
  exposeSoon();
}

"use strict";
// One script in four files: page.js (what all share, the gallery), page_viewer.js, page_table.js, page_actions.js.
// Names of files and landmarks are anybody's text: they reach the page as text and attributes alone, never as HTML.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const images = data.images;
const MOST_ZOOM = 16; // screen px per image px; more for pictures that are smaller than the viewer
const state = {
  shown: [], current: 0, active: null, chosen: null, threshold: data.threshold,
  sort: { key: "number", down: false }, centre: [0, 0], scale: 1, fit: 1,
};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const text = (value, digits) => (value === null ? "\u2013" : value.toFixed(digits));
const percent = (share) => `${+(100 * share).toFixed(1)} %`;
const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;
const errorOf = (landmark) => landmark[`error_${data.unit}`];
const isWide = (landmark) => state.threshold !== null && (errorOf(landmark) ?? -1) >= state.threshold;
const unitOf = (image) => (image.spacing ? "mm" : "px");

function meanError(image) {
  const known = image.landmarks.map(errorOf).filter((error) => error !== null);
  return known.length ? known.reduce((sum, error) => sum + error, 0) / known.length : null;
}

// Sorts a copy by value(item): numbers or texts; null comes last either way.
function sorted(items, value, down = false) {
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  return items
    .map((item) => [value(item), item])
    .sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return down ? compare(b, a) : compare(a, b);
    })
    .map(([, item]) => item);
}

// ---- gallery ----

const cards = images.map((image, index) => {
  const thumb = image.thumbnail
    ? make("img", { class: "thumb", alt: "", loading: "lazy", decoding: "async", src: jpeg(image.thumbnail) })
    : make("span", { class: "thumb" });
  const words = make("span", { class: "text" }, make("span", { class: "name" }, image.name));
  const button = make("button", { type: "button", title: image.name }, thumb, words);
  button.addEventListener("click", () => show(index));
  return { item: make("li", {}, button), button, words };
});

function fillCards() {
  images.forEach((image, index) => {
    const { words } = cards[index];
    const mean = meanError(image);
    const wide = image.landmarks.filter(isWide).length;
    const lines = [words.firstChild];
    const error = `~${text(mean, 2)} ${data.unit} error`;
    if (mean !== null) lines.push(make("span", { title: "mean expected error" }, error));
    if (image.unlike) {
      const why = image.unlike_reason === "unknown" ? "" : image.unlike_reason;
      lines.push(make("span", { class: "badge unlike" }, why ? `unlike: ${why}` : "unlike training"));
    }
    if (wide) lines.push(make("span", { class: "badge wide" }, `${wide} uncertain`));
    words.replaceChildren(...lines);
  });
}

function arrange() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const values = { name: (i) => images[i].name, error: (i) => meanError(images[i]), score: (i) => images[i].score };
  const order = byId("order").value;
  const found = images.map((_, index) => index).filter((index) => images[index].name.toLowerCase().includes(wanted));
  state.shown = sorted(found, values[order], order === "error");
  byId("cards").replaceChildren(...state.shown.map((index) => cards[index].item));
  byId("shown").textContent = wanted ? `${found.length} of ${images.length} shown` : `${images.length} shown`;
  showPlace();
}

function showPlace() {
  const place = state.shown.indexOf(state.current);
  byId("place").textContent = place < 0 ? "" : `${place + 1} of ${state.shown.length}`;
  byId("previous").disabled = place === 0 || !state.shown.length;
  byId("next").disabled = place === state.shown.length - 1;
}

function step(by) {
  const place = state.shown.indexOf(state.current);
  const next = state.shown[place < 0 ? 0 : place + by];
  if (next !== undefined) show(next);
}

"use strict";
// One script: page.js (what all share), table.js, cards.js or list.js (the images), labels.js, light.js, viewer.js,
// actions.js. Names of files and landmarks are anybody's text: they reach the page as text and attributes alone, never
// as HTML.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const images = data.images;
const MOST_ZOOM = 16; // screen px per image px; more for pictures that are smaller than the viewer
const state = {
  shown: [], current: 0, active: null, chosen: null, landmark: null, threshold: data.threshold, centre: [0, 0], scale: 1, fit: 1,
};

function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const text = (value, digits) => (value === null ? "\u2013" : value.toFixed(digits));
const percent = (share) => `${+(100 * share).toFixed(1)} %`;
const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;
const stored = (kind, index) => byId(`${kind}-${index}`)?.textContent ?? "";
const errorOf = (landmark) => landmark[data.error];
const isBeyond = (error) => state.threshold !== null && (error ?? -1) >= state.threshold;
const isWide = (landmark) => isBeyond(errorOf(landmark));
const unitOf = (image) => (image.spacing ? "mm" : "px");
const numbered = (index, name) => (name === String(index + 1) ? name : `${index + 1} ${name}`);

function meanOf(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

const meanError = (image) => meanOf(image.landmarks.map(errorOf));

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

const named = () => {
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = images.map((_, index) => index).filter((index) => images[index].name.toLowerCase().includes(wanted));
  byId("shown").textContent = wanted ? `${found.length} of ${images.length} shown` : `${images.length} shown`;
  return found;
};

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

"use strict";
// One script: labels.js (of the detections page: where numbers go), base.js (what all share), state.js (the image that
// is marked), light.js (grey values), view.js (what is drawn), loupe.js, saving.js (changes on their way), editing.js
// (what changes marks), landmarks.js and images.js (the lists), actions.js (what the annotator does; the start).
// Names of files and landmarks are anybody's text: they reach the page as text and attributes alone, never as HTML.
const byId = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const fixed = (value, digits = 1) => value.toFixed(digits);
const listen = (id, event, act) => byId(id).addEventListener(event, act);
const token = new URLSearchParams(location.search).get("token") ?? "";

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: the server did not answer
  }
}

async function ask(path, body = undefined) {
  const options = { headers: { authorization: `Bearer ${token}` } };
  if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, "the server does not answer: was it ended? Start ldx annotate again, and open its new address");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).error;
  } catch { /* not JSON: the text itself */ }
  throw new Refused(answer.status, message);
}

const askJson = async (path, body = undefined) => (await ask(path, body)).json();

// One line over the page, with one thing to do about it.
function showTrouble(words, name = "", act = null) {
  byId("trouble").hidden = !words;
  byId("trouble-text").textContent = words.replace(/^[a-z]+ /, (word) => word[0].toUpperCase() + word.slice(1)); // no file
  byId("trouble-act").hidden = act === null;
  byId("trouble-act").textContent = name;
  byId("trouble-act").onclick = act;
}

function say(words, kind = "") {
  byId("saved").textContent = words;
  byId("saved").className = kind;
}

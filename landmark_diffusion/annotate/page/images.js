// The list of images, how far each is, and going from one to the other.
let cards = [];
let arranged = [];

function makeImages() {
  cards = state.about.images.map((name, place) => {
    const parts = ["name", "count", "badges", "why"].map((kind) => make("span", { class: kind }));
    parts[0].textContent = name;
    const button = make("button", { type: "button", title: name }, ...parts);
    button.addEventListener("click", () => show(place));
    return { item: make("li", {}, button), button, parts };
  });
}

// But for the order by name, images that were looked at stay in front, in the order in which they were.
const looked = [];
let suggested = false;

function arrangeImages() {
  const { done, doubts = [], doubtful = [], ranks = [] } = state.news;
  const places = cards.map((_, place) => place);
  const total = names().length;
  const keys = {
    name: () => 0, open: (place) => Number(done[place] >= total),
    doubt: (place) => (done[place] >= total ? 1e9 : 0) - (doubts[place] ?? -1) - 20 * (doubtful[place] ?? 0),
    suggest: (place) => (done[place] >= total ? 2e9 : ranks[place] ?? 1e9),
  };
  const order = byId("order").value;
  const seen = (place) => (order === "name" || !looked.includes(place) ? looked.length : looked.indexOf(place));
  arranged = places.sort((a, b) => seen(a) - seen(b) || keys[order](a) - keys[order](b) || a - b);
  const items = arranged.map((place) => cards[place].item);
  if (items.some((item, at) => byId("images").children[at] !== item)) byId("images").replaceChildren(...items);
}

function showImages() {
  cards.forEach((_, place) => showCard(place));
  showProgress();
}

function showCard(place) {
  const { done, doubtful = [], unlike = [], ranks = [], reasons = [] } = state.news;
  const { item, button, parts } = cards[place];
  const total = names().length;
  const whole = done[place] >= total;
  item.classList.toggle("whole", whole);
  parts[1].textContent = whole ? "\u2713" : done[place] ? `${done[place]}/${total}` : "";
  const badges = [];
  if (ranks[place] && !whole) badges.push(make("span", { class: "badge plain" }, `label ${ranks[place]}.`));
  if (unlike[place]) badges.push(make("span", { class: "badge unlike" }, "unlike"));
  if (doubtful[place] && !whole) badges.push(make("span", { class: "badge" }, `${doubtful[place]} doubtful`));
  parts[2].replaceChildren(...badges);
  const reason = whole ? null : reasons[place];
  const why = reason ? `Why: ${reason}.` : "";
  parts[3].textContent = place === state.place ? why : "";
  if (place === state.place) byId("why").textContent = why; // for a window that is too narrow for it in the list
  button.title = [state.about.images[place], reason].filter(Boolean).join(": ");
  button.setAttribute("aria-label", `${state.about.images[place]}: ${whole ? "done" : `${done[place]} of ${total}`}`);
  if (place === state.place) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function showProgress() {
  const { done } = state.news;
  const total = names().length;
  const finished = done.filter((count) => count >= total).length;
  filled(byId("progress"), { max: done.length * total || 1, value: done.reduce((sum, count) => sum + Math.min(count, total), 0) }, []);
  byId("progress-text").textContent = `${finished} of ${done.length} images done`;
  const at = arranged.indexOf(state.place);
  byId("image-place").textContent = at < 0 ? "" : `${at + 1} of ${arranged.length}`;
  byId("previous").disabled = at <= 0;
  byId("next").disabled = at < 0 || at >= arranged.length - 1;
}

function step(by) {
  const next = arranged[arranged.indexOf(state.place) + by];
  if (next !== undefined) show(next);
}

// Shows an image; ``anew`` asks the server again for its marks.
let showing = 0;
async function show(place, anew = false) {
  const mine = ++showing;
  const other = place !== state.place;
  const predictedBefore = Boolean(found());
  byId("waiting").hidden = !other;
  byId("waiting").textContent = "Reading the image\u2026";
  try {
    const [answer, pixels] = await Promise.all([
      askJson(`/api/images/${place}`), other ? takeAhead(place) : null,
    ]);
    if (mine !== showing) return;
    const unsaved = queue.some((each) => each.place === place);
    if (anew || !unsaved || !known.has(place)) known.set(place, answer);
    const marks = known.get(place).marks.map(copy);
    for (const each of queue) if (each.place === place) Object.assign(marks, each.marks);
    const open = !other && !isDone(state.chosen);
    Object.assign(state, { place, image: answer, marks });
    if (open && isDone(state.chosen)) state.chosen = nextOpen(); // set elsewhere: a click would replace it
    if (pixels) takeFilm(pixels);
  } catch (error) {
    if (mine !== showing) return;
    if (error.status === 0) return showTrouble(error.message, "Try again", () => show(place, anew));
    return showUnusable(place, error.message);
  }
  byId("waiting").hidden = true;
  byId("image-name").textContent = state.about.images[place];
  byId("image-name").title = state.about.images[place];
  if (!looked.includes(place)) looked.push(place);
  arrangeImages();
  if (other || (found() && !predictedBefore && state.marks.every((mark) => mark === null))) {
    state.chosen = inOrder().find((index) => !isDone(index)) ?? inOrder()[0];
  }
  if (other) {
    state.drag = null;
    fitView();
  }
  cards[place].item.scrollIntoView({ block: "nearest", inline: "nearest" });
  showPrediction();
  showMarks();
  showImages();
  showHint();
  const following = arranged[arranged.indexOf(place) + 1];
  if (other && following !== undefined) setTimeout(() => readAhead(following), 300);
}

// An image that cannot be shown: nothing of the one before stays.
function showUnusable(place, words) {
  Object.assign(state, { place, image: null, marks: [], drag: null });
  byId("image-name").textContent = byId("image-name").title = state.about.images[place];
  byId("waiting").textContent = words;
  byId("waiting").hidden = false;
  byId("zoom").textContent = "";
  byId("others-label").hidden = true;
  for (const layer of layers) layer.replaceChildren();
  byId("film").width = 1; // empties it; the next image sets it anew
  stage.classList.remove("moving", "dragging");
  drawLoupe();
  showPrediction();
  showShape();
  showLandmarks();
  showImages();
}

// The pixels of the next image are asked for while this one is looked at.
let ahead = null;
function readAhead(place) {
  if (ahead?.place === place) return;
  const pixels = loadFilm(place);
  pixels.catch(() => { ahead = null; });
  ahead = { place, pixels };
}

function takeAhead(place) {
  const pixels = ahead?.place === place ? ahead.pixels : loadFilm(place);
  ahead = null;
  return pixels;
}

function showPrediction() {
  const prediction = found();
  byId("regions-label").hidden = !prediction?.ellipses;
  byId("unlike").hidden = !prediction?.unlike;
  byId("unlike").textContent = prediction?.unlike ? `${prediction.words}: do not rely on the model's points.` : "";
  arrangeLandmarks();
}

async function showHint() {
  try {
    state.hint = await askJson("/api/hint");
  } catch {
    return;
  }
  showShape();
  showChosen();
  drawMarks();
}

function showMarks() {
  if (!state.image) return;
  if (state.news) {
    state.news.done[state.place] = state.marks.filter((mark) => mark !== null).length;
    showCard(state.place); // of thousands of images this one alone
    showProgress();
  }
  showLandmarks();
  drawMarks();
}

// The server's word after a change.
function takeSaved(place, answer) {
  if (state.news) state.news.revisions[place] = answer.revision;
  if (place !== state.place || state.drag || queue.some((each) => each.place === place)) return;
  state.image = answer;
  state.marks = answer.marks.map(copy);
  showMarks();
}

function choose(index) {
  state.chosen = index;
  rows[index].item.scrollIntoView({ block: "nearest", inline: "nearest" });
  showLandmarks();
  drawMarks();
}

// What happened elsewhere: other pages, the model, another program.
let asking = 0;
let lost = false; // whether the last one was not answered
async function askNews() {
  clearTimeout(asking);
  try {
    const before = state.news;
    const news = await askJson("/api/news");
    if (!isSaved()) Object.assign(news, { done: before.done, revisions: before.revisions });
    state.news = news;
    if (news.trouble) showTrouble(news.trouble, "Try again", askNews);
    else if ((before?.trouble || lost) && isSaved()) showTrouble("");
    lost = false;
    const mine = known.get(state.place);
    const newer = mine && isSaved() && !state.drag && mine.revision !== news.revisions[state.place];
    const told = Boolean(news.predicted?.[state.place]) && !state.image?.prediction;
    if (news.suggesting?.done && !suggested) {
      suggested = true;
      const begun = looked.filter((place) => place === state.place || news.done[place]); // the list is there only now
      if (byId("order").value === "suggest") looked.splice(0, looked.length, ...begun);
    }
    arrangeImages();
    showImages();
    showWork(news);
    showModel(news);
    if (newer) say("changed elsewhere: shown anew");
    if (newer || (told && state.image && !state.drag)) await show(state.place, newer);
  } catch (error) {
    if (error.status === 0) {
      lost = true;
      showTrouble(error.message, "Try again", askNews);
    }
  }
  asking = setTimeout(askNews, 2000);
}

// Whose points are shown; a new model is taken up on any page.
function showModel({ model, model_title: title }) {
  byId("model").hidden = !model;
  byId("model").textContent = model ? `points of ${model}` : "";
  byId("model").title = title ?? "";
}

// What goes on in the background.
function showWork({ looked, predicted, suggesting }) {
  const words = [];
  if (predicted !== undefined && looked < predicted.length) {
    words.push(`The model looks at the images: ${looked} of ${predicted.length}.`);
  }
  if (suggesting && !suggesting.done) words.push(`Comparing the images, ${suggesting.looked} of ${suggesting.of}: the order follows.`);
  if (suggesting?.trouble) words.push(`No suggestions: ${suggesting.trouble}.`);
  byId("work").hidden = !words.length;
  byId("work").textContent = words.join(" ");
}

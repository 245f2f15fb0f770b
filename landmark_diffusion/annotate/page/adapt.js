// Learning from the marks: the command to copy, and ldx adapt in the background with its last lines.
let adaptAsking = 0;
let adaptRunning = false;
let adaptSeen = false; // whether the dialog was opened since it ended

async function askAdapt(order = "") {
  clearTimeout(adaptAsking);
  let adaptation;
  try {
    adaptation = await askJson(order ? `/api/adapt/${order}` : "/api/adapt", order ? {} : undefined);
  } catch (error) {
    byId("adapt-words").textContent = error.message;
    if (adaptRunning) adaptAsking = setTimeout(askAdapt, 3000);
    return;
  }
  showAdapt(adaptation);
  if (byId("adapt").open || adaptation.running) adaptAsking = setTimeout(askAdapt, 1500);
}

function adaptWords({ can_run: canRun, least, target, running, code, stopped, unfinished, outcome, start, marked }) {
  const images = `${marked} ${marked === 1 ? "image has" : "images have"} marks`;
  const goesOn = "the same command goes on with it, or begins anew where marks have changed since.";
  if (running) return "It learns the marks that were there when it began; you can go on marking. Stopped, the same command goes on.";
  if (code === 0) return `Done: ${target} was written. ${outcome?.words ? asSentence(outcome.words) : "Its last lines say whether it helped."}`;
  if (stopped && code !== null) return unfinished ? `Stopped. What it has learned so far is kept: ${goesOn}` : "Stopped before it had learned anything.";
  if (code !== null) return "It ended without a model; its last lines say why.";
  if (!canRun) return `${images}. Without a model to begin with, a training from scratch is this; it takes many images and hours.`;
  if (marked < least) return `${images}; a model is adapted from ${least} on.`;
  if (unfinished) return `An adaptation of ${start} that was stopped lies in ${unfinished}: ${goesOn}`;
  return `${images}: ${start} is adapted to all of them, in some minutes to an hour.`;
}

// That the model which is shown is not the one to begin with, or that the one to begin with has learned images.
function startWords({ start, shown, start_adapted: adapted }) {
  if (adapted) return `${start} was adapted to images itself. If these are among them, errors and regions will look better than they are: end this, and name the model that it came from by --start.`;
  return start && shown !== start ? `Each adaptation begins with ${start}, not with ${shown}, which is shown: that has learned these images, and could not be judged by them.` : "";
}

const asSentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

function showAdapt(adaptation) {
  const { command, can_run: canRun, least, running, code, unfinished, outcome, lines, marked } = adaptation;
  const harmed = code === 0 && outcome?.kind === "harmed";
  adaptRunning = running;
  byId("adapt-words").textContent = adaptWords(adaptation);
  byId("adapt-start-words").textContent = startWords(adaptation);
  byId("adapt-start-words").hidden = !startWords(adaptation) || running;
  byId("adapt-harm").hidden = !harmed;
  byId("adapt-harm").textContent = harmed ? `The new model errs more on your images than ${adaptation.start} does: mark more images, and learn again.` : "";
  byId("adapt-command").textContent = command;
  byId("adapt-start").hidden = !canRun || running;
  byId("adapt-start").disabled = marked < least;
  byId("adapt-start").textContent = unfinished ? "Go on with it here" : "Start it here";
  byId("adapt-stop").hidden = !running;
  byId("adapt-use").hidden = running || code !== 0;
  byId("adapt-use").textContent = ["harmed", "unclear"].includes(outcome?.kind) ? "Use the new model all the same" : "Use the new model";
  const output = byId("adapt-lines");
  output.hidden = !lines.length;
  const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 30;
  output.textContent = lines.join("\n");
  if (atEnd) output.scrollTop = output.scrollHeight;
  showAdaptNews(adaptation);
}

// In the header, for who goes on marking: that it learns, and that it has ended, until the dialog is opened.
function showAdaptNews({ running, code, stopped, target }) {
  byId("adapt-open").textContent = running ? "Learning\u2026" : "Learn from it\u2026";
  adaptSeen = !running && code !== null && (adaptSeen || byId("adapt").open);
  const ended = running || code === null || adaptSeen || (stopped && code !== 0);
  byId("adapt-news").textContent = ended ? "" : code === 0 ? `${target} is ready` : "learning ended without a model";
  byId("adapt-news").className = code === 0 ? "small" : "small bad";
}

async function useModel() {
  byId("adapt-words").textContent = "Loading the model\u2026";
  await askAdapt("use");
  await askNews();
  if (state.place !== null) await show(state.place);
  showHint();
}

function startAdapt() {
  byId("adapt-open").hidden = !state.about.adapt;
  if (state.about.adapt) askAdapt(); // one may run since before the page was loaded
  listen("adapt-open", "click", () => {
    byId("adapt").showModal();
    askAdapt();
  });
  listen("adapt-start", "click", () => askAdapt("start"));
  listen("adapt-stop", "click", () => askAdapt("stop"));
  listen("adapt-use", "click", useModel);
  listen("adapt-copy", "click", async () => {
    await navigator.clipboard.writeText(byId("adapt-command").textContent);
    byId("adapt-copy").textContent = "Copied";
  });
}

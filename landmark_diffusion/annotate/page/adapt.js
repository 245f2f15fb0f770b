// Learning from the marks: the command to copy, and ldx adapt in the background with its last lines.
let adaptAsking = 0;

async function askAdapt(order = "") {
  clearTimeout(adaptAsking);
  let adaptation;
  try {
    adaptation = await askJson(order ? `/api/adapt/${order}` : "/api/adapt", order ? {} : undefined);
  } catch (error) {
    byId("adapt-words").textContent = error.message;
    return;
  }
  showAdapt(adaptation);
  if (byId("adapt").open || adaptation.running) adaptAsking = setTimeout(askAdapt, 1500);
}

function showAdapt({ command, can_run: canRun, least, target, running, code, stopped, lines, marked }) {
  const enough = marked >= least;
  const images = `${marked} ${marked === 1 ? "image has" : "images have"} marks`;
  const words = running ? "It runs; you can go on marking. Stopped, the same command goes on."
    : code === 0 ? `Done: ${target} was written. Its last lines say whether it helped.`
      : stopped && code !== null ? "Stopped. What it has learned so far is kept, and the same command goes on with it."
      : code !== null ? "It ended without a model; its last lines say why."
        : canRun ? `${images}: the model is adapted to all of them, in some minutes to an hour.`
          : `${images}. Without a model to begin with, a training from scratch is this; it takes many images and hours.`;
  byId("adapt-words").textContent = canRun && !enough && code === null && !running ? `${images}; a model is adapted from ${least} on.` : words;
  byId("adapt-command").textContent = command;
  byId("adapt-start").hidden = !canRun || running;
  byId("adapt-start").disabled = !enough;
  byId("adapt-start").textContent = code !== null && code !== 0 ? "Go on with it here" : "Start it here";
  byId("adapt-stop").hidden = !running;
  byId("adapt-use").hidden = running || code !== 0;
  const output = byId("adapt-lines");
  output.hidden = !lines.length;
  const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 30;
  output.textContent = lines.join("\n");
  if (atEnd) output.scrollTop = output.scrollHeight;
  byId("adapt-open").textContent = running ? "Learning\u2026" : "Learn from it\u2026";
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

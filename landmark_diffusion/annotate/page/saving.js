// Changes on their way to the server: one request at a time, in order, each kept until it is answered.
const queue = []; // {place, marks: {index: mark or null}}
let sending = false;
let later = 0;

const isSaved = () => !queue.length && !sending;

function save(place, marks) {
  const last = queue.at(-1);
  if (last && last.place === place && !last.sent) Object.assign(last.marks, marks);
  else queue.push({ place, marks, sent: false });
  say("saving\u2026");
  send();
}

// Waits a moment for more of the same: a held arrow key moves thirty times a second.
function saveSoon(place, marks) {
  const last = queue.at(-1);
  if (last && last.place === place && !last.sent) Object.assign(last.marks, marks);
  else queue.push({ place, marks, sent: false });
  say("saving\u2026");
  clearTimeout(later);
  later = setTimeout(send, 150);
}

async function send() {
  clearTimeout(later);
  if (sending || !queue.length) return;
  sending = true;
  const change = queue[0];
  change.sent = true;
  try {
    const answer = await askJson(`/api/images/${change.place}/marks`, {
      revision: known.get(change.place).revision, marks: change.marks,
    });
    queue.shift();
    known.set(change.place, answer);
    takeSaved(change.place, answer);
    showTrouble("");
    say(`saved ${new Date().toLocaleTimeString()}`, "good");
  } catch (error) {
    change.sent = false;
    sending = false;
    failed(change, error);
    return;
  }
  sending = false;
  send();
}

function failed(change, error) {
  say("NOT SAVED", "bad");
  if (error.status === 409) {
    showTrouble(`${error.message}: your last change of it was not saved`, "Reload the image", () => reload(change.place));
  } else if (error.status === 0 || error.status >= 500 || error.status === 422) {
    showTrouble(`not saved: ${error.message}. Your last change is kept in this page`, "Try again", send);
    if (error.status !== 422) later = setTimeout(send, 3000);
  } else {
    showTrouble(`not saved: ${error.message}`, "Reload the image", () => reload(change.place));
  }
}

// Drops what was not saved of an image, and shows it as it is.
async function reload(place) {
  for (let at = queue.length - 1; at >= 0; at--) if (queue[at].place === place) queue.splice(at, 1);
  history_.forget(place);
  showTrouble("");
  say("");
  known.delete(place);
  await show(state.place, true);
  send();
}

addEventListener("beforeunload", (event) => {
  if (!isSaved()) event.preventDefault();
});

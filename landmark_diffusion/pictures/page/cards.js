// The images of a detection: cards with thumbnails.

const cards = images.map((image, index) => {
  const small = stored("thumbnail", index);
  const thumb = small
    ? make("img", { class: "thumb", alt: "", loading: "lazy", decoding: "async", src: jpeg(small) })
    : make("span", { class: "thumb" });
  const words = make("span", { class: "text" }, make("span", { class: "name" }, image.name));
  const button = make("button", { type: "button", title: image.name }, thumb, words);
  button.addEventListener("click", () => show(index));
  return { item: make("li", {}, button), button, words };
});

const toLookAt = ({ landmarks }) => ({
  doubtful: landmarks.filter(({ doubtful }) => doubtful).length,
  absent: landmarks.filter(({ mark, doubtful }) => mark && !doubtful).length,
});

function refill() {
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
    const { doubtful, absent } = toLookAt(image);
    if (doubtful && !image.unlike) lines.push(make("span", { class: "badge wide" }, `${doubtful} doubtful`));
    if (absent && !image.unlike) lines.push(make("span", { class: "badge absent" }, `${absent} not in the image`));
    if (wide) lines.push(make("span", { class: "badge wide" }, `${wide} uncertain`));
    words.replaceChildren(...lines);
  });
}

function arrange() {
  const values = {
    name: (i) => images[i].name, error: (i) => meanError(images[i]), score: (i) => images[i].score,
    doubtful: (i) => toLookAt(images[i]).doubtful,
  };
  const order = byId("order").value;
  state.shown = sorted(named(), values[order], order === "error" || order === "doubtful");
  byId("cards").replaceChildren(...state.shown.map((index) => cards[index].item));
  showPlace();
}

function markCurrent(index, current) {
  if (!current) return cards[index].button.removeAttribute("aria-current");
  cards[index].button.setAttribute("aria-current", "true");
  cards[index].item.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function startList() {
  byId("order").addEventListener("change", arrange);
  if (images.some((image) => toLookAt(image).doubtful)) {
    byId("order").append(make("option", { value: "doubtful" }, "doubtful points, most first"));
    byId("key").append(
      make("span", { class: "found" }, "\u00d7 point"), make("span", { class: "doubt" }, "\u25c7 doubtful: look at it"),
    );
  }
  refill();
  arrange();
}

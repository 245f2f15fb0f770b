"""Session: what the page asks for and sends, without HTTP: images, marks, who marks, and what others say."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from landmark_diffusion.annotate.adapting import Adapting
from landmark_diffusion.annotate.images import FolderImages, Picture
from landmark_diffusion.annotate.landmarks import Shares, shares_of_labels
from landmark_diffusion.annotate.marks import mark_json, read_mark
from landmark_diffusion.annotate.predictions import Predictor
from landmark_diffusion.annotate.store import Store
from landmark_diffusion.annotate.suggesting import Suggester
from landmark_diffusion.annotate.table import ImageCells
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.labels.label_set import Mark

HINTED = 50
"""Marked images of which the mean shape is made, at most."""


class NoImageError(UserError):
    """An image that is asked for and is not there."""


@dataclass
class Session:
    """One annotator at work on one folder.

    Attributes:
        images: of the folder.
        store: their marks.
        annotator: whose marks are made.
        blind: whether this annotator sees neither a model's points nor other annotators'.
        shape: where each landmark usually lies by a model; what is not known is learned from the marks that there are.
        predictor: what a model finds, already started; None without a model, and for who is blind.
        suggester: which images to mark next, already started; None where nobody asked.
        adapting: what can be learned from the marks.
        model_title: the file whose points are shown, and what it learned.
    """

    images: FolderImages
    store: Store
    annotator: str
    blind: bool = False
    shape: Shares | None = None
    predictor: Predictor | None = None
    suggester: Suggester | None = None
    adapting: Adapting | None = None
    model_title: str = ""

    def __post_init__(self) -> None:
        self._closed = threading.Event()
        if self.shape is None or None in self.shape:
            threading.Thread(target=self._read_sizes, daemon=True).start()

    def close(self) -> None:
        """End what runs in the background."""
        self._closed.set()
        for each in (self.predictor, self.suggester, self.adapting):
            if each is not None:
                each.close()

    @property
    def landmarks(self) -> tuple[str, ...]:
        """Names of the landmarks."""
        return self.store.landmarks

    def is_finished(self, place: int) -> bool:
        """Whether this annotator has said something of every landmark of an image."""
        return self.store.count(self.images.table_names[place], self.annotator) >= len(self.landmarks)

    def about(self) -> dict[str, Any]:
        """What does not change."""
        return {
            "folder": str(self.images.root),
            "table": self.store.path.name,
            "annotator": self.annotator,
            "blind": self.blind,
            "model": None if self.predictor is None else self.predictor.model,
            "model_title": self.model_title,
            "suggest": self.suggester is not None,
            "adapt": self.adapting is not None,
            "landmarks": list(self.landmarks),
            "images": [each.name for each in self.images.images],
        }

    def news(self) -> dict[str, Any]:
        """How far the work is: for each image its revision and how many landmarks are done."""
        trouble = ""
        try:
            self.store.refresh()
        except (UserError, OSError) as error:
            trouble = str(error)
        names = self.images.table_names
        return {
            "revisions": [self.store.revision(name) for name in names],
            "done": [self.store.count(name, self.annotator) for name in names],
            "reloaded": self.store.reloaded,
            "trouble": trouble,
            "model_title": self.model_title,
            **({} if self.predictor is None else self.predictor.summary()),
            **({} if self.suggester is None else self.suggester.summary()),
        }

    def image(self, place: int) -> dict[str, Any]:
        """Marks of one image, and what others say of it."""
        name = self._name(place)
        if self.predictor is not None:
            self.predictor.want(place)
        marks = self.store.marks(name)
        own = marks.pop(self.annotator, {})
        return {
            "place": place,
            "revision": self.store.revision(name),
            "size": list(self.images.size(place)),
            "marks": [mark_json(own.get(each)) for each in self.landmarks],
            "others": [] if self.blind else self._others(marks),
            "prediction": None if self.predictor is None else self.predictor.found(place),
        }

    def picture(self, place: int) -> Picture:
        """An image's pixels; raises DataError for one that cannot be used."""
        self._name(place)
        return self.images.picture(place)

    def change(self, place: int, sent: Any) -> dict[str, Any]:
        """Take what the page sends: ``{"revision": 3, "marks": {"4": {...} or null}}`` by the landmark's place.

        Raises UserError for what is none, StaleError and what else ``Store.change`` raises.
        """
        name = self._name(place)
        revision, marks = _read_change(sent)
        size = self.images.size(place)
        changes = {}
        for key, value in marks.items():
            landmark = self._landmark(key)
            changes[landmark] = read_mark(value, size, landmark)
        about = ImageCells(size, self.images.picture(place).levels.spacing)
        self.store.change(name, self.annotator, revision, changes, about)
        return self.image(place)

    def adaptation(self, order: str = "") -> dict[str, Any]:
        """What can be learned from the marks; ``order`` is "start", "stop", "use" (the new model) or nothing.

        Raises UserError where it cannot be done, and for a model that cannot be used.
        """
        if self.adapting is None:
            raise UserError("nothing is learned here")
        if order == "start":
            self.adapting.start()
        elif order == "stop":
            self.adapting.stop()
        elif order == "use":
            self._use(self.adapting)
        marked = {name for name in self.store.images() if self.store.marks(name)}
        return {**self.adapting.summary(), "marked": sum(name in marked for name in self.images.table_names)}

    def _use(self, adapting: Adapting) -> None:
        from landmark_diffusion.annotate.predictions import Predictor, model_shape
        from landmark_diffusion.annotate.told import model_title
        from landmark_diffusion.detection.detector import Detector

        path = adapting.target
        if not path.is_file():
            raise UserError(f"{path} is not there yet; adapt first")
        before = self.predictor
        options = {} if before is None else {"device": str(before.detector.device)}
        detector = Detector.load(path, **options)
        adapting.taken(path)
        self.shape = model_shape(detector, self.landmarks)
        if not self.blind:
            self.model_title = model_title(path, detector.facts)
            self.predictor = Predictor(detector, self.images.images, self.landmarks, self.is_finished)
            self.predictor.start()
        if before is not None:
            before.close()

    def hint(self) -> Shares:
        """Where each landmark usually lies."""
        found: list[tuple[Iterable[Mapping[str, Mark]], tuple[int, int]]] = []
        for place, name in enumerate(self.images.table_names):
            size = self.images.known_size(place)
            marks = self.store.marks(name) if size is not None else {}
            if self.blind:
                marks = {who: own for who, own in marks.items() if who == self.annotator}
            if size is not None and marks and len(found) < HINTED:
                found.append((marks.values(), size))
        learned = shares_of_labels(self.landmarks, found)
        return [given or own for given, own in zip(self.shape or learned, learned, strict=True)]

    def _others(self, marks: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                "annotator": who,
                "marks": [mark_json(own.get(each)) for each in self.landmarks],
            }
            for who, own in sorted(marks.items())
            if any(each in own for each in self.landmarks)
        ]

    def _name(self, place: int) -> str:
        if not 0 <= place < len(self.images):
            raise NoImageError(f"found image {place}, expected 0 to {len(self.images) - 1}")
        return self.images.table_names[place]

    def _landmark(self, key: str) -> str:
        if not key.isascii() or not key.isdigit() or int(key) >= len(self.landmarks):
            raise UserError(f"marks: found landmark {key!r:.20}, expected 0 to {len(self.landmarks) - 1}")
        return self.landmarks[int(key)]

    def _read_sizes(self) -> None:
        """Read some marked images, so that the mean shape is known before they are looked at."""
        marked = set(self.store.images())
        places = [place for place, name in enumerate(self.images.table_names) if name in marked]
        for place in places[:: max(1, len(places) // 20)][:20]:
            if self._closed.is_set():
                return
            try:
                self.images.size(place)
            except UserError:
                continue  # told where it is looked at


def _read_change(sent: Any) -> tuple[int, dict[str, Any]]:
    if not isinstance(sent, dict) or set(sent) != {"revision", "marks"}:
        raise UserError(f"found {sent!r:.80}, expected revision and marks")
    revision, marks = sent["revision"], sent["marks"]
    if type(revision) is not int or not isinstance(marks, dict) or not marks:
        raise UserError(f"found revision {revision!r:.20} and marks {marks!r:.60}, expected a number and a mapping")
    return revision, marks

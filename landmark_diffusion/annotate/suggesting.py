"""Which images to mark next, found in the background by what ``ldx suggest`` does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.studies.suggest.pool import PoolImage, drawn

if TYPE_CHECKING:
    from landmark_diffusion.annotate.predictions import Predictor


class Suggester:
    """Ranks images in a thread of its own, until it is done or ``close``.

    Args:
        images: of the folder.
        labelled: places of the images that have marks when it begins: they count as covered.
        count: images to suggest.
        predictor: whose model weighs the images, in turns with its own work; None goes by what they look like.
    """

    def __init__(
        self, images: Sequence[PoolImage], labelled: set[int], count: int, predictor: Predictor | None = None
    ) -> None:
        self._images, self._labelled, self._count, self._predictor = images, labelled, count, predictor
        self._asked = drawn(images, labelled, 0)
        self._lock = threading.Lock()
        self._looked = 0
        self._found: dict[int, tuple[int, str]] = {}
        self._trouble = ""
        self._done, self._closed = False, False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the image that is being looked at."""
        self._closed = True

    def summary(self) -> dict[str, Any]:
        """Rank and reason of each image, null for one that is not suggested, and how far it is."""
        with self._lock:
            found = [self._found.get(place) for place in range(len(self._images))]
            return {
                "ranks": [None if each is None else each[0] for each in found],
                "reasons": [None if each is None else each[1] for each in found],
                "suggesting": {
                    "looked": self._looked, "of": len(self._asked), "done": self._done, "trouble": self._trouble
                },
            }  # fmt: skip

    def _work(self) -> None:
        try:
            found = self._find()
        except UserError as error:
            self._end({}, str(error))
        except Exception as error:  # no memory: the page goes on without
            self._end({}, one_line(error))
        else:
            self._end(found, "")

    def _end(self, found: dict[int, tuple[int, str]], trouble: str) -> None:
        with self._lock:
            self._found, self._trouble, self._done = found, trouble, True

    def _find(self) -> dict[int, tuple[int, str]]:
        from landmark_diffusion.studies.suggest.belief import Belief
        from landmark_diffusion.studies.suggest.suggestion import pool_distances, suggest

        detector = None if self._predictor is None else self._predictor.detector
        turn = nullcontext() if self._predictor is None else self._predictor.turn
        places, views, beliefs = [], [], []
        for place in self._asked:
            if self._closed:
                return {}
            with turn:
                seen = _seen(self._images[place], detector)
            if seen is not None:
                places.append(place)
                views += seen.views
                beliefs += [] if seen.belief is None else [seen.belief]
            with self._lock:
                self._looked += 1
        belief = Belief.join(beliefs) if beliefs else None
        covered = [at for at, place in enumerate(places) if place in self._labelled]
        names = () if detector is None else detector.facts.landmark_names
        chosen = suggest(pool_distances(views, belief), self._count, covered, belief, names)
        return {places[each.place]: (each.rank, each.reason) for each in chosen}


def _seen(image: PoolImage, detector: Any) -> Any:
    """What one image looks like and what a model says of it; None for one that cannot be used."""
    from landmark_diffusion.studies.suggest.looking import look_at

    silent: Callable[[Any], object] = lambda _: None  # noqa: E731 - told where it is looked at
    try:
        return look_at([image], detector, 1, silent, silent)
    except UserError:
        return None

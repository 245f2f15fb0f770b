"""What a model finds, asked for in the background: the image that is looked at first, then those that come next."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.annotate.landmarks import Shares, places_of
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.studies.suggest.pool import PoolImage

if TYPE_CHECKING:
    from landmark_diffusion.detection.detection import Detection
    from landmark_diffusion.detection.detector import Detector

MODEL_WIDTH = 640.0
"""Width of the network in whose pixels a model's mean shape is."""
UNLIKE_DOUBT = 1000.0
"""Doubt of an image that is unlike, in percent of the width: before all others."""


class Predictor:
    """Runs a model over images in a thread of its own, until ``close``.

    Args:
        detector: the model.
        images: of the folder.
        names: landmarks of the page, in its order; those that the model does not know have no point.
        finished: tells whether an image is done, so that it comes last.
    """

    def __init__(
        self, detector: Detector, images: Sequence[PoolImage], names: Sequence[str], finished: Callable[[int], bool]
    ) -> None:
        self.detector, self.model = detector, detector.model
        self._images, self._finished = images, finished
        self._places = places_of(names, detector.facts.landmark_names)
        self._found: dict[int, dict[str, Any]] = {}
        self._failed: dict[int, str] = {}
        self._wanted = 0
        self._changed = threading.Condition()
        self._closed = False
        self.turn = threading.Lock()
        """Held while the model looks at images, which it does one after the other."""
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the image that is being looked at."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def want(self, place: int) -> None:
        """Look at this image next, and then at those behind it."""
        with self._changed:
            self._wanted = place
            self._changed.notify_all()

    def found(self, place: int) -> dict[str, Any] | None:
        """What the page shows of an image; None where it was not looked at yet, or could not be."""
        with self._changed:
            return self._found.get(place)

    def summary(self) -> dict[str, Any]:
        """What lists tell of all images: null for one that was not looked at."""
        with self._changed:
            found = [self._found.get(place) for place in range(len(self._images))]
            failed = len(self._failed)
        return {
            "model": self.model,
            "predicted": [each is not None for each in found],
            "doubts": [None if each is None else each["doubt"] for each in found],
            "doubtful": [0 if each is None else sum(each["doubtful"]) for each in found],
            "unlike": [each is not None and bool(each["unlike"]) for each in found],
            "looked": sum(each is not None for each in found) + failed,
        }

    def _work(self) -> None:
        while (place := self._next()) is not None:
            found, failure = None, ""
            try:
                with self.turn:
                    radiograph = self._images[place].read()
                    found = shown(self.detector(radiograph, name=self._images[place].name), self._places)
            except UserError as error:
                failure = str(error)
            except Exception as error:  # no memory, a device that is gone: the page goes on without
                failure = one_line(error)
            with self._changed:
                if found is None:
                    self._failed[place] = failure
                else:
                    self._found[place] = found

    def _next(self) -> int | None:
        """The image to look at; waits while there is none. None at the end."""
        with self._changed:
            while not self._closed:
                count = len(self._images)
                order: list[int] = [*range(self._wanted, count), *range(self._wanted)]
                left = [place for place in order if place not in self._found and place not in self._failed]
                if left and left[0] == self._wanted:
                    return self._wanted
                if left:
                    unfinished = [place for place in left if not self._finished(place)]
                    return (unfinished or left)[0]
                self._changed.wait()
        return None


def shown(detection: Detection, places: Sequence[int | None]) -> dict[str, Any]:
    """A detection as the page reads it, for landmarks that lie at ``places`` in it.

    Points and ellipses (semi-axes, and degrees from the x axis towards the y axis) are in px of the image, errors in
    ``unit``, doubts order the landmarks of one image, the image's doubt in percent of its width.
    """
    errors, unit = detection.shown_errors
    ellipses, doubts = detection.ellipses(), _doubts(detection)

    def listed(values: np.ndarray | None) -> list[Any]:
        if values is None:
            return [None] * len(places)
        return [None if place is None else _plain(values[place]) for place in places]

    def flags(values: np.ndarray) -> list[bool]:
        return [place is not None and bool(values[place]) for place in places]

    words = detection.unlike_words
    return {
        "points": listed(detection.points),
        "ellipses": None if ellipses is None else listed(ellipses),
        "errors": None if errors is None else listed(errors),
        "unit": unit,
        "level": detection.level,
        "doubts": listed(doubts),
        "doubtful": flags(detection.in_doubt),
        "absent": flags(detection.absent),
        "unlike": bool(detection.unlike),
        "words": f"{words[0].upper()}{words[1:]}" if detection.unlike else "",
        "doubt": UNLIKE_DOUBT if detection.unlike else _image_doubt(detection),
    }


def _plain(values: np.ndarray | float) -> Any:
    if np.ndim(values):
        numbers = [round(float(value), 3) for value in np.asarray(values)]
        return numbers if all(map(math.isfinite, numbers)) else None
    return round(float(values), 6) if math.isfinite(float(values)) else None


def _doubts(detection: Detection) -> np.ndarray | None:
    """A number (N,) that orders landmarks as the list shows them: doubtful ones, absent ones, then by the error.

    Where no error is shown, what the spread says stands for it, or the chance of being far off. None without any.
    """
    shown, _ = detection.shown_errors
    known = [each for each in (shown, _spread(detection), detection.far) if each is not None]
    if not known:
        return None
    size = np.nan_to_num(known[0])
    doubts: np.ndarray = 2.0 * detection.in_doubt + detection.absent + size / (size.max() + 1e-9)
    return doubts


def _spread(detection: Detection) -> np.ndarray | None:
    """Root of the mean squared error (N,) px that a covariance stands for; None without one."""
    if detection.covariance is None:
        return None
    spread: np.ndarray = np.sqrt(np.trace(detection.covariance, axis1=1, axis2=2))
    return spread


def _image_doubt(detection: Detection) -> float | None:
    """Mean expected error in percent of the image's width, or what of the spread stands for it."""
    error = detection.expected_error if detection.expected_error is not None else _spread(detection)
    known = None if error is None else error[~detection.absent]
    return None if known is None or not len(known) else _plain(100 * float(known.mean()) / detection.size[0])


def model_shape(detector: Detector, names: Sequence[str]) -> Shares:
    """Where each landmark of ``names`` usually lies by the model's mean shape; None for one without."""
    prior = getattr(detector.module, "shape_prior", None)
    if prior is None or not prior.is_set:
        return [None] * len(names)
    width, height = detector.size
    mean = prior.mean.detach().cpu().double().numpy().reshape(-1, 2)
    shares = (mean + 0.5) / [MODEL_WIDTH, MODEL_WIDTH * height / width]
    places = places_of(names, detector.facts.landmark_names)
    return [None if place is None else (float(shares[place, 0]), float(shares[place, 1])) for place in places]

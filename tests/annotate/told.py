"""A model's word on phantoms that a test writes itself: in place of a Predictor, which runs a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from landmark_diffusion.annotate.predictions import shown
from landmark_diffusion.detection.detection import Detection
from tests.annotate.folders import NINETEEN, SIZE, places


class ToldPredictor:
    """Says at once that the landmarks of every image lie at ``points`` (N, 2); 3 and 7 are doubtful, 11 absent."""

    model = "told.ldx"

    def __init__(self, points: np.ndarray | None = None, **changes: Any) -> None:
        count = len(NINETEEN)
        flags = np.arange(count)
        found: dict[str, Any] = {
            "name": "phantom", "path": "phantom.png", "size": SIZE, "landmark_names": NINETEEN,
            "points": places() if points is None else points, "level": 0.9,
            "regions": np.tile(np.diag([36.0, 16.0]), (count, 1, 1)), "expected_error": np.linspace(2, 3, count),
            "outside": np.where(flags == 11, 0.9, 0.0), "far": np.where((flags == 3) | (flags == 7), 0.3, 0.01),
            "doubtful": (flags == 3) | (flags == 7),
        }  # fmt: skip
        self.detection = Detection(**(found | changes))
        self.asked: list[int] = []

    def want(self, place: int) -> None:
        """Note it."""
        self.asked.append(place)

    def found(self, place: int) -> dict[str, Any]:
        """The same for all."""
        return shown(self.detection, range(len(NINETEEN)))

    def summary(self) -> dict[str, Any]:
        """Of two images."""
        found = self.found(0)
        return {
            "model": self.model, "predicted": [True] * 2, "doubts": [found["doubt"]] * 2, "doubtful": [2, 2],
            "unlike": [found["unlike"]] * 2, "looked": 2,
        }  # fmt: skip

    def close(self) -> None:
        """Nothing runs."""

"""Prediction: what a method found in one image, in original pixels, beside its annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.metrics.functional import MetricError

LengthUnit = Literal["mm", "px256"]
Unit = Literal["mm", "px", "px256"]
UNIT_WORDS: dict[str, str] = {"px256": "px of 256x256"}
"""What people read instead of the unit's name in files, where that is not plain: pixels of the 256x256 grid."""


@dataclass
class Prediction:
    """The landmarks of one image beside its annotations.

    Args:
        image_id: unique within the dataset.
        index: the sample's place in its dataset.
        points: (N, 2) predicted original pixels (x, y).
        annotations: (A, N, 2) original pixels; NaN where an annotator left a landmark out.
        spacing: ``length_unit`` per original pixel (x, y), or None where it is not known.
        covariance: (N, 2, 2) spread of the prediction in squared original pixels, where the method gives one.
        length_unit: "mm", or "px256": pixels of the image stretched to 256x256, where no mm is known.
        image_size: (W, H) of the original image; protocols that measure on another grid need it.
        outside, missed: (N,) probabilities that a landmark lies outside the image, or within and the image tells
            nothing of it, where the method gives them.
    """

    image_id: str
    index: int
    points: np.ndarray
    annotations: np.ndarray
    spacing: tuple[float, float] | None = None
    covariance: np.ndarray | None = None
    length_unit: LengthUnit = "mm"
    image_size: tuple[int, int] | None = None
    outside: np.ndarray | None = None
    missed: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.points = np.asarray(self.points, dtype=np.float64)
        self.annotations = np.asarray(self.annotations, dtype=np.float64)
        if self.points.ndim != 2 or self.points.shape[1] != 2 or self.annotations.shape[1:] != self.points.shape:
            raise MetricError(
                f"{self.image_id}: found points {self.points.shape} and annotations {self.annotations.shape}, "
                "expected (N, 2) and (A, N, 2)"
            )
        if self.length_unit not in ("mm", "px256"):
            raise MetricError(f"{self.image_id}: found length_unit {self.length_unit!r}, expected 'mm' or 'px256'")

    @property
    def truth(self) -> np.ndarray:
        """Mean of the annotators, (N, 2) original pixels; NaN only where no annotator marked the point."""
        return mean_of_annotators(self.annotations)

    @property
    def unit(self) -> Unit:
        """``length_unit`` where the spacing is known, else "px"."""
        return "px" if self.spacing is None else self.length_unit


def unit_words(unit: str) -> str:
    """Say a unit as people read it: "mm", "px", "px of 256x256"."""
    return UNIT_WORDS.get(unit, unit)


def in_dataset_order(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Sort predictions by their index and keep the first of each: several processes give them interleaved, padded."""
    first: dict[int, Prediction] = {}
    for prediction in predictions:
        first.setdefault(prediction.index, prediction)
    return [first[index] for index in sorted(first)]

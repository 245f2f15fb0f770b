"""Constants: annotators who mark a landmark elsewhere throughout; of the data set, and no fault of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.studies.label_faults.material import LabelMaterial
from landmark_diffusion.studies.label_faults.slips import Witness, model_residuals

LEVEL = 0.95
"""Of all intervals together: that of one is narrower in its doubt by their number (Bonferroni)."""
_WORTH = 0.5
"""A constant is told from this share of the usual distance on."""
MODEL = "the model"


@dataclass(frozen=True)
class ConstantOffset:
    """How one annotator's labels of a landmark lie from others', in the middle of all images.

    Attributes:
        annotator, landmark: places. against: the other annotators, or MODEL.
        offset: (2,) median (x, y) in the unit. low, high: (2,) its interval. images: how many have both.
        usual: the median distance that is left when the offset is taken away.
    """

    annotator: int
    landmark: int
    against: str
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray
    images: int
    usual: float

    @property
    def length(self) -> float:
        """Length of the offset in the unit."""
        return float(np.linalg.norm(self.offset))

    @property
    def is_told(self) -> bool:
        """Whether an interval leaves out zero and the offset is large enough to matter."""
        sure = bool((self.low > 0).any() or (self.high < 0).any())
        return sure and self.length >= _WORTH * self.usual


def constant_offsets(material: LabelMaterial, witnesses: tuple[tuple[Witness, ...], ...]) -> list[ConstantOffset]:
    """Measure every annotator's offset of every landmark, from the other annotators and from the model.

    Images that are unlike are left out of the model's. ``witnesses`` are those of ``Judgement``.
    """
    residuals = model_residuals(material)
    annotators, landmarks = residuals.shape[1:3]
    tables = []
    for annotator in range(annotators):
        if annotators > 1:
            others = mean_of_annotators(np.delete(material.labels, annotator, axis=1))
            against = " and ".join(np.delete(np.array(material.annotators, dtype=object), annotator))
            tables.append((annotator, against, (material.labels[:, annotator] - others) * material.spacing[:, None]))
        like = np.where(material.unlike[:, None, None], np.nan, residuals[:, annotator])
        tables.append((annotator, MODEL, like))
    level = 1 - (1 - LEVEL) / max(2 * landmarks * len(tables), 1)
    return [
        _offset(annotator, landmark, against, table[:, landmark], level)
        for annotator, against, table in tables
        for landmark in range(landmarks)
        if np.isfinite(table[:, landmark]).all(-1).any()
    ]


def median_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Interval of a median by order statistics, whatever the distribution: it holds with at least ``level``.

    ``values`` is (n,); infinite ends where n is too small.
    """
    from scipy.stats import binom

    values, count = np.sort(values), len(values)
    rank = int(binom.ppf((1 - level) / 2, count, 0.5))  # the largest r with P(B < r) <= (1 - level) / 2
    if rank < 1:
        return -np.inf, np.inf
    return float(values[rank - 1]), float(values[count - rank])


def _offset(annotator: int, landmark: int, against: str, values: np.ndarray, level: float) -> ConstantOffset:
    values = values[np.isfinite(values).all(-1)]
    middle = np.median(values, axis=0)
    ends = np.array([median_interval(axis, level) for axis in values.T])
    left = float(np.median(np.linalg.norm(values - middle, axis=-1)))
    return ConstantOffset(annotator, landmark, against, middle, ends[:, 0], ends[:, 1], len(values), left)

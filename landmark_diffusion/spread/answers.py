"""Answers: what a method says of I images in network pixels, as calibration and detection use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Answers:
    """Points and spread of I images with N landmarks, float64 in network pixels.

    Attributes:
        points: (I, N, 2) in use.
        covariance: (I, N, 2, 2) as the method believes it.
        first_points, first_covariance: those of the first guess, where ``points`` came of a chain; else None.
        outside, missed: (I, N) probabilities that a landmark lies outside the image, or within and the image tells
            nothing of it; None where the method cannot tell.
    """

    points: np.ndarray
    covariance: np.ndarray
    first_points: np.ndarray | None = None
    first_covariance: np.ndarray | None = None
    outside: np.ndarray | None = None
    missed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def take(self, images: np.ndarray | slice) -> Answers:
        """Give the answers for some of the images."""
        values = (getattr(self, field.name) for field in fields(self))
        return Answers(*(None if value is None else value[images] for value in values))  # type: ignore[arg-type]

    @classmethod
    def join(cls, parts: Sequence[Answers]) -> Answers:
        """Put the answers of several batches behind each other; a field that one part lacks is left out."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(cls))
        return cls(*(None if any(v is None for v in column) else np.concatenate(column) for column in columns))  # type: ignore[arg-type]

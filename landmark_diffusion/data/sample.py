"""LandmarkSample: one radiograph with its annotations and spacing; the only in-memory form of a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators


@dataclass(frozen=True, slots=True)
class LandmarkSample:
    """One radiograph as it lies on disk, without its pixels.

    Args:
        image_id: unique within the dataset (file stem, or the name in the CSV).
        size: (width, height) of the original image in pixels.
        annotations: (A, N, 2) float64 original pixels (x, y), pixel centres at integers; a missing point is NaN.
        spacing: mm per pixel (x, y), or None where it is not known.
        image_path: the image file; None for an image made on the spot (phantom).
        source: where the annotation was read, "file" or "file:line", for messages.
    """

    image_id: str
    size: tuple[int, int]
    annotations: np.ndarray
    spacing: tuple[float, float] | None = None
    image_path: Path | None = None
    source: str = ""

    @property
    def mean_points(self) -> np.ndarray:
        """Mean of the annotators, (N, 2) original pixels; NaN only where no annotator marked the point."""
        return mean_of_annotators(self.annotations)

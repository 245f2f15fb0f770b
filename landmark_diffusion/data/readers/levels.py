"""Levels: a radiograph's stored values and the grey of each, for who looks at it with another window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_diffusion.data.readers.radiograph import read_radiograph


@dataclass(frozen=True)
class Levels:
    """An image's values, and how they are shown.

    Attributes:
        values: (H, W) uint8 or uint16, from 0.
        table: (L,) uint8, the grey of each value: ``table[values]`` is what ``read_radiograph`` gives.
        spacing: mm a pixel (x, y), None where it is not known.
    """

    values: np.ndarray
    table: np.ndarray
    spacing: tuple[float, float] | None = None


def read_levels(path: Path) -> Levels:
    """Read any file that ``read_radiograph`` reads, and raise what it raises."""
    radiograph = read_radiograph(path)
    return Levels(radiograph.grey, np.arange(256, dtype=np.uint8), radiograph.spacing)

"""Levels: a radiograph's stored values and the grey of each, for who looks at it with another window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_diffusion.data.readers.dicom import is_dicom, read_dicom_levels
from landmark_diffusion.data.readers.image_io import GreyLevels, read_grey_levels


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
    if is_dicom(path):
        levels, spacing = read_dicom_levels(path)
        return _levels(levels, spacing.value)
    return _levels(read_grey_levels(path), None)


def _levels(found: GreyLevels, spacing: tuple[float, float] | None) -> Levels:
    return Levels(found.values.astype(np.uint8 if len(found.table) <= 256 else np.uint16), found.table, spacing)

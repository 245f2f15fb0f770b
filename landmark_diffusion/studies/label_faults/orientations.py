"""The seven ways in which an image or its labels may lie wrongly: points brought back from each, and to it."""

from __future__ import annotations

import numpy as np

from landmark_diffusion.data.forms import BY_NAME

ORIENTATIONS = (
    "mirrored", "upside down", "turned left", "turned right", "flipped", "turned left and mirrored",
    "turned right and mirrored",
)  # fmt: skip
"""Names as in ``data.forms``; that of an image that lies as usual is not among them."""


def undo_pixels(orientation: str, image: np.ndarray) -> np.ndarray:
    """Bring an image (H, W) that lies so to the usual orientation."""
    return BY_NAME[orientation].undo(image)


def undo_points(orientation: str, points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Bring points (..., 2) in an image of ``size`` (width, height) that lies so to where ``undo_pixels`` has them."""
    return BY_NAME[orientation].undo_points(points, _whole(size))


def redo_points(orientation: str, points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Bring points (..., 2) of the brought-back image to where they are in the image of ``size`` that lies so."""
    return BY_NAME[orientation].apply_points(points, _whole(size))


def is_quarter(orientation: str) -> bool:
    """Tell whether width and height change places."""
    return BY_NAME[orientation].is_turned


def _whole(size: tuple[float, float]) -> tuple[int, int]:
    return int(size[0]), int(size[1])

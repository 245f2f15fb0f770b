"""The seven ways in which an image or its labels may lie wrongly: pixels and points brought back from each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landmark_diffusion.detection.reasons import TURNS

_UNDO: dict[str, Callable[[np.ndarray, np.ndarray, int, int], tuple[np.ndarray, np.ndarray]]] = {
    "mirrored": lambda x, y, w, h: (w - 1 - x, y),
    "upside down": lambda x, y, w, h: (w - 1 - x, h - 1 - y),
    "turned left": lambda x, y, w, h: (h - 1 - y, x),
    "turned right": lambda x, y, w, h: (y, w - 1 - x),
    "flipped": lambda x, y, w, h: (x, h - 1 - y),
    "turned left and mirrored": lambda x, y, w, h: (y, x),
    "turned right and mirrored": lambda x, y, w, h: (h - 1 - y, w - 1 - x),
}
ORIENTATIONS = tuple(_UNDO)
"""Names as in ``detection.reasons.TURNS``; that of an image that lies as usual is not among them."""


def undo_pixels(orientation: str, image: np.ndarray) -> np.ndarray:
    """Bring an image (H, W) that lies so to the usual orientation."""
    return np.ascontiguousarray(TURNS[orientation][0](image))


def undo_points(orientation: str, points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Bring points (..., 2) in an image of ``size`` (width, height) that lies so to where ``undo_pixels`` has them."""
    return np.stack(_UNDO[orientation](points[..., 0], points[..., 1], *map(int, size)), axis=-1)


def is_quarter(orientation: str) -> bool:
    """Tell whether width and height change places."""
    return orientation.startswith("turned")


def redo_points(orientation: str, points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Bring points (..., 2) of the brought-back image to where they are in the image of ``size`` that lies so."""
    width, height = map(int, size)
    corner, right, down = undo_points(orientation, np.array([[0, 0], [1, 0], [0, 1]]), (width, height))
    found: np.ndarray = (points - corner) @ np.stack([right - corner, down - corner]).T
    return found

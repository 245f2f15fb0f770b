"""A changed radiograph, and the map of the plane by which its points come back to the original pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

IDENTITY = np.eye(3)


@dataclass(frozen=True)
class ShiftedImage:
    """A radiograph as another device would have given it.

    Attributes:
        grey: (H', W') uint8.
        matrix: (3, 3) projective map of original pixels (x, y, 1) to those of ``grey``, centres at integers.
        hidden: (H', W') bool, where something opaque lies over what the original shows; None for nowhere.
    """

    grey: np.ndarray
    matrix: np.ndarray
    hidden: np.ndarray | None = None

    def to_shifted(self, points: np.ndarray) -> np.ndarray:
        """Map original pixels (..., 2) to pixels of ``grey``; NaN stays NaN."""
        return project(self.matrix, points)

    def to_original(self, points: np.ndarray) -> np.ndarray:
        """Map pixels (..., 2) of ``grey`` to original pixels; NaN stays NaN."""
        return project(np.linalg.inv(self.matrix), points)

    def visible(self, points: np.ndarray) -> np.ndarray:
        """Tell which original points (..., 2) lie within ``grey`` and under nothing opaque, (...) bool; NaN: no."""
        size = np.array(self.grey.shape[::-1])
        there = self.to_shifted(points)
        with np.errstate(invalid="ignore"):
            inside = np.asarray(((there >= -0.5) & (there < size - 0.5)).all(-1))
        if self.hidden is not None:
            column, row = np.clip(np.rint(np.nan_to_num(there)), 0, size - 1).astype(int).reshape(-1, 2).T
            inside = inside & ~self.hidden[row, column].reshape(inside.shape)
        return inside


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a projective map (3, 3) to points (..., 2)."""
    mapped = np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]
    found: np.ndarray = mapped[..., :2] / mapped[..., 2:]
    return found


def shift_by(x: float, y: float) -> np.ndarray:
    """The map (3, 3) that adds (x, y) px."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def about(centre: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """The map (3, 3) that applies a linear one (2, 2) and keeps ``centre`` (2,) where it is."""
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    return np.asarray(shift_by(*centre) @ matrix @ shift_by(*-np.asarray(centre)))


def resampled(grey: np.ndarray, matrix: np.ndarray, fill: int = 0, linear: bool = True) -> np.ndarray:
    """Resample an image (H, W) by a map (3, 3) onto its own canvas; ``fill`` is what comes in from outside."""
    return np.asarray(
        cv2.warpPerspective(
            grey, matrix, grey.shape[::-1], flags=cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT, borderValue=float(fill),
        )
    )  # fmt: skip


def narrowed(grey: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrink an image (H, W) to ``width`` px, averaging over areas: the image, and the map (3, 3) to it.

    An image that is no wider stays as it is.
    """
    height, full = grey.shape
    if full <= width:
        return grey, IDENTITY
    size = (width, max(1, round(height * width / full)))
    scale = np.array(size) / (full, height)
    matrix = np.diag([*scale, 1.0])
    matrix[:2, 2] = 0.5 * scale - 0.5
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA), matrix

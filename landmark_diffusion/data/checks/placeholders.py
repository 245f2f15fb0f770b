"""Points that stand for a missing mark: (0, 0), (-1, -1), or one exact point that many images have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

USUAL = ((0.0, 0.0), (-1.0, -1.0))
"""What programs write for a point that was not marked (COCO with visibility 0, and others)."""

_IMAGES, _SHARE = 3, 0.02
_TIMES = 4
_LANDMARKS = 3


@dataclass(frozen=True)
class Placeholder:
    """One exact point (x, y) and where it stands: ``places`` (K, 3) holds (image, annotator, landmark)."""

    point: tuple[float, float]
    places: np.ndarray

    @property
    def images(self) -> list[int]:
        """The images that have it, each once."""
        return [int(image) for image in np.unique(self.places[:, 0])]


def find_placeholders(points: np.ndarray) -> list[Placeholder]:
    """Find points that stand for missing marks in ``points`` (I, A, N, 2) px; NaN is missing already.

    (0, 0) and (-1, -1) are ones wherever they stand. Another exact point is one if three images and 2 % of them have
    it for three landmarks, or for one landmark four times as often as the next point and away from the others: on a
    coarse grid the usual places are often the same too.
    """
    known = np.isfinite(points).all(-1)
    places, values = np.argwhere(known), points[known]
    if not len(values):
        return []
    # As complex numbers, which sort far quicker than rows; + 0.0 makes -0.0 the same as 0.0.
    single, which, counts = np.unique((values + 0.0) @ np.array([1, 1j]), return_inverse=True, return_counts=True)
    exact = np.stack([single.real, single.imag], axis=-1)
    found = []
    for index in np.flatnonzero((counts >= max(_IMAGES, _SHARE * len(points))) | _is_usual(exact)):
        at = places[which.reshape(-1) == index]
        if _is_usual(exact[index]) or _stands_out(points, known, exact[index], at):
            found.append(Placeholder((float(exact[index, 0]), float(exact[index, 1])), at))
    return found


def without_placeholders(points: np.ndarray) -> np.ndarray:
    """Copy of ``points`` (I, A, N, 2) with NaN in place of those that stand for a missing mark."""
    points = np.array(points, dtype=np.float64)
    for each in find_placeholders(points):
        points[tuple(each.places.T)] = np.nan
    return points


def _is_usual(points: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.any([(points == np.array(usual)).all(-1) for usual in USUAL], axis=0)
    return found


def _stands_out(points: np.ndarray, known: np.ndarray, value: np.ndarray, places: np.ndarray) -> bool:
    """Whether a point that is repeated is more than chance or a coarse grid makes."""
    images = len(np.unique(places[:, 0]))
    if images < max(_IMAGES, _SHARE * len(points)):
        return False
    if images == len(points) and known.shape[2] == 1:
        return True  # the only landmark, in the same place in all images
    landmarks, counts = np.unique(places[:, 2], return_counts=True)
    if len(landmarks) >= _LANDMARKS and counts.max() >= _IMAGES:
        return True
    landmark = int(landmarks[np.argmax(counts)])
    column = points[:, :, landmark][known[:, :, landmark]]
    here = (column == value).all(-1)
    others = column[~here]
    if not len(others):
        return len(np.unique(places[:, 0])) >= _IMAGES
    next_most = int(np.unique(others @ np.array([1, 1j]), return_counts=True)[1].max())
    middle = np.median(others, axis=0)
    usual = float(np.median(np.linalg.norm(others - middle, axis=-1)))
    return bool(here.sum() >= _TIMES * next_most and np.linalg.norm(value - middle) > 2 * max(usual, 0.5))

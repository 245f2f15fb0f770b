"""Points of few images that do not look like the others': each image's shape is laid over the shape of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_IMAGES = 3
"""Of two images that differ nobody can say which is wrong."""
MIN_LANDMARKS = 4
"""Three points, one of them wrong, can be laid over three others in more than one way."""
FEWEST = 5

LIMIT, FEWEST_LIMIT = 5.5, 8.0
"""A point is doubted beyond this multiple of the median distance (its landmark's, or that of all landmarks where it is
larger); the second for up to FEWEST images, whose median is uncertain. Chosen on 40 sets of 10 real images without
a fault, whose largest multiple has a 97 % quantile of 4.5 (ISBI 2015) and 5.0 (chests);
`tools/label_faults.py` measures what is found and doubted wrongly."""
GROSS = 0.15
"""A doubted point is also at least so far off, as a share of the shape's radius: fewer images tell no finer fault."""

_TURN, _SCALE = np.radians(45.0), 1.6  # an image's shape is turned and scaled by no more than this
_PAIRS = 200
_TUNING = 4.0  # points beyond so many median distances weigh less
_ROUNDS, _STEPS = 3, 5

Doubt = tuple[int, int, float, float]  # image, landmark, distance, usual distance


def doubted_by_shape(points: np.ndarray, usable: np.ndarray) -> list[Doubt]:
    """Find points far from the others' place once the images' shapes are laid over each other.

    ``points`` are (I, N, 2) px, ``usable`` (I, N) says which are known. Finds nothing in fewer than MIN_IMAGES images
    or MIN_LANDMARKS landmarks, and in an image with fewer points.
    """
    shapes = np.where(usable, points[..., 0] + 1j * points[..., 1], np.nan)
    enough = usable.sum(1) >= MIN_LANDMARKS
    shapes[~enough] = np.nan
    if enough.sum() < MIN_IMAGES:
        return []
    known = Shapes.of(shapes)
    distance = known.distance
    limit = FEWEST_LIMIT if enough.sum() <= FEWEST else LIMIT
    judged = np.isfinite(distance) & (np.isfinite(distance).sum(0) >= MIN_IMAGES)
    if not judged.any():
        return []
    far = judged & (np.nan_to_num(distance) > np.fmax(limit * known.usual, GROSS * known.radius))
    return [(int(i), int(n), float(distance[i, n]), float(known.usual[n])) for i, n in np.argwhere(far)]


@dataclass(frozen=True)
class Shapes:
    """What images' shapes have in common: their median shape ``reference`` (N,) complex, x + iy, NaN where unknown; its
    ``radius`` (RMS) in px; each point's ``distance`` (I, N) from it laid over the image, and the ``usual`` one (N,)."""

    reference: np.ndarray
    radius: float
    distance: np.ndarray
    usual: np.ndarray

    @classmethod
    def of(cls, shapes: np.ndarray) -> Shapes:
        """Take shapes (I, N) complex; NaN where a point is missing."""
        reference, radius = _reference(shapes)
        distance = np.abs(shapes - np.stack([_laid_over(reference, shape) for shape in shapes]))
        judged = np.isfinite(distance) & (np.isfinite(distance).sum(0) >= MIN_IMAGES)
        medians = np.array([np.median(d[k]) if k.any() else np.nan for d, k in zip(distance.T, judged.T, strict=True)])
        overall = np.median(medians[np.isfinite(medians)]) if np.isfinite(medians).any() else np.nan
        return cls(reference, radius, distance, np.fmax(np.fmax(medians, overall), 0.5))


def distances_to(known: Shapes, shape: np.ndarray) -> np.ndarray:
    """Distance of each point of one more shape (N,) complex from the reference laid over it, px; NaN if unknown."""
    distances: np.ndarray = np.abs(shape - _laid_over(known.reference, shape))
    return distances


def _reference(shapes: np.ndarray) -> tuple[np.ndarray, float]:
    """The median shape once all are laid over each other, (N,), and its radius (RMS) px."""
    spread = np.abs(shapes - _median(shapes))
    cost = [np.median(each[np.isfinite(each)]) if np.isfinite(each).any() else np.inf for each in spread]
    reference = shapes[int(np.argmin(cost))]
    for _ in range(_ROUNDS):
        reference = _median(np.stack([_laid_over(shape, reference) for shape in shapes]))
    known = reference[np.isfinite(reference)]
    return reference, float(np.sqrt(np.mean(np.abs(known - known.mean()) ** 2))) if len(known) else 0.0


def _median(shapes: np.ndarray) -> np.ndarray:
    """Median of each landmark over the images that have it, (N,) complex; NaN where none has."""
    median = np.full(shapes.shape[1], np.nan + 0j)
    for landmark in range(shapes.shape[1]):
        known = shapes[np.isfinite(shapes[:, landmark]), landmark]
        if len(known):
            median[landmark] = np.median(known.real) + 1j * np.median(known.imag)
    return median


def _laid_over(shape: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``shape`` moved, turned and scaled onto ``other`` so that most of their common points meet; NaN if too few."""
    common = np.isfinite(shape) & np.isfinite(other)
    if common.sum() < 3:
        return np.full(shape.shape, np.nan + 0j)
    scale, shift = _refined(shape[common], other[common], *_start(shape[common], other[common]))
    return scale * shape + shift


def _start(points: np.ndarray, others: np.ndarray) -> tuple[complex, complex]:
    """The (scale and turn, shift) given by two points that brings the median point nearest (least median)."""
    first, second = np.triu_indices(len(points), 1)
    step = max(1, len(first) // _PAIRS)
    first, second = first[::step], second[::step]
    apart = points[second] - points[first]
    use = np.abs(apart) > 1e-6
    first, scales = first[use], ((others[second] - others[first])[use] / apart[use])
    allowed = _allowed(scales)
    first, scales = first[allowed], scales[allowed]
    moved = others - points
    scales = np.append(scales, 1.0)  # a mere shift, where no pair of points gives anything
    shifts = np.append(others[first] - scales[:-1] * points[first], np.median(moved.real) + 1j * np.median(moved.imag))
    best = int(np.argmin(np.median(np.abs(scales[:, None] * points + shifts[:, None] - others), axis=1)))
    return complex(scales[best]), complex(shifts[best])


def _refined(points: np.ndarray, others: np.ndarray, scale: complex, shift: complex) -> tuple[complex, complex]:
    """Weighted least squares from a start, in which far points weigh little."""
    for _ in range(_STEPS):
        error = np.abs(scale * points + shift - others)
        weight = 1 / np.fmax(1, error / (_TUNING * max(float(np.median(error)), 1e-6))) ** 2
        weight /= weight.sum()
        middle, target = (weight * points).sum(), (weight * others).sum()
        spread = float((weight * np.abs(points - middle) ** 2).sum())
        if spread <= 1e-9:
            break
        better = complex((weight * (others - target) * np.conj(points - middle)).sum() / spread)
        if not _allowed(np.array(better)):
            break
        scale, shift = better, complex(target - better * middle)
    return scale, shift


def _allowed(scales: np.ndarray) -> np.ndarray:
    size = np.abs(scales)
    allowed: np.ndarray = (np.abs(np.angle(scales)) <= _TURN) & (size <= _SCALE) & (size >= 1 / _SCALE)
    return allowed

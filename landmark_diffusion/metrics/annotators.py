"""What two doctors' annotations say: the human rows, and errors that know there are two truths (docs/conventions.md).

Letters: I images, A annotators, N landmarks. Points are original pixels (x, y); a missing one is NaN, and so is every
result that needs it. ``spacing`` is mm (or px256) per pixel, (2,) or (I, 2); None measures in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.metrics.bootstrap import draw_counts
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.summary import mean_over_images, ratio_of

Spacing = np.ndarray | tuple[float, float] | None


@dataclass(frozen=True)
class Disagreement:
    """How two annotators differ at each landmark, in mm with spacing, else in pixels.

    Since offset and rest are orthogonal over the images, ``rms**2 == constant**2 + rest**2`` for each landmark.

    Args:
        distance: (N,) mean distance between the two.
        offset: (N, 2) mean vector from the first annotator's point to the second's.
        constant: (N,) length of ``offset``: what the doctors understand differently.
        rest: (N,) root mean square of what is left when the offset is taken away: how far they scatter.
        rms: (N,) root mean square distance between the two.
        count: (N,) images in which both marked the landmark.
    """

    distance: np.ndarray
    offset: np.ndarray
    constant: np.ndarray
    rest: np.ndarray
    rms: np.ndarray
    count: np.ndarray

    @property
    def constant_share(self) -> np.ndarray:
        """(N,) part of the mean squared distance that the constant offset explains, 0 to 1; NaN if they agree."""
        return ratio_of(self.constant**2, self.rms**2)


def each_against_mean(annotations: np.ndarray, spacing: Spacing = None) -> np.ndarray:
    """Measure each annotator (I, A, N, 2) against the mean of all, (I, A, N).

    Flattering for people, since each is part of that mean: of two, each is half their distance away from it.
    """
    annotations = _annotations(annotations)
    return _length(annotations - mean_of_annotators(annotations)[:, None], spacing)


def between_annotators(annotations: np.ndarray, spacing: Spacing = None, first: int = 0, second: int = 1) -> np.ndarray:
    """Measure the distance between two annotators, (I, N), from annotations (I, A, N, 2)."""
    return _length(_difference(annotations, first, second), spacing)


def split_disagreement(annotations: np.ndarray, spacing: Spacing = None) -> Disagreement:
    """Split what separates the first two annotators at each landmark into a constant offset and the rest."""
    difference = _scaled(_difference(annotations, 0, 1), spacing)
    both = ~np.isnan(difference).any(-1)
    offset = mean_over_images(difference, both[..., None])
    distance = np.linalg.norm(difference, axis=-1)
    return Disagreement(
        distance=mean_over_images(distance, both),
        offset=offset,
        constant=np.linalg.norm(offset, axis=-1),
        rest=np.sqrt(mean_over_images(np.square(difference - offset).sum(-1), both)),
        rms=np.sqrt(mean_over_images(distance**2, both)),
        count=both.sum(0),
    )


def against_each(points: np.ndarray, annotations: np.ndarray, spacing: Spacing = None) -> np.ndarray:
    """Measure predictions (I, N, 2) against each annotator (I, A, N, 2): (I, A, N)."""
    points, annotations = np.asarray(points, dtype=np.float64), _annotations(annotations)
    if points.shape != (annotations.shape[0], *annotations.shape[2:]):
        raise MetricError(f"found points {points.shape} for annotations {annotations.shape}, expected (I, N, 2)")
    faulty = ~np.isfinite(points).all(-1) & ~np.isnan(annotations).any(-1).all(1)
    if faulty.any():
        image, landmark = np.argwhere(faulty)[0]
        raise MetricError(f"predicted point of image {image}, landmark {landmark} is not finite")
    return _length(points[:, None] - annotations, spacing)


def nearer_annotator(points: np.ndarray, annotations: np.ndarray, spacing: Spacing = None) -> np.ndarray:
    """Measure predictions (I, N, 2) against whichever annotator is nearer at each point: (I, N).

    Flattering for a method in the same way as a mean is for people; print it beside the error against the mean.
    """
    distances = against_each(points, annotations, spacing)
    nearest = np.where(np.isnan(distances), np.inf, distances).min(1)
    return np.where(np.isinf(nearest), np.nan, nearest)


def distance_ratio(
    points: np.ndarray, annotations: np.ndarray, spacing: Spacing = None, first: int = 0, second: int = 1
) -> np.ndarray:
    """Divide the annotators' distance by the sum of the prediction's distances to both, (I, N) in 0 to 1 (paper A, 5).

    1 says that the prediction lies on the straight line between the two, where the doctors themselves disagree; near 0
    it is far from both, measured by their distance. NaN where all three are the same point. It says nothing about
    landmarks on which the doctors agree: there it is near 0 for any error.
    """
    between = between_annotators(annotations, spacing, first, second)
    each = against_each(points, annotations, spacing)
    # Rounding can push a point on the line a hair beyond 1.
    ratio: np.ndarray = np.minimum(ratio_of(between, each[:, first] + each[:, second]), 1.0)
    return ratio


def offset_shift(
    before: np.ndarray, after: np.ndarray, spacing: Spacing = None, n: int = 10_000, seed: int = 0, level: float = 0.95
) -> list[tuple[Interval, Interval]]:
    """Measure how the first two annotators' offset moves from one set of images to another: N intervals (x, y).

    ``before`` (I, A, N, 2) and ``after`` (J, A, N, 2) are annotations of different images; each interval is of the mean
    difference (second annotator minus first) after, less that before, by the percentile bootstrap with ``n`` draws that
    draws the images of both sets again, each by itself. ``images`` counts both sets. NaN where a landmark has no image
    in one of them.
    """
    sets = [_scaled(_difference(each, 0, 1), spacing) for each in (before, after)]
    if sets[0].shape[1:] != sets[1].shape[1:]:
        raise MetricError(f"found {sets[0].shape[1]} landmarks before and {sets[1].shape[1]} after, expected as many")
    rng = np.random.default_rng(seed)
    old, new = (_drawn_means(each, n, rng) for each in sets)
    edges = np.quantile(new - old, [(1 - level) / 2, (1 + level) / 2], axis=0)
    both = [~np.isnan(each).any(-1) for each in sets]
    shift = mean_over_images(sets[1], both[1][..., None]) - mean_over_images(sets[0], both[0][..., None])
    count = both[0].sum(0) + both[1].sum(0)
    found = [
        [Interval(float(m), float(a), float(b), level, int(k)) for m, a, b in zip(*row, strict=True)]
        for *row, k in zip(shift, *edges, count, strict=True)
    ]
    return [(x, y) for x, y in found]


def _drawn_means(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Means (n, N, 2) of values (I, N, 2) over ``n`` draws of I images; a draw is how often each image comes in it."""
    weights = draw_counts(len(values), n, rng)
    there = np.broadcast_to(~np.isnan(values).any(-1, keepdims=True), values.shape)
    total = np.einsum("ki,inc->knc", weights, np.where(there, values, 0.0), optimize=True)
    return ratio_of(total, np.einsum("ki,inc->knc", weights, there.astype(np.float64), optimize=True))


def _annotations(annotations: np.ndarray) -> np.ndarray:
    annotations = np.asarray(annotations, dtype=np.float64)
    if annotations.ndim != 4 or annotations.shape[-1] != 2:
        raise MetricError(f"annotations: found shape {annotations.shape}, expected (I, A, N, 2)")
    return annotations


def _difference(annotations: np.ndarray, first: int, second: int) -> np.ndarray:
    annotations = _annotations(annotations)
    if max(first, second) >= annotations.shape[1]:
        raise MetricError(f"annotators {first} and {second} wanted, found {annotations.shape[1]}")
    difference: np.ndarray = annotations[:, second] - annotations[:, first]
    return difference


def _length(vectors: np.ndarray, spacing: Spacing) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(_scaled(vectors, spacing), axis=-1)
    return lengths


def _scaled(vectors: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Turn pixel vectors (I, ..., 2) into mm."""
    if spacing is None:
        return vectors
    scale = np.asarray(spacing, dtype=np.float64)
    if scale.shape not in ((2,), (len(vectors), 2)) or not (np.isfinite(scale) & (scale > 0)).all():
        raise MetricError(f"spacing: found shape {scale.shape}, expected (2,) or (I, 2), positive, or None")
    return vectors * (scale if scale.ndim == 1 else scale.reshape(len(vectors), *(1,) * (vectors.ndim - 2), 2))

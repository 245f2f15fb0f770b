"""Coverage: how often the truth lies in a region of stated coverage, and how sure that share is.

Letters: I images, N landmarks, S splits. What is drawn again for an interval is whole images, since the landmarks of
one image err together. ``inside`` is what ``statistics.covered`` finds: 1, 0, or NaN where no truth is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from landmark_diffusion.core.interval import Interval
from landmark_diffusion.metrics.bootstrap import draw_counts
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.summary import ratio_of

Evaluate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(calibration images, test images) -> covered (len(test images), N): fit on the first, say which points of the second
lie in their regions (1, 0 or NaN). Both are indices, and those of the calibration may repeat."""


@dataclass(frozen=True)
class Coverage:
    """Share of true points within their regions, 0 to 1, with intervals; NaN where no truth is known.

    ``Interval.images`` counts the test images in which the landmark (overall: any) is known.
    """

    landmarks: tuple[Interval, ...]
    overall: Interval


@dataclass(frozen=True)
class Resplits:
    """Coverage on S random splits: ``overall`` (S,) over all points, ``landmarks`` (S, N)."""

    overall: np.ndarray
    landmarks: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the splits."""
        return float(self.overall.mean())

    @property
    def std(self) -> float:
        """Standard deviation over the splits; they share images, so it is no standard error of the mean."""
        return float(self.overall.std(ddof=1))


def coverage(inside: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of known points that are ``inside`` (I, N): of each landmark (N,), and of all."""
    known = ~np.isnan(inside)
    hits = np.where(known, inside, 0.0).sum(0)
    return ratio_of(hits, known.sum(0)), float(ratio_of(hits.sum(), known.sum()))


def coverage_interval(inside: np.ndarray, n: int = 10_000, seed: int = 0, level: float = 0.95) -> Coverage:
    """Intervals of the coverage of regions as they are, from what is ``inside`` (I, N) in the test images.

    Over all it is the percentile bootstrap of ``n`` draws of images; for one landmark, of which each image has one
    point, Wilson's score interval, which is right also near 100 %, where drawing again a few misses, or none, is not.
    Of one image alone there is nothing to draw, and the ends of the interval over all are NaN. Neither knows that the
    calibration has an error of its own: see ``bootstrap_coverage``.
    """
    known = ~np.isnan(inside)
    hits = np.where(known, inside, 0.0)
    shares, share = coverage(inside)
    drawn = draw_counts(len(inside), n, np.random.default_rng(seed))
    low, high = interval_ends(ratio_of(drawn @ hits.sum(1), drawn @ known.sum(1)), level)
    if known.any(1).sum() < 2:
        low = high = np.nan
    landmarks = [
        Interval(float(each), *_wilson(float(each), int(count), level), level, int(count))
        for each, count in zip(shares, known.sum(0), strict=True)
    ]
    return Coverage(tuple(landmarks), Interval(share, float(low), float(high), level, int(known.any(1).sum())))


def bootstrap_coverage(
    evaluate: Evaluate,
    calibration_images: int,
    test_images: int,
    replicates: int = 1_000,
    seed: int = 0,
    level: float = 0.95,
) -> Coverage:
    """Interval of the coverage that calibrations of this size reach on such test images.

    In each replicate the images of both sets are drawn again, each set by itself; ``evaluate`` refits on the draw of
    calibration images (indices below ``calibration_images``) and says what is covered of all test images (indices
    below ``test_images``), of which the draw is then counted. The ends are percentiles over the replicates, the mean
    is that of both sets as they are.
    """
    rng = np.random.default_rng(seed)
    everything = np.arange(test_images)
    inside = evaluate(np.arange(calibration_images), everything)
    shares, share = coverage(inside)
    found = []
    for _ in range(replicates):
        again = evaluate(rng.integers(0, calibration_images, calibration_images), everything)
        landmarks, overall = coverage(again[rng.integers(0, test_images, test_images)])
        found.append([*landmarks, overall])
    low, high = interval_ends(np.array(found), level)
    known = ~np.isnan(inside)
    counts = [*known.sum(0), known.any(1).sum()]
    *intervals, whole = (
        Interval(float(a), float(b), float(c), level, int(k))
        for a, b, c, k in zip([*shares, share], low, high, counts, strict=True)
    )
    return Coverage(tuple(intervals), whole)


def resplit_coverage(
    evaluate: Evaluate, images: int, calibration_images: int, splits: int = 20, seed: int = 0
) -> Resplits:
    """Coverage on random splits of one set of ``images``: fit on ``calibration_images`` of them, count on the rest.

    Raises MetricError where either part would be empty.
    """
    if not 0 < calibration_images < images:
        raise MetricError(f"found {calibration_images} calibration images of {images}, expected 1 to {images - 1}")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(images) for _ in range(splits)]
    found = [coverage(evaluate(order[:calibration_images], order[calibration_images:])) for order in orders]
    return Resplits(np.array([share for _, share in found]), np.array([shares for shares, _ in found]))


def interval_ends(values: np.ndarray, level: float) -> np.ndarray:
    """Both ends of the interval of each column, (2, ...); NaN where no draw has a value."""
    unknown = np.isnan(values).all(0)
    ends = np.nanquantile(np.where(unknown, 0.0, values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(unknown, np.nan, ends)


def _wilson(share: float, count: int, level: float) -> tuple[float, float]:
    """Score interval of a share of ``count`` independent points (Wilson 1927)."""
    if not count:
        return float("nan"), float("nan")
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre, scale = share + z**2 / (2 * count), 1 + z**2 / count
    half = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)

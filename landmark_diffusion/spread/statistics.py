"""What a spread says of the error, and whether it is true: regions, expected error, ranks, reliability, abstention.

Letters: I images, N landmarks. All arrays are in one unit (mm, or pixels); residuals are truth less prediction,
(I, N, 2). NaN marks what is not known, and counts nowhere. Coverage and its intervals: ``spread/coverage.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landmark_diffusion.metrics.bootstrap import draw_counts
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.summary import ratio_of, within
from landmark_diffusion.spread.coverage import interval_ends

ROUNDING = 1e-4
"""A variance that is negative by less than this share of the larger one is zero, rounded in single precision."""
FLAT = 1e-12
"""An ellipse whose smaller variance is below this share of the larger one has no area in double precision."""
AGM_STEPS = 8
"""Of the arithmetic-geometric mean: the relative error is below 2e-15 for any parameter, and less with no more."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman correlation of spread and error; NaN with fewer than three pairs or where one side does not vary.

    Args:
        pooled: over all points; it also rewards knowing which landmarks are hard.
        landmarks: (N,) over the images of one landmark.
        within: mean of ``landmarks``: knowing in which image a landmark is hard.
    """

    pooled: float
    landmarks: np.ndarray
    within: float


@dataclass(frozen=True)
class Reliability:
    """Actual against expected error in bins of equal count, by the expected error (Levi et al. 2022).

    ``expected``, ``actual`` (means), ``low``, ``high`` (interval of ``actual`` over images at ``level``) and ``count``
    are (bins,).
    """

    expected: np.ndarray
    actual: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    level: float

    @property
    def gap(self) -> float:
        """Mean distance of the bins from the diagonal, weighted by their count: an expected calibration error."""
        return float(np.average(np.abs(self.actual - self.expected), weights=self.count))


@dataclass(frozen=True)
class Abstention:
    """What is left when only the surest are kept: (K,) for 1 to K kept items (points, or whole images).

    Args:
        share: kept share, 1/K to 1.
        mre: mean radial error of the kept, those of the smallest expected error first.
        rate: percent of the kept within ``radius``.
        oracle: mean radial error when the smallest true errors are kept.
        radius: of ``rate``.
    """

    share: np.ndarray
    mre: np.ndarray
    rate: np.ndarray
    oracle: np.ndarray
    radius: float

    @property
    def random(self) -> float:
        """Mean radial error of any number kept at random: that of all."""
        return float(self.mre[-1])

    @property
    def aurc(self) -> float:
        """Area under the risk-coverage curve, the mean of ``mre`` (Geifman, Uziel, El-Yaniv, ICLR 2019)."""
        return float(self.mre.mean())

    @property
    def oracle_aurc(self) -> float:
        """The least that area can be; ``aurc - oracle_aurc`` is E-AURC, the excess."""
        return float(self.oracle.mean())

    @property
    def normalized_excess(self) -> float:
        """E-AURC over that of a random order (NAURC, Cattelan and Silva 2023): 0 perfect, 1 useless, more is harm."""
        worst = self.random - self.oracle_aurc
        return (self.aurc - self.oracle_aurc) / worst if worst > FLAT * self.random else float("nan")

    def kept(self, share: float) -> int:
        """Position of the row in which ``share`` is kept, rounded to whole items, at least one."""
        return max(1, round(share * len(self.share))) - 1


def principal_variances(matrices: np.ndarray) -> np.ndarray:
    """Variances along the axes of symmetric (..., 2, 2) matrices, the larger first: (..., 2).

    Raises MetricError on another shape and on a negative variance.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    if matrices.shape[-2:] != (2, 2):
        raise MetricError(f"found covariances of shape {matrices.shape}, expected (..., 2, 2)")
    middle = (matrices[..., 0, 0] + matrices[..., 1, 1]) / 2
    half = np.hypot((matrices[..., 0, 0] - matrices[..., 1, 1]) / 2, matrices[..., 0, 1])
    smaller = middle - half
    smaller = np.where((smaller <= FLAT * middle) & (smaller >= -ROUNDING * middle), 0.0, smaller)
    if (smaller < 0).any():
        place = tuple(np.argwhere(smaller < 0)[0].tolist())
        raise MetricError(f"the covariance at {place} (image, landmark) has a negative variance, {smaller[place]:g}")
    return np.stack([middle + half, smaller], -1)


def mahalanobis(residuals: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Length of residuals (I, N, 2) in units of their covariance (I, N, 2, 2): (I, N).

    Infinite where the covariance has no area, unless the residual is zero; NaN where either is unknown.
    """
    flat = principal_variances(covariance)[..., 1] <= 0
    residuals, covariance = np.asarray(residuals, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    solvable = np.where(flat[..., None, None], np.eye(2), covariance)
    (x, y), (a, b, d) = np.moveaxis(residuals, -1, 0), (solvable[..., i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    length = np.sqrt((d * x**2 - 2 * b * x * y + a * y**2) / (a * d - b**2))
    return np.where(flat & (length > 0), np.inf, length)


def covered(residuals: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Which residuals (I, N, 2) lie in the ellipse r^T regions^-1 r <= 1: (I, N) of 1, 0, or NaN where unknown.

    A point on the edge counts as inside: the calibration's own points define the edge.
    """
    length = mahalanobis(residuals, regions)
    return np.where(np.isnan(length), np.nan, (length <= 1 + 1e-9).astype(np.float64))


def region_area(regions: np.ndarray) -> np.ndarray:
    """Area of the ellipses r^T regions^-1 r <= 1, from (..., 2, 2): (...), in squared units."""
    area: np.ndarray = np.pi * np.sqrt(principal_variances(regions).prod(-1))
    return area


def expected_radial_error(covariance: np.ndarray) -> np.ndarray:
    """Mean length of a Gaussian vector of mean zero with ``covariance`` (..., 2, 2): (...).

    With variances l1 >= l2 it is sqrt(2 l1 / pi) E(1 - l2 / l1), E the complete elliptic integral of the second kind
    (of the parameter m = k^2); sigma sqrt(pi / 2) where the spread is round.
    """
    larger, smaller = np.moveaxis(principal_variances(covariance), -1, 0)
    ratio = np.divide(smaller, larger, out=np.ones_like(larger), where=larger > 0)
    expected: np.ndarray = np.sqrt(2 * larger / np.pi) * elliptic_e(1 - ratio)
    return expected


def elliptic_e(m: np.ndarray) -> np.ndarray:
    """Complete elliptic integral of the second kind of the parameter m = k^2 in [0, 1], of any shape.

    By the arithmetic-geometric mean (Abramowitz and Stegun 17.6); scipy's costs ``ldx detect`` a start of scipy.
    """
    a, b = np.ones_like(m), np.sqrt(1 - m)
    rest, power = 1 - m / 2, 0.5
    for _ in range(AGM_STEPS):
        a, b, c = (a + b) / 2, np.sqrt(a * b), (a - b) / 2
        power *= 2
        rest = rest - power * c**2
    return np.where(m == 1, 1.0, np.pi / (2 * a) * rest)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation of the pairs that are finite; NaN with fewer than three, or where one side is constant."""
    from scipy.stats import spearmanr

    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def rank_correlation(spread: np.ndarray, error: np.ndarray) -> RankCorrelation:
    """Compare the order of spreads (I, N) with that of errors (I, N)."""
    landmarks = np.array([spearman(*pair) for pair in zip(spread.T, error.T, strict=True)])
    known = landmarks[np.isfinite(landmarks)]
    pooled = spearman(spread.ravel(), error.ravel())
    return RankCorrelation(pooled, landmarks, float(known.mean()) if known.size else float("nan"))


def reliability(
    expected: np.ndarray, actual: np.ndarray, bins: int = 10, n: int = 2_000, seed: int = 0, level: float = 0.95
) -> Reliability:
    """Compare expected with actual errors, both (I, N), in ``bins`` of equal count by the expected one.

    The interval is the percentile bootstrap of ``n`` draws of images, with the bins as they are. Raises MetricError
    where no point has both.
    """
    known = _both_known(expected, actual)
    order = np.argsort(expected[known], kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) * min(bins, len(order)) // len(order)
    shape = (len(expected), int(place.max()) + 1)
    cell = np.ravel_multi_index((known.nonzero()[0], place), shape)
    points, stated, found = (  # sums by image and bin
        np.bincount(cell, weights, shape[0] * shape[1]).reshape(shape)
        for weights in (np.ones(len(order)), expected[known], actual[known])
    )
    drawn, count = draw_counts(len(expected), n, np.random.default_rng(seed)), points.sum(0)
    low, high = interval_ends(ratio_of(drawn @ found, drawn @ points), level)
    return Reliability(stated.sum(0) / count, found.sum(0) / count, low, high, count.astype(np.int64), level)


def abstention_curve(
    expected: np.ndarray, error: np.ndarray, radius: float = 2.0, by_image: bool = False
) -> Abstention:
    """Keep the points (or images, by their mean) with the smallest ``expected`` error (I, N), and measure ``error``.

    Of equally sure ones, every order is as likely: their errors are averaged. Raises MetricError where no point has
    both.
    """
    known = _both_known(expected, error)
    inside = np.where(within(error, radius), 100.0, 0.0)
    if by_image:
        rows, count = known.any(1), known.sum(1)
        sure, loss, rate = (np.where(known, x, 0.0).sum(1)[rows] / count[rows] for x in (expected, error, inside))
    else:
        sure, loss, rate = expected[known], error[known], inside[known]
    _, group = np.unique(sure, return_inverse=True)
    number = np.arange(1, len(sure) + 1)
    mre, hits = (np.cumsum(_group_means(group, x)[np.sort(group)]) / number for x in (loss, rate))
    return Abstention(number / len(sure), mre, hits, np.cumsum(np.sort(loss)) / number, radius)


def _both_known(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Points of which both are known, (I, N) bool, at least one."""
    if expected.shape != actual.shape or expected.ndim != 2:
        raise MetricError(f"found expected errors {expected.shape} and actual ones {actual.shape}, wanted both (I, N)")
    known: np.ndarray = np.isfinite(expected) & np.isfinite(actual)
    if not known.any():
        raise MetricError("no point has both an expected and an actual error")
    return known


def _group_means(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(group, values) / np.bincount(group)

"""SpreadCalibration: a method's covariances become regions that hold the true point as often as they state.

For each landmark two steps. (1) The covariance C becomes S = a C + b I (a temperature and a floor for what no single
image shows, such as how differently doctors mark it), chosen by the Gaussian likelihood of the calibration images'
residuals. (2) The region of a stated coverage is {r : r^T S^-1 r <= q^2}, q the conformal quantile of those images'
Mahalanobis lengths (Vovk et al. 2005; Johnstone and Cox 2021 for ellipsoids). The second step makes the coverage hold
whatever the residuals' distribution is, as long as new images are like those; the first only makes regions small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.spread.statistics import expected_radial_error, mahalanobis

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Stated coverages that are fitted."""
LEVEL = 0.9
"""The one of them that is used unless another is asked for."""

_MIXES = np.linspace(0, 1, 21)
"""Shares of the method's own covariance in S that are tried; the rest is the floor."""


@dataclass(frozen=True)
class Spreads:
    """Spreads of predictions in original pixels, of one image or of all of an evaluation; NaN where there is none.

    Args:
        covariance: (..., N, 2, 2) squared pixels.
        expected_error: (..., N) expected radial errors in pixels.
        regions: (..., N, 2, 2) squared pixels: ellipses r^T regions^-1 r <= 1; None without a calibration.
        level: stated coverage of the regions; None without a calibration.
    """

    covariance: np.ndarray
    expected_error: np.ndarray
    regions: np.ndarray | None = None
    level: float | None = None

    def __post_init__(self) -> None:
        if (self.regions is None) != (self.level is None):
            raise MetricError("spreads: regions and their level belong together, found one without the other")


@dataclass(frozen=True)
class SpreadCalibration:
    """What turns covariances (..., N, 2, 2) in squared network pixels into spread that is true.

    Attributes:
        scale, floor: (N,) a and b of S = a C + b I; b in squared network pixels.
        levels: L stated coverages.
        quantiles: (N, L) Mahalanobis lengths that bound the regions.
        error_factor: (N,) mean actual over mean expected radial error of the calibration images under S.
    """

    scale: np.ndarray
    floor: np.ndarray
    levels: tuple[float, ...]
    quantiles: np.ndarray
    error_factor: np.ndarray

    @classmethod
    def fit(cls, residuals: np.ndarray, covariance: np.ndarray, levels: Sequence[float] = LEVELS) -> SpreadCalibration:
        """Fit on I calibration images: residuals truth - point (I, N, 2) in network pixels, covariance (I, N, 2, 2).

        NaN residuals (points that nobody marked) count nowhere. Raises UserError where a landmark has too few images
        for the highest level: a coverage of 95 % needs 19.
        """
        if not all(0 < level < 1 for level in levels):
            raise UserError(f"levels: found {list(levels)}, expected numbers between 0 and 1")
        fitted = [_fit_landmark(residuals[:, n], covariance[:, n], levels) for n in range(residuals.shape[1])]
        scale, floor, factor, quantiles = (np.array(column) for column in zip(*fitted, strict=True))
        return cls(scale, floor, tuple(levels), quantiles, factor)

    def check_level(self, level: float) -> int:
        """Return the place of a level; raises UserError that lists the fitted ones."""
        for place, known in enumerate(self.levels):
            if math.isclose(known, level):
                return place
        known_levels = ", ".join(f"{known:g}" for known in self.levels)
        raise UserError(f"level: found {level:g}, but the model was calibrated for {known_levels}")

    @property
    def usual_level(self) -> float:
        """The level that is used unless another is asked for: 90 %, or the highest below where that is not stated."""
        return max((level for level in self.levels if level <= LEVEL), default=min(self.levels))

    def calibrated(self, covariance: np.ndarray) -> np.ndarray:
        """S (..., N, 2, 2) for covariance (..., N, 2, 2), in squared network pixels."""
        calibrated: np.ndarray = self.scale[:, None, None] * covariance + self.floor[:, None, None] * np.eye(2)
        return calibrated

    def regions(self, calibrated: np.ndarray, level: float) -> np.ndarray:
        """Matrices R (..., N, 2, 2) of the regions {p : (p - point)^T R^-1 (p - point) <= 1} at a level."""
        quantile = self.quantiles[:, self.check_level(level)]
        regions: np.ndarray = calibrated * (quantile**2)[:, None, None]
        return regions

    def expected_error(self, calibrated: np.ndarray) -> np.ndarray:
        """Expected radial error (..., N) in the unit that ``calibrated`` (..., N, 2, 2) is squared in."""
        expected: np.ndarray = expected_radial_error(calibrated) * self.error_factor
        return expected

    def spreads(self, covariance: np.ndarray, factors: np.ndarray, level: float | None = None) -> Spreads:
        """Calibrate covariances (..., N, 2, 2) in squared network pixels, and bring them to original pixels.

        ``factors`` (..., 1, 2, 2) are ``geometry.covariance_factors`` of the frames' scales; ``level`` None is
        ``usual_level``.
        """
        level = self.usual_level if level is None else level
        network = self.calibrated(covariance)
        original = network / factors
        return Spreads(original, self.expected_error(original), self.regions(network, level) / factors, level)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {
            "levels": list(self.levels),
            **{name: getattr(self, name).tolist() for name in ("scale", "floor", "quantiles", "error_factor")},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], count: int) -> SpreadCalibration:
        """Read ``to_dict``'s values for ``count`` landmarks; raises ValueError, KeyError or TypeError on others."""
        levels = tuple(float(level) for level in content["levels"])
        shapes = {"scale": (count,), "floor": (count,), "quantiles": (count, len(levels)), "error_factor": (count,)}
        return cls(levels=levels, **read_arrays(content, shapes, 0.0))


def read_arrays(
    content: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], least: float = -math.inf
) -> dict[str, np.ndarray]:
    """Read arrays of these shapes out of JSON; raises ValueError, KeyError or TypeError for others."""
    values = {name: np.array(content[name], dtype=np.float64) for name in shapes}
    for name, shape in shapes.items():
        if values[name].shape != shape or not np.isfinite(values[name]).all() or (values[name] < least).any():
            bound = "" if least == -math.inf else f" from {least:g}"
            raise ValueError(f"{name} of shape {values[name].shape}, expected {shape} finite numbers{bound}")
    return values


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """Give the smallest score that bounds a new one with probability ``level``: the ceil((n + 1) level)-th of n.

    ``scores`` (n,) are of exchangeable images. Raises UserError where n is too small for any bound.
    """
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    if rank > len(scores):
        needed = least_images(level)
        raise UserError(
            f"calibration: found {len(scores)} images with a landmark, expected at least {needed} for regions of "
            f"{100 * level:g} %"
        )
    return float(np.sort(scores)[rank - 1])


def least_images(level: float = max(LEVELS)) -> int:
    """How many images a bound of this probability needs."""
    return math.ceil(level / (1 - level) - 1e-9)


def _fit_landmark(
    residuals: np.ndarray, covariance: np.ndarray, levels: Sequence[float]
) -> tuple[float, float, float, list[float]]:
    """Scale, floor, error factor and quantiles from one landmark's residuals (I, 2) and covariances (I, 2, 2)."""
    known = np.isfinite(residuals).all(-1) & np.isfinite(covariance).all((-2, -1))
    residuals, covariance = residuals[known], covariance[known]
    conformal_quantile(np.zeros(len(residuals)), max(levels))  # too few images are told by the level that asks for most
    scale, floor = likeliest_mix(residuals, covariance)
    calibrated = scale * covariance + floor * np.eye(2)
    lengths = mahalanobis(residuals, calibrated)
    expected = expected_radial_error(calibrated).mean()
    factor = np.linalg.norm(residuals, axis=-1).mean() / max(expected, 1e-12)
    return scale, floor, float(factor), [conformal_quantile(lengths, level) for level in levels]


def likeliest_mix(residuals: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    """a and b of S = a C + b I by Gaussian likelihood.

    S = s (w C / c + (1 - w) I) with c the mean variance of C: for each w of a grid the likeliest s has a closed form,
    half the mean squared Mahalanobis length, which leaves a search along one line.
    """
    mean_variance = max(float(np.trace(covariance, axis1=-2, axis2=-1).mean() / 2), 1e-12)
    mixes = _MIXES[:-1]  # a floor of zero would let one image that is much too sure decide everything
    shapes = mixes[:, None, None, None] * covariance / mean_variance + (1 - mixes)[:, None, None, None] * np.eye(2)
    sizes = np.maximum((mahalanobis(residuals, shapes) ** 2).mean(-1) / 2, 1e-12)
    costs = np.log(sizes) + 0.5 * np.linalg.slogdet(shapes)[1].mean(-1)
    best = (math.inf, 1.0, 0.0)
    for mix, size, cost in zip(mixes.tolist(), sizes.tolist(), costs.tolist(), strict=True):
        best = min(best, (cost, size * mix / mean_variance, size * (1 - mix)))
    return best[1], best[2]

"""Spreads of a test's predictions, the method's own or calibrated, in the unit in which errors are measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.spread.statistics import expected_radial_error


@dataclass(frozen=True)
class Spreads:
    """Spreads of predictions in original pixels; row i belongs to the evaluation's i-th image. NaN where there is none.

    Args:
        covariance: (I, N, 2, 2) squared pixels.
        expected_error: (I, N) expected radial errors in pixels.
        regions: (I, N, 2, 2) squared pixels: ellipses r^T regions^-1 r <= 1; None without a calibration.
        level: stated coverage of the regions; None without a calibration.
    """

    covariance: np.ndarray
    expected_error: np.ndarray
    regions: np.ndarray | None = None
    level: float | None = None

    def __post_init__(self) -> None:
        if (self.regions is None) != (self.level is None):
            raise MetricError("spreads: regions and their level belong together, found one without the other")


def own_spreads(evaluation: Evaluation) -> Spreads | None:
    """The main variant's own covariances; None where no prediction has one."""
    covariance = evaluation.covariance[evaluation.main]
    return None if covariance is None else Spreads(covariance, expected_radial_error(covariance))


def expected_in_unit(spreads: Spreads, scale: np.ndarray) -> np.ndarray:
    """Expected errors (I, N) in a unit of which a pixel measures ``scale`` (I, 2).

    They are scaled as the covariance's own, which is exact where x and y differ too.
    """
    before = expected_radial_error(spreads.covariance)
    after = expected_radial_error(spreads.covariance * covariance_factors(scale))
    factor = np.sqrt(scale.prod(1))[:, None] * np.ones_like(before)  # for a point without spread
    return spreads.expected_error * np.divide(after, before, out=factor, where=before > 0)

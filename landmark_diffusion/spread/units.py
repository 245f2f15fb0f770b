"""Spreads of a test's predictions, the method's own or calibrated, in the unit in which errors are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.metrics.annotators import Spacing, stack_predictions
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Prediction, Unit, check_finite
from landmark_diffusion.spread.statistics import expected_radial_error


@dataclass(frozen=True)
class Spreads:
    """Spreads of predictions in original pixels; row i belongs to the i-th prediction. NaN where there is none.

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

    @property
    def calibrated(self) -> bool:
        """Whether there are regions of a stated coverage."""
        return self.regions is not None


def own_spreads(predictions: Sequence[Prediction]) -> Spreads | None:
    """The method's own covariances; None where no prediction has one."""
    if all(prediction.covariance is None for prediction in predictions):
        return None
    found = []
    for prediction in predictions:
        shape = (len(prediction.points), 2, 2)
        each = np.full(shape, np.nan) if prediction.covariance is None else np.asarray(prediction.covariance)
        if each.shape != shape:
            raise MetricError(f"{prediction.image_id}: found a covariance of shape {each.shape}, expected {shape}")
        found.append(each)
    covariance = np.stack(found)
    return Spreads(covariance, expected_radial_error(covariance))


def spreads_of(spreads: Spreads, rows: list[int], count: int) -> Spreads:
    """Take the rows of the predictions that count; raises MetricError unless there is a row for each of all."""
    if spreads.calibrated != (spreads.level is not None):
        raise MetricError("spreads: regions and their level belong together, found one without the other")
    if len(spreads.covariance) != count:
        raise MetricError(f"found spreads of {len(spreads.covariance)} images for {count} predictions")
    regions = None if spreads.regions is None else spreads.regions[rows]
    return Spreads(spreads.covariance[rows], spreads.expected_error[rows], regions, spreads.level)


def unit_residuals(predictions: Sequence[Prediction], unit: Unit | None) -> tuple[np.ndarray, Spacing, str]:
    """Truth less point (I, N, 2) in the unit, the spacing (I, 2) or None, and what the truth is in words."""
    points, annotations, spacing = stack_predictions(predictions, unit)
    truth, count = mean_of_annotators(annotations), annotations.shape[1]
    for prediction, each in zip(predictions, truth, strict=True):
        check_finite(prediction, each)
    words = "the annotation" if count == 1 else f"mean of the {count} annotators"
    return (truth - points) * _scale(spacing, len(points))[:, None], spacing, words


def _scale(spacing: Spacing, images: int) -> np.ndarray:
    return np.ones((images, 2)) if spacing is None else np.asarray(spacing)


def in_unit(matrices: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Turn matrices (I, N, 2, 2) from squared pixels into squared units."""
    scale = _scale(spacing, len(matrices))
    return matrices * (scale[:, :, None] * scale[:, None, :])[:, None]


def expected_in_unit(spreads: Spreads, spacing: Spacing) -> np.ndarray:
    """Expected errors (I, N) in the unit: scaled as the covariance's own, which is exact where x and y differ too."""
    before, after = (expected_radial_error(in_unit(spreads.covariance, each)) for each in (None, spacing))
    factor = np.sqrt(_scale(spacing, len(before)).prod(1))[:, None] * np.ones_like(before)  # for a point without spread
    return spreads.expected_error * np.divide(after, before, out=factor, where=before > 0)

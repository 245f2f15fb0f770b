"""Errors of landmarks: torchmetrics, their functional twins, human rows, protocols and intervals."""

from landmark_diffusion.metrics.functional import (
    MetricError,
    mean_radial_error,
    radial_error,
    success_detection_rate,
)
from landmark_diffusion.metrics.radial_errors import (
    LandmarkErrors,
    MeanRadialError,
    RadialErrorStd,
    SuccessDetectionRate,
)

__all__ = [
    "LandmarkErrors",
    "MeanRadialError",
    "MetricError",
    "RadialErrorStd",
    "SuccessDetectionRate",
    "mean_radial_error",
    "radial_error",
    "success_detection_rate",
]

"""Errors of landmarks: torchmetrics, their functional twins, human rows, protocols and intervals.

The torchmetrics are imported when they are first used: a model that finds landmarks needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from landmark_diffusion.metrics.functional import MetricError, mean_radial_error, radial_error, success_detection_rate

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Import a torchmetric on its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from landmark_diffusion.metrics import radial_errors

    return getattr(radial_errors, name)

"""Mean radial error and success detection rate: where they are computed, for the log, the tables and every file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

TIE = 1e-6
"""Errors within this of a radius (mm or px) are ties: 20 px at a float32 spacing of 0.1 mm are 2.00000003 mm."""
FAR_MM = 10.0
"""Beyond this a point is not imprecise but another structure."""

Errors = TypeVar("Errors", np.ndarray, torch.Tensor)


def within(errors: Errors, radius: float, strict: bool = True) -> Errors:
    """Which errors lie inside a radius, as bool: < if ``strict``, else <=, with ties as ``TIE`` says."""
    return errors < radius - TIE if strict else errors <= radius + TIE


def mean_error(errors: np.ndarray) -> float:
    """Average (K,) errors; NaN where there is none."""
    return float(errors.mean()) if errors.size else float("nan")


def mean_over_images(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Average values (I, ...) over the images where they are ``known``; NaN where none is."""
    return ratio_of(np.where(known, values, 0.0).sum(0), known.sum(0))


def ratio_of(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where nothing was counted."""
    nowhere = np.full(np.shape(numerator), np.nan)
    ratio: np.ndarray = np.divide(numerator, denominator, out=nowhere, where=np.asarray(denominator) != 0)
    return ratio


def error_std(errors: np.ndarray, correction: int = 0) -> float:
    """Standard deviation of (K,) errors, over K - ``correction``; NaN where K is too small."""
    return float(errors.std(ddof=correction)) if errors.size > correction else float("nan")


def hit_rates(errors: np.ndarray, radii: Sequence[float], strict: bool = True) -> dict[float, float]:
    """Percent of (K,) errors within each radius; NaN where there is none."""
    return {radius: 100.0 * mean_error(within(errors, radius, strict)) for radius in radii}


@dataclass(frozen=True, kw_only=True)
class ErrorSummary:
    """K radial errors in one unit, summed up; NaN where K is 0.

    Args:
        points: K.
        mre, std, median: mean, standard deviation (divided by K) and median.
        sdr: radius -> percent within it.
        beyond: percent farther than 10 mm; None unless in mm.
    """

    points: int
    mre: float
    std: float
    median: float
    sdr: dict[float, float]
    beyond: float | None = None

    @classmethod
    def of(cls, errors: np.ndarray, radii: Sequence[float], unit: str, strict: bool = True) -> ErrorSummary:
        """Sum up the errors that are there, of any shape with NaN for the others."""
        known = errors[~np.isnan(errors)]
        return cls(
            points=known.size,
            mre=mean_error(known),
            std=error_std(known),
            median=float(np.median(known)) if known.size else float("nan"),
            sdr=hit_rates(known, radii, strict),
            beyond=100.0 * mean_error(known > FAR_MM) if unit == "mm" and known.size else None,
        )

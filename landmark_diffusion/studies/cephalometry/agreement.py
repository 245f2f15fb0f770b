"""Two sets of points of the same images against each other: how often both come to the same class, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landmark_diffusion.core.interval import Interval
from landmark_diffusion.metrics.bootstrap import draw_counts
from landmark_diffusion.metrics.summary import ratio_of
from landmark_diffusion.spread.coverage import interval_ends
from landmark_diffusion.studies.cephalometry.classes import SCHEMES, Scheme

DRAWS = 10_000
LEVEL = 0.95
ALL = "all eight"


@dataclass(frozen=True)
class Agreement:
    """How two observers agree on one measure, or over all of them.

    Attributes:
        first, second: who is compared.
        measure: its name, or "all eight", where an image's value is the mean over its measures.
        same: share of images on which both come to the same class, 0 to 1.
        kappa: Cohen's kappa: agreement beyond what the two class frequencies give by chance; None for "all eight".
        difference: mean absolute difference of the values, in the measure's unit; None for "all eight".
        shift: mean of second minus first, in the measure's unit; None for "all eight".
    """

    first: str
    second: str
    measure: str
    same: Interval
    kappa: Interval | None = None
    difference: Interval | None = None
    shift: Interval | None = None


def agreement(
    first: tuple[str, Mapping[str, np.ndarray]],
    second: tuple[str, Mapping[str, np.ndarray]],
    schemes: Mapping[str, Scheme] = SCHEMES,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Agreement]:
    """Compare two observers, each a name and values (I,) a measure (MW in mm), on the same images in the same order.

    One row a measure and one for all; images that lack a value of either are left out of that measure. Intervals hold
    95 % and come from drawing images again ``draws`` times (percentiles), the same draws for every row.
    """
    count = len(next(iter(first[1].values())))
    weights = draw_counts(count, draws, np.random.default_rng(seed))
    rows, same = [], []
    for name, scheme in schemes.items():
        a, b = first[1][name], second[1][name]
        both = np.isfinite(a) & np.isfinite(b)
        of_a, of_b = scheme.classify(a), scheme.classify(b)
        alike = np.where(both, of_a == of_b, np.nan)
        same.append(alike)
        rows.append(
            Agreement(
                first[0], second[0], name,
                same=_mean(alike, weights),
                kappa=_kappa(of_a[both], of_b[both], scheme.numbers, weights[:, both]),
                difference=_mean(np.abs(b - a), weights),
                shift=_mean(b - a, weights),
            )
        )  # fmt: skip
    there = ~np.isnan(same)
    of_image = np.where(there, same, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
    return [*rows, Agreement(first[0], second[0], ALL, _mean(of_image, weights))]


def _mean(values: np.ndarray, weights: np.ndarray) -> Interval:
    """Mean of values (I,), NaN left out, with the interval of its weighted means, weights (draws, I)."""
    there = np.isfinite(values)
    kept, known = weights[:, there], values[there]
    return _interval(float(ratio_of(known.sum(), there.sum())), ratio_of(kept @ known, kept.sum(1)), len(known))


def _kappa(a: np.ndarray, b: np.ndarray, numbers: Sequence[int], weights: np.ndarray) -> Interval:
    """Cohen's kappa of two observers' classes (I,) (Cohen, Educ. Psychol. Meas. 20, 1960); NaN where both have one."""
    if not len(a):
        return Interval(np.nan, np.nan, np.nan, LEVEL, 0)
    codes = np.asarray(numbers)
    first, second = ((each[:, None] == codes).astype(np.float64) for each in (a, b))
    everything = np.concatenate([np.ones((1, len(a))), weights])
    total = everything.sum(1).clip(1)
    observed = everything @ (a == b) / total
    chance = ((everything @ first) * (everything @ second)).sum(1) / total**2
    nowhere = np.full(len(total), np.nan)
    kappas = np.divide(observed - chance, 1 - chance, out=nowhere, where=chance < 1)
    return _interval(float(kappas[0]), kappas[1:], len(a))


def _interval(mean: float, drawn: np.ndarray, images: int) -> Interval:
    low, high = interval_ends(drawn, LEVEL) if images > 1 else (np.nan, np.nan)
    return Interval(mean, float(low), float(high), LEVEL, images)

"""A calibration from few labelled images: what they say of single landmarks is shrunk to what they say together.

Each landmark has a covariance S0 = a C + b I, of the model that was adapted where that knew the landmark, else one for
all (fitted to the residuals of all landmarks). The new images' Mahalanobis lengths under S0 say by how much it is off:

1. Their mean, in logarithms, is drawn to the mean of its group (landmarks that the first model knew, and new ones) by
   empirical Bayes: as far as landmarks differ by no more than so few images do by chance. S = k^2 S0.
2. The bound q of a level is a quantile of the lengths under S of all landmarks together, each image weighing the same.
   Points of one image err alike to a degree, the intraclass correlation rho of their lengths, so that I images of N
   points are worth D = I N / (1 + (N - 1) rho) independent draws (Kish 1965), and the quantile is the conformal one of
   so many: at level (D + 1) / D. With rho = 1 each image is one draw (Dunn, Wasserman and Ramdas 2022,
   "Distribution-free prediction sets for two-layer hierarchical models"), which needs no estimate of rho and is far
   too large: at 90 % of ten images the quantile is that of 99 %. It still decides which levels are stated, those up to
   I / (I + 1): 90 % from 9 images on, 95 % from 19. An image's own lengths are taken under k of the other images.

What is stated holds for a landmark drawn at random from a new image of that kind, not for each landmark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.spread.calibration import LEVELS, SpreadCalibration, least_images, likeliest_mix
from landmark_diffusion.spread.statistics import expected_radial_error, mahalanobis

_RAYLEIGH = math.sqrt(math.pi / 2)
"""Mean length of a standard Gaussian in the plane."""
_LEAST = 1e-6


@dataclass(frozen=True)
class Prior:
    """What is known before: scale and floor (N,) of S0 = a C + b I; NaN for landmarks of which nothing is known."""

    scale: np.ndarray
    floor: np.ndarray

    @classmethod
    def of(cls, source: SpreadCalibration | None, places: Sequence[int | None]) -> Prior:
        """Take it from a source model's calibration, for landmarks at these ``places`` of it (None: not known)."""
        if source is None:
            return cls(np.full(len(places), np.nan), np.full(len(places), np.nan))
        known = [np.nan if place is None else place for place in places]
        chosen = np.nan_to_num(np.array(known)).astype(int)
        missing = np.isnan(known)
        scale, floor = (np.where(missing, np.nan, each[chosen]) for each in (source.scale, source.floor))
        return cls(scale, floor)


def stated_levels(images: int, levels: Sequence[float] = LEVELS) -> tuple[float, ...]:
    """Give the coverages that so many images can state: 50 % one, 80 % four, 90 % nine, 95 % nineteen."""
    return tuple(level for level in levels if level <= images / (images + 1) + 1e-9)


def fit_few(
    residuals: np.ndarray, covariance: np.ndarray, prior: Prior, levels: Sequence[float] = LEVELS
) -> SpreadCalibration:
    """Fit on I images that the weights have not seen: residuals (I, N, 2) and covariance (I, N, 2, 2), network pixels.

    NaN residuals count nowhere. Raises UserError for less than two images with points.
    """
    images = int(np.isfinite(residuals).all(-1).any(-1).sum())
    if images < 2:
        raise UserError(f"calibration: found {images} images with points, expected at least 2")
    scale, floor, known = _base(residuals, covariance, prior)
    calibrated = scale[:, None, None] * covariance + floor[:, None, None] * np.eye(2)
    lengths = mahalanobis(residuals, calibrated)
    factors = shrunk_factors(lengths, known)
    chosen = stated_levels(images, levels)
    unseen = others_lengths(lengths, known)
    draws = independent_draws(unseen)
    bounds = [pooled_quantile(unseen, level, draws) for level in chosen]
    expected = expected_radial_error(calibrated) * factors
    actual = np.linalg.norm(residuals, axis=-1)
    error_factor = _ratio(np.where(np.isfinite(actual), actual, np.nan), expected)
    count = residuals.shape[1]
    return SpreadCalibration(
        scale * factors**2, floor * factors**2, chosen, np.tile(bounds, (count, 1)), np.full(count, error_factor)
    )


def shrunk_factors(lengths: np.ndarray, known: np.ndarray) -> np.ndarray:
    """By how much each landmark's lengths (I, N) are off, k (N,): empirical Bayes within the groups of ``known`` (N,).

    The logarithm of a landmark's mean length is drawn to its group's by tau^2 / (tau^2 + v_n): v_n its own variance,
    from the spread of lengths about their landmark's mean, and tau^2 what the means' variance has beyond it.
    """
    factors = np.ones(lengths.shape[1])
    for group in (known, ~known):
        if group.any():
            factors[group] = _shrunk(lengths[:, group])
    return factors


def _shrunk(lengths: np.ndarray) -> np.ndarray:
    there = np.isfinite(lengths)
    counts = there.sum(0)
    sums = np.where(there, lengths, 0.0)
    means = np.maximum(sums.sum(0) / np.maximum(counts, 1), _LEAST)
    freedom = max(int((counts - 1).clip(min=0).sum()), 1)
    relative = np.square(np.where(there, lengths / means - 1, 0.0)).sum() / freedom
    variance = np.where(counts > 0, relative / np.maximum(counts, 1), np.inf)
    logs, seen = np.log(means), counts > 0
    centre = float(np.average(logs[seen])) if seen.any() else 0.0
    beyond = 0.0
    if seen.sum() > 1:
        beyond = max(float(np.var(logs[seen], ddof=1) - variance[seen].mean()), 0.0)
    weight = beyond / (beyond + variance) if beyond else np.zeros(len(logs))
    shrunk: np.ndarray = np.exp(centre + weight * (np.where(seen, logs, centre) - centre)) / _RAYLEIGH
    return shrunk


def others_lengths(lengths: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Lengths (I, N) of each image under the factors of all the others."""
    rows = range(len(lengths))
    return np.stack([lengths[i] / shrunk_factors(np.delete(lengths, i, 0), known) for i in rows])


def independent_draws(lengths: np.ndarray) -> float:
    """Say how many independent draws the lengths (I, N) are worth, NaN counting nowhere.

    Between I, where the points of an image all err alike, and the number of points, where they err each by itself.
    """
    there = np.isfinite(lengths)
    counts = there.sum(1)
    images, total = int((counts > 0).sum()), int(counts.sum())
    if images < 2 or total == images:
        return float(images)
    typical = float(np.square(counts).sum() / total)
    alike = _alike(np.where(there, lengths, 0.0), there, counts, typical)
    return max(total / (1 + (typical - 1) * alike), float(images))


def _alike(lengths: np.ndarray, there: np.ndarray, counts: np.ndarray, typical: float) -> float:
    """Intraclass correlation of the lengths (I, N) within images, by one-way analysis of variance, from 0 to 1."""
    images, total = int((counts > 0).sum()), int(counts.sum())
    means = lengths.sum(1) / np.maximum(counts, 1)
    between = float((counts * np.square(means - lengths.sum() / total)).sum() / (images - 1))
    within = float(np.square(np.where(there, lengths - means[:, None], 0.0)).sum() / (total - images))
    of_images = max(between - within, 0.0) * (images - 1) / (total - typical)
    return of_images / (of_images + within) if of_images + within > 0 else 1.0


def pooled_quantile(lengths: np.ndarray, level: float, draws: float | None = None) -> float:
    """Give the bound that a random landmark's length in a new image keeps with probability ``level``.

    ``lengths`` (I, N) are of exchangeable images, which weigh the same, each shared by its landmarks; NaN where nothing
    is known. They are worth so many independent ``draws``: by default one an image, which holds whatever the lengths'
    distribution. Raises UserError where there are too few images.
    """
    there = np.isfinite(lengths)
    per_image = there.sum(1)
    images = int((per_image > 0).sum())
    if level > images / (images + 1) + 1e-9:
        raise UserError(
            f"calibration: found {images} images, expected at least {least_images(level)} for regions of "
            f"{100 * level:g} %"
        )
    draws = images if draws is None else draws
    weights = np.where(there, 1 / np.maximum(per_image, 1)[:, None], 0.0)[there] / images
    values = lengths[there]
    order = np.argsort(values)
    place = int(np.searchsorted(np.cumsum(weights[order]), level * (draws + 1) / draws - 1e-9))
    return float(values[order][min(place, len(order) - 1)])


def _base(residuals: np.ndarray, covariance: np.ndarray, prior: Prior) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale and floor (N,) of S0, and which landmarks have them from before."""
    known = np.isfinite(prior.scale) & np.isfinite(prior.floor)
    if known.all():
        return prior.scale, prior.floor, known
    there = np.isfinite(residuals).all(-1) & np.isfinite(covariance).all((-2, -1))
    scale, floor = likeliest_mix(residuals[there], covariance[there])
    return np.where(known, prior.scale, scale), np.where(known, prior.floor, floor), known


def _ratio(actual: np.ndarray, expected: np.ndarray) -> float:
    both = np.isfinite(actual) & np.isfinite(expected)
    return float(actual[both].mean() / max(expected[both].mean(), 1e-12))

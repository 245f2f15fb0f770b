"""What is usual between labels and a model's points: an offset and a heavy-tailed spread a landmark, robustly fitted.

A residual (label less model's point) is taken for the landmark's offset plus noise of a bivariate t distribution with
scatter S = s (w C / c + (1 - w) I), C the model's covariance and c its usual variance. Where there is no model's
covariance, C is the residuals' own, one for all images. A few faults among the labels move neither, and a model that
errs (other device, other habits) widens S, so that it accuses nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lgamma

import numpy as np

_MIXES = np.linspace(0, 0.9, 10)
_TAILS = (2.0, 3.0, 4.0, 6.0, 10.0, 20.0)
_STEPS = 30
_COMMON_TAIL = 4.0
_PRIOR_IMAGES = 5.0
"""A landmark's spread is mixed with that of all landmarks as if so many images had shown the latter."""
_LEAST = 1e-9


@dataclass(frozen=True)
class UsualResidual:
    """What residuals of one annotator's labels are usually like, in the unit of the residuals.

    Attributes:
        offset: (N, 2) what the labels differ by in the middle.
        scale: (N,) s. variance: (N,) c; zero where the model states no covariance. mix: (N,) w.
        tail: degrees of freedom of t; few are many far points.
        images: (N,) how many images it was fitted to.
    """

    offset: np.ndarray
    scale: np.ndarray
    variance: np.ndarray
    mix: np.ndarray
    tail: float
    common: np.ndarray | None = None

    @classmethod
    def fit(cls, residuals: np.ndarray, covariance: np.ndarray | None) -> UsualResidual:
        """Fit to residuals (I, N, 2), NaN where there is none, and the model's covariances (I, N, 2, 2) or None."""
        count = np.isfinite(residuals).all(-1).sum(0)
        offset = np.zeros((residuals.shape[1], 2))
        offset[count > 0] = np.nanmedian(residuals[:, count > 0], axis=0)
        centred = residuals - offset
        common = None
        if covariance is None:
            common = _common_covariance(centred)
            covariance = np.broadcast_to(common, (*centred.shape, 2))
        variance = _usual_variance(covariance, np.isfinite(residuals).all(-1))
        mixes = _MIXES if common is None else np.ones(1)
        fits = [_fit_scatter(centred, covariance, variance, tail, mixes) for tail in _TAILS]
        tail, (scale, mix, _) = max(zip(_TAILS, fits, strict=True), key=lambda each: each[1][2])
        return cls(offset, scale, variance, mix, tail, common)

    def scatter(self, covariance: np.ndarray | None) -> np.ndarray:
        """S (..., N, 2, 2) for covariances (..., N, 2, 2); (N, 2, 2) for None, where it was fitted so."""
        given = self.common if covariance is None else covariance
        if given is None:
            raise ValueError("covariance: found None, expected the model's, to which the spread was fitted")
        shape = _shape(given, self.variance, self.mix)
        scatter: np.ndarray = shape * self.scale[:, None, None]
        return scatter

    def lengths(self, residuals: np.ndarray, covariance: np.ndarray | None) -> np.ndarray:
        """Squared Mahalanobis lengths (..., N) of residuals (..., N, 2), offset taken away."""
        return _lengths(residuals - self.offset, self.scatter(covariance))

    def log_density(self, residuals: np.ndarray, covariance: np.ndarray | None) -> np.ndarray:
        """Log densities (..., N) of residuals (..., N, 2) per squared unit; NaN where there is none."""
        scatter = self.scatter(covariance)
        return log_t(_lengths(residuals - self.offset, scatter), scatter, self.tail)

    @cached_property
    def distance(self) -> np.ndarray:
        """(N,) the median distance that a label has from the model's point, offset taken away."""
        # of an isotropic bivariate t: P(length^2 > m) = (1 + m / tail)^(-tail / 2)
        median: np.ndarray = np.sqrt(self.scale * self.tail * (2 ** (2 / self.tail) - 1))
        return median


def log_t(lengths: np.ndarray, scatter: np.ndarray, tail: float) -> np.ndarray:
    """Log density of a bivariate t with ``tail`` degrees of freedom at squared Mahalanobis lengths (...,)."""
    constant = lgamma(tail / 2 + 1) - lgamma(tail / 2) - np.log(tail * np.pi)
    density: np.ndarray = constant - 0.5 * np.log(_determinant(scatter)) - (tail / 2 + 1) * np.log1p(lengths / tail)
    return density


def _usual_variance(covariance: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) the median variance an axis of each landmark, of the images that have a label."""
    variance = np.trace(covariance, axis1=-2, axis2=-1) / 2
    usable = known & np.isfinite(variance)
    return np.array([np.median(v[k]) if k.any() else 1.0 for v, k in zip(variance.T, usable.T, strict=True)])


def _common_covariance(centred: np.ndarray) -> np.ndarray:
    """(N, 2, 2) a robust covariance of residuals (I, N, 2): of a t distribution, by EM, drawn towards a circle."""
    known = np.isfinite(centred).all(-1)
    values = np.where(known[..., None], centred, 0.0)
    weight = known.astype(float)
    circle = np.square(values).sum() / max(2 * known.sum(), 1)
    for _ in range(_STEPS):
        found = np.einsum("in,ina,inb->nab", weight, values, values)
        circle = np.trace(found, axis1=-2, axis2=-1).sum() / max(2 * known.sum(), 1)
        found = (found + _PRIOR_IMAGES * max(circle, _LEAST) * np.eye(2)) / (known.sum(0) + _PRIOR_IMAGES)[
            :, None, None
        ]
        weight = np.where(known, (_COMMON_TAIL + 2) / (_COMMON_TAIL + _lengths(values, found)), 0.0)
    return np.asarray(found)


def _shape(covariance: np.ndarray, variance: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """w C / c + (1 - w) I, (..., N, 2, 2); I where C is not known."""
    relative = covariance / np.maximum(variance, _LEAST)[:, None, None]
    relative = np.where(np.isfinite(relative).all((-2, -1))[..., None, None], relative, np.eye(2))
    shape: np.ndarray = mix[:, None, None] * relative + (1 - mix)[:, None, None] * np.eye(2)
    return shape


def _fit_scatter(
    centred: np.ndarray, covariance: np.ndarray, variance: np.ndarray, tail: float, mixes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Scale (N,), mix (N,) and log-likelihood of all by maximum likelihood of t (EM for the scale, a grid for w)."""
    best_scale, best_mix = np.ones(len(variance)), np.zeros(len(variance))
    best = np.full(len(variance), -np.inf)
    for mix in mixes:
        shape = _shape(covariance, variance, np.full(len(variance), mix))
        lengths = _lengths(centred, shape)
        scale = _t_scale(lengths, tail)
        density = log_t(lengths / scale, shape * scale[:, None, None], tail)
        likelihood = np.nansum(density, axis=0)
        better = likelihood > best
        best_scale[better], best_mix[better], best[better] = scale[better], mix, likelihood[better]
    return best_scale, best_mix, float(best[np.isfinite(best)].sum())


def _t_scale(lengths: np.ndarray, tail: float) -> np.ndarray:
    """s (N,) for squared lengths (I, N) under a shape: each landmark's, drawn towards that of all where images are few.

    The likeliest s of a t distribution is where the mean of (tail + 2) m / (tail s + m) is 2.
    """
    known = np.isfinite(lengths)
    count = known.sum(0)
    values = np.where(known, lengths, 0.0)

    def solve(values: np.ndarray, known: np.ndarray) -> np.ndarray:
        scale = np.maximum(np.nansum(np.where(known, values, 0), 0) / np.maximum(known.sum(0), 1) / 2, _LEAST)
        for _ in range(_STEPS):
            weight = np.where(known, (tail + 2) / (tail + values / scale), 0.0)
            scale = np.maximum((weight * values).sum(0) / np.maximum(2 * known.sum(0), 1), _LEAST)
        return np.asarray(scale)

    overall = solve(values.reshape(-1, 1), known.reshape(-1, 1))[0]
    own = np.where(count > 0, solve(values, known), overall)
    mixed: np.ndarray = np.exp((count * np.log(own) + _PRIOR_IMAGES * np.log(overall)) / (count + _PRIOR_IMAGES))
    return mixed


def _determinant(matrices: np.ndarray) -> np.ndarray:
    found: np.ndarray = matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    return found


def _lengths(residuals: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    """r^T S^-1 r in closed form."""
    x, y = residuals[..., 0], residuals[..., 1]
    found: np.ndarray = (
        scatter[..., 1, 1] * x**2 - 2 * scatter[..., 0, 1] * x * y + scatter[..., 0, 0] * y**2
    ) / _determinant(scatter)
    return found

"""One configuration of all landmarks from maps of each and a Gaussian on configurations, by expectation propagation.

The model: a configuration y ~ N(mean, Sigma) (shape_prior.py). With probability 1 - m a landmark's map tells of it,
and is then p(map | y) ~ A p_n(y_n), with A the map's area, or the ``beyond`` of a network that was taught when a
landmark lies outside the image; with probability m it tells nothing, and p(map | y) ~ 1 wherever y_n lies. The
posterior is one of N mixtures that hang together by Sigma. Expectation propagation (Minka
2001) puts a Gaussian in each mixture's place and improves them in turn until they agree; in the first steps the peaks
are blurred, so that all of them are heard before one is chosen. What is had of it for each landmark is the cavity:
where the others say that it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

DAMPING = 0.4
LEAST_PRECISION = 1e-6
BLUR = 40.0
"""By how much the variance of a peak is larger in the first step."""
LEAST_LOG = -60.0
"""Logarithm of the least value of a map, against its highest: arithmetic on still smaller ones is slow."""
LAST_STEPS = 4
"""Steps without blur, at the end."""


class Cavity(NamedTuple):
    """Where the other landmarks say that each is: ``mean`` (B, N, 2) and ``covariance`` (B, N, 2, 2), map pixels."""

    mean: torch.Tensor
    covariance: torch.Tensor


class JointMaps(NamedTuple):
    """What maps and configuration say together.

    ``log_maps`` (B, N, H, W): logarithms of maps that sum to 1 within the image; ``outside`` (B, N) is the probability
    that the landmark lies outside the image; ``missed`` (B, N) that it lies within and its map tells nothing of it.
    """

    log_maps: torch.Tensor
    outside: torch.Tensor
    missed: torch.Tensor


class Told(NamedTuple):
    """What maps tell of landmarks outside the image: ``beyond`` (B, N) is p(map | outside) / p(map), 1 for nothing.

    ``missed`` is the prior probability that a map tells nothing.
    """

    beyond: torch.Tensor
    missed: float

    def outside(self) -> torch.Tensor:
        """p(map | y_n outside) / p(map)."""
        return (1 - self.missed) * self.beyond + self.missed


def propagate(
    places: torch.Tensor,
    masses: torch.Tensor,
    mean: torch.Tensor,
    covariance: torch.Tensor,
    size: tuple[int, int],
    told: Told,
    variance: float = 1.0,
    steps: int = 12,
) -> Cavity:
    """Let peaks (B, N, K, 2) of masses (B, N, K) and the prior (2N,), (2N, 2N) agree; all in map pixels.

    ``size`` is the maps' (H, W), ``variance`` that of a peak about its landmark in each direction. The cavity is
    float64 on the peaks' device; the arithmetic is numpy's, whose small steps cost a fraction of torch's. Raises
    numpy's LinAlgError where the prior's covariance is singular.
    """
    found = _propagate(
        _array(places), _array(masses), _array(mean), _array(covariance), _array(told.outside()), size, told.missed,
        variance, steps,
    )  # fmt: skip
    return Cavity(*(torch.from_numpy(np.ascontiguousarray(each)).to(places.device) for each in found))


def _array(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().double().numpy()
    return found


class _Moments(NamedTuple):
    """Mean (B, N, 2) and covariance (B, N, 2, 2) in numpy."""

    mean: np.ndarray
    covariance: np.ndarray


def _propagate(
    places: np.ndarray, masses: np.ndarray, mean: np.ndarray, covariance: np.ndarray, beyond: np.ndarray,
    size: tuple[int, int], missed: float, variance: float, steps: int,
) -> _Moments:  # fmt: skip
    batch, count = places.shape[:2]
    each, area = np.arange(count), size[0] * size[1]
    prior = np.linalg.inv(covariance)
    start = (prior @ mean).reshape(count, 2)
    site, pull = np.zeros((batch, count, 2, 2)), np.zeros((batch, count, 2))
    log_mass = np.log(masses) + math.log1p(-missed)
    blurs = [BLUR ** (1 - step / max(1, steps - LAST_STEPS - 1)) for step in range(steps - LAST_STEPS)]
    cavity = _Moments(pull, site)
    for blur in [*blurs, *[1.0] * min(steps, LAST_STEPS)]:
        precision = np.tile(prior.reshape(count, 2, count, 2), (batch, 1, 1, 1, 1))
        precision[:, each, :, each] += site.swapaxes(0, 1)
        spread = np.linalg.inv(precision.reshape(batch, 2 * count, 2 * count))
        centre = (spread @ (start + pull).reshape(batch, -1, 1)).reshape(batch, count, 2)
        own = _inverse(spread.reshape(batch, count, 2, count, 2)[:, each, :, each].swapaxes(0, 1))
        without = _positive(own - site)
        push = _times(own, centre) - pull
        covers = _inverse(without)
        cavity = _Moments(_times(covers, push), covers)
        inside = _inside(cavity, size)
        nothing = np.log((1 - inside) * beyond + inside * missed) - math.log(area)
        moments = _tilted(cavity, places, log_mass, nothing[..., None], blur * variance * np.eye(2))
        new = _positive(_inverse(moments.covariance) - without)
        site = DAMPING * site + (1 - DAMPING) * new
        pull = DAMPING * pull + (1 - DAMPING) * (_times(without + new, moments.mean) - push)
    return cavity


def joint_maps(maps: torch.Tensor, cavity: Cavity, told: Told, variance: float = 1.0) -> JointMaps:
    """Multiply maps (B, N, H, W) by what the others say; ``variance`` as in propagate.

    A map sums to 1, or to less by what its network says for a landmark outside.
    """
    height, width = maps.shape[-2:]
    mean, covers = (each.cpu().numpy() for each in cavity)
    around = _Moments(mean, covers + variance * np.eye(2))
    precise = _inverse(around.covariance)
    constant = -np.log(_det(around.covariance)) / 2 - math.log(2 * math.pi)
    x, y = (np.arange(side) - mean[..., axis, None] for axis, side in ((0, width), (1, height)))
    by_column = -precise[..., 0, 0, None] / 2 * x**2 + constant[..., None]
    by_row, cross = -precise[..., 1, 1, None] / 2 * y**2, -precise[..., 0, 1, None] * y
    columns, rows, mixed, along = (
        torch.from_numpy(each.astype(np.float32)).to(maps.device) for each in (by_column, by_row, cross, x)
    )
    product = torch.addcmul(rows[..., None] + columns[..., None, :], mixed[..., None], along[..., None, :])
    product += maps.float().mul((1 - told.missed) * height * width).add_(told.missed).log_()
    highest = product.amax((-2, -1))
    product.sub_(highest[..., None, None]).clamp_min_(LEAST_LOG)
    mass = highest + product.exp().sum((-2, -1)).log()
    inside = torch.from_numpy(_inside(around, (height, width))).to(maps.device)
    beyond = (1 - inside) * told.outside()
    total = mass.exp() + beyond
    log_maps = product.sub_((mass - highest)[..., None, None])
    return JointMaps(log_maps, beyond / total, told.missed * inside / total)


def _inside(cavity: _Moments, size: tuple[int, int]) -> np.ndarray:
    """The mass (B, N) within (H, W) as if x and y were independent: exact where one side is near."""
    deviations = np.sqrt(np.stack((cavity.covariance[..., 0, 0], cavity.covariance[..., 1, 1]), -1) * 2)
    sides = np.array(size[::-1]) - 0.5
    shares = _erf((sides - cavity.mean) / deviations) - _erf((-0.5 - cavity.mean) / deviations)
    both: np.ndarray = shares[..., 0] * shares[..., 1] / 4
    return both


def _erf(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = np.array([math.erf(each) for each in x.ravel().tolist()]).reshape(x.shape)
    return values


def _tilted(
    cavity: _Moments, places: np.ndarray, log_mass: np.ndarray, nothing: np.ndarray, noise: np.ndarray
) -> _Moments:
    """Moments of the cavity times the mixture of peaks, each a Gaussian of covariance ``noise``, and of nothing."""
    away = places - cavity.mean[:, :, None]
    total = cavity.covariance + noise
    inverse = _inverse(total)
    length = (away * (away @ inverse)).sum(-1)
    log_weight = log_mass - length / 2 - np.log(_det(total))[..., None] / 2 - math.log(2 * math.pi)
    log_weight = np.concatenate((log_weight, nothing), -1)
    share = np.exp(log_weight - log_weight.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    gain = cavity.covariance @ inverse
    means = np.concatenate((away @ gain.swapaxes(-1, -2), np.zeros_like(away[:, :, :1])), 2)
    mean = (share[..., None] * means).sum(2)
    centred = means - mean[:, :, None]
    between = (share[..., None] * centred).swapaxes(-1, -2) @ centred
    within = cavity.covariance - (1 - share[..., -1:, None]) * (gain @ cavity.covariance)
    return _Moments(cavity.mean + mean, within + between)


def _positive(matrices: np.ndarray) -> np.ndarray:
    """The nearest symmetric (..., 2, 2) matrices whose eigenvalues are at least ``LEAST_PRECISION``."""
    a, b, d = matrices[..., 0, 0], (matrices[..., 0, 1] + matrices[..., 1, 0]) / 2, matrices[..., 1, 1]
    middle, half = (a + d) / 2, np.hypot((a - d) / 2, b)
    high, low = np.maximum(middle + half, LEAST_PRECISION), np.maximum(middle - half, LEAST_PRECISION)
    # with c and s the cosine and sine of twice the long axis's angle; a round matrix has any axis
    c, s = (a - d) / np.maximum(2 * half, 1e-300), b / np.maximum(half, 1e-300)
    mean, reach = (high + low) / 2, (high - low) / 2
    return _matrix(mean + reach * c, reach * s, reach * s, mean - reach * c)


def _matrix(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    joined: np.ndarray = np.stack((a, b, c, d), -1).reshape(*np.shape(a), 2, 2)
    return joined


def _det(matrices: np.ndarray) -> np.ndarray:
    product: np.ndarray = matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    return product


def _inverse(matrices: np.ndarray) -> np.ndarray:
    a, b, c, d = (matrices[..., row, column] for row in (0, 1) for column in (0, 1))
    inverse: np.ndarray = _matrix(d, -b, -c, a) / _det(matrices)[..., None, None]
    return inverse


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    product: np.ndarray = (matrices @ vectors[..., None])[..., 0]
    return product

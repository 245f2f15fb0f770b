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

import torch

_DAMPING = 0.4
_LEAST_PRECISION = 1e-6
_BLUR = 40.0
"""By how much the variance of a peak is larger in the first step."""
_LAST_STEPS = 4
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
    steps: int = 14,
) -> Cavity:
    """Let peaks (B, N, K, 2) of masses (B, N, K) and the prior (2N,), (2N, 2N) agree; all in map pixels, float64.

    ``size`` is the maps' (H, W), ``variance`` that of a peak about its landmark in each direction. Raises torch's
    LinAlgError where the prior's covariance is not positive definite.
    """
    batch, count = places.shape[:2]
    eye = torch.eye(2, dtype=places.dtype, device=places.device)
    each = torch.arange(count, device=places.device)
    prior = torch.linalg.inv(covariance)
    start = (prior @ mean).view(count, 2)
    site, pull = places.new_zeros(batch, count, 2, 2), places.new_zeros(batch, count, 2)
    area = size[0] * size[1]
    log_mass = masses.log() + math.log1p(-told.missed)
    blurs = [_BLUR ** (1 - step / max(1, steps - _LAST_STEPS - 1)) for step in range(steps - _LAST_STEPS)]
    for blur in [*blurs, *[1.0] * min(steps, _LAST_STEPS)]:
        precision = prior.repeat(batch, 1, 1).view(batch, count, 2, count, 2)
        precision[:, each, :, each] += site.transpose(0, 1)
        spread = torch.linalg.inv(precision.view(batch, 2 * count, -1))
        centre = (spread @ (start + pull).view(batch, -1, 1)).view(batch, count, 2)
        own = _inverse(spread.view(batch, count, 2, count, 2)[:, each, :, each].transpose(0, 1))
        without = _positive(own - site)
        push = _times(own, centre) - pull
        covers = _inverse(without)
        cavity = Cavity(_times(covers, push), covers)
        inside = _inside(cavity, size)
        nothing = ((1 - inside) * told.outside() + inside * told.missed).log() - math.log(area)
        moments = _tilted(cavity, places, log_mass, nothing[..., None], blur * variance * eye)
        new = _positive(_inverse(moments.covariance) - without)
        site = _DAMPING * site + (1 - _DAMPING) * new
        pull = _DAMPING * pull + (1 - _DAMPING) * (_times(without + new, moments.mean) - push)
    return cavity


def joint_maps(maps: torch.Tensor, cavity: Cavity, told: Told, variance: float = 1.0) -> JointMaps:
    """Multiply maps (B, N, H, W) by what the others say; ``variance`` as in propagate.

    A map sums to 1, or to less by what its network says for a landmark outside.
    """
    height, width = maps.shape[-2:]
    around = cavity.covariance + variance * torch.eye(2, dtype=cavity.mean.dtype, device=maps.device)
    inside = _inside(Cavity(cavity.mean, around), (height, width))
    x = torch.arange(width, device=maps.device) - cavity.mean[..., 0, None]
    y = torch.arange(height, device=maps.device) - cavity.mean[..., 1, None]
    half = -_inverse(around)[..., None] / 2
    constant = -_det(around).log() / 2 - math.log(2 * math.pi)
    columns = (half[..., 0, 0, :] * x.square() + constant[..., None]).float()
    rows, cross = (half[..., 1, 1, :] * y.square()).float(), (2 * half[..., 0, 1, :] * y).float()
    product = torch.addcmul(rows[..., None] + columns[..., None, :], cross[..., None], x.float()[..., None, :])
    product += maps.float().mul((1 - told.missed) * height * width).add_(told.missed).log_()
    mass = product.flatten(-2).logsumexp(-1)
    beyond = (1 - inside) * told.outside()
    total = mass.exp() + beyond
    return JointMaps(product.sub_(mass[..., None, None]), beyond / total, told.missed * inside / total)


def _inside(cavity: Cavity, size: tuple[int, int]) -> torch.Tensor:
    """The mass (B, N) within (H, W) as if x and y were independent: exact where one side is near."""
    deviations = cavity.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    shares = [
        torch.special.ndtr((side - 0.5 - middle) / deviation) - torch.special.ndtr((-0.5 - middle) / deviation)
        for side, middle, deviation in zip(size[::-1], cavity.mean.unbind(-1), deviations.unbind(-1), strict=True)
    ]
    both: torch.Tensor = shares[0] * shares[1]
    return both


def _tilted(
    cavity: Cavity, places: torch.Tensor, log_mass: torch.Tensor, nothing: torch.Tensor, noise: torch.Tensor
) -> Cavity:
    """Moments of the cavity times the mixture of peaks, each a Gaussian of covariance ``noise``, and of nothing."""
    away = places - cavity.mean[:, :, None]
    total = cavity.covariance + noise
    inverse = _inverse(total)
    length = (away * _times(inverse[:, :, None], away)).sum(-1)
    log_weight = log_mass - length / 2 - _det(total).log()[..., None] / 2 - math.log(2 * math.pi)
    share = torch.cat((log_weight, nothing), -1).softmax(-1)
    gain = cavity.covariance @ inverse
    means = torch.cat((_times(gain[:, :, None], away), torch.zeros_like(away[:, :, :1])), 2)
    mean = (share[..., None] * means).sum(2)
    centred = means - mean[:, :, None]
    between = (share[..., None] * centred).mT @ centred
    within = cavity.covariance - (1 - share[..., -1:, None]) * (gain @ cavity.covariance)
    return Cavity(cavity.mean + mean, within + between)


def _positive(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest symmetric (..., 2, 2) matrices whose eigenvalues are at least ``_LEAST_PRECISION``."""
    a, b, d = matrices[..., 0, 0], (matrices[..., 0, 1] + matrices[..., 1, 0]) / 2, matrices[..., 1, 1]
    middle, half = (a + d) / 2, torch.hypot((a - d) / 2, b)
    high, low = (middle + half).clamp_min(_LEAST_PRECISION), (middle - half).clamp_min(_LEAST_PRECISION)
    # with c and s the cosine and sine of twice the long axis's angle; a round matrix has any axis
    c, s = (a - d) / (2 * half).clamp_min(1e-300), b / half.clamp_min(1e-300)
    mean, reach = (high + low) / 2, (high - low) / 2
    return _matrix(mean + reach * c, reach * s, reach * s, mean - reach * c)


def _matrix(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    joined: torch.Tensor = torch.stack((a, b, c, d), -1).unflatten(-1, (2, 2))
    return joined


def _det(matrices: torch.Tensor) -> torch.Tensor:
    a, b, c, d = matrices.flatten(-2).unbind(-1)
    product: torch.Tensor = a * d - b * c
    return product


def _inverse(matrices: torch.Tensor) -> torch.Tensor:
    a, b, c, d = matrices.flatten(-2).unbind(-1)
    return _matrix(d, -b, -c, a) / (a * d - b * c)[..., None, None]


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return (matrices @ vectors[..., None])[..., 0]

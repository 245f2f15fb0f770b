"""heatmaps/joint.py in a graph: expectation propagation by what ONNX has, its steps as a loop.

The formulas are those of that file, where they are explained; tests hold both to one result.
"""

from __future__ import annotations

import math

import torch

from landmark_diffusion.export.traced.loop import Tensors, loop
from landmark_diffusion.heatmaps.joint import (
    BLUR,
    DAMPING,
    LAST_STEPS,
    LEAST_LOG,
    LEAST_PRECISION,
    Cavity,
    JointMaps,
    Told,
)


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
    """Let peaks and the prior agree, as ``heatmaps.joint.propagate``.

    What goes from step to step is site and pull of each landmark, (B, N, 2, 2) and (B, N, 2).
    """
    places, masses = places.double(), masses.double()
    beyond, count = told.outside().double(), places.shape[1]
    prior = inverse(covariance.double()[None])
    start = (prior @ mean.double()[:, None]).view(1, count, 2)
    log_mass = masses.log() + math.log1p(-told.missed)
    own = torch.eye(count, dtype=torch.float64)[:, None, :, None]  # (N, 1, N, 1): a landmark's own block

    def improve(state: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
        (site, pull), (blur,) = state, row
        precision = prior.view(1, count, 2, count, 2) + site[:, :, :, None] * own
        spread = inverse(precision.flatten(3).flatten(1, 2))
        centre = (spread @ (start + pull).flatten(1)[..., None]).view(-1, count, 2)
        mine = _inverse((spread.view(-1, count, 2, count, 2) * own).sum(3))
        without = _positive(mine - site)
        push = _times(mine, centre) - pull
        covers = _inverse(without)
        away = _times(covers, push)
        inside = _inside(away, covers, size)
        nothing = ((1 - inside) * beyond + inside * told.missed).log() - math.log(size[0] * size[1])
        noise = blur * variance * torch.eye(2, dtype=torch.float64)
        middle, moments = _tilted(away, covers, places, log_mass, nothing[..., None], noise)
        new = _positive(_inverse(moments) - without)
        site = DAMPING * site + (1 - DAMPING) * new
        pull = DAMPING * pull + (1 - DAMPING) * (_times(without + new, middle) - push)
        return (site, pull), (away, covers)

    blurs = [BLUR ** (1 - step / max(1, steps - LAST_STEPS - 1)) for step in range(steps - LAST_STEPS)]
    blurs += [1.0] * min(steps, LAST_STEPS)
    none = places.new_zeros(places.shape[0], count, 2)
    state = (torch.zeros(*none.shape, 2, dtype=torch.float64), none)
    away, covers = loop(improve, state, (torch.tensor(blurs, dtype=torch.float64)[:, None, None],))
    return Cavity(away[-1], covers[-1])


def inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Invert symmetric positive definite matrices (B, D, D), a pivot at a time (the sweep operator).

    Sweeping by pivot k takes c c^T / a_kk from A, c its column k less the unit vector k; after all of them A has become
    2 I - A^-1 (Goodnight 1979).
    """
    count = matrices.shape[-1]
    unit = torch.eye(count, dtype=matrices.dtype)
    for place in range(count):  # written out: a loop within the loop of the steps is lost in the translation
        column = matrices[..., place : place + 1]
        pivot = column[..., place : place + 1, :]
        column = column - unit[:, place : place + 1]
        matrices = matrices - column * (column.mT / pivot)
    return 2 * unit - matrices


def joint_maps(maps: torch.Tensor, cavity: Cavity, told: Told, variance: float = 1.0) -> JointMaps:
    """Multiply maps (B, N, H, W) by what the others say, as ``heatmaps.joint.joint_maps``."""
    height, width = maps.shape[-2:]
    mean = cavity.mean.double()
    around = cavity.covariance.double() + variance * torch.eye(2, dtype=torch.float64)
    precise = _inverse(around)
    constant = -_det(around).log() / 2 - math.log(2 * math.pi)
    x, y = (torch.arange(side) - mean[..., axis, None] for axis, side in ((0, width), (1, height)))
    by_column = -precise[..., 0, 0, None] / 2 * x**2 + constant[..., None]
    by_row, cross = -precise[..., 1, 1, None] / 2 * y**2, -precise[..., 0, 1, None] * y
    columns, rows, mixed, along = (each.float() for each in (by_column, by_row, cross, x))
    product = rows[..., None] + columns[..., None, :] + mixed[..., None] * along[..., None, :]
    product = product + (maps.float() * ((1 - told.missed) * height * width) + told.missed).log()
    highest = product.amax((-2, -1))
    product = (product - highest[..., None, None]).clamp_min(LEAST_LOG)
    mass = highest + product.exp().sum((-2, -1)).log()
    inside = _inside(mean, around, (height, width))
    beyond = (1 - inside) * told.outside()
    total = mass.exp() + beyond
    return JointMaps(product - (mass - highest)[..., None, None], beyond / total, told.missed * inside / total)


def _inside(mean: torch.Tensor, covariance: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    shares = [
        _erf((side - 0.5 - mean[..., axis]) / deviation) - _erf((-0.5 - mean[..., axis]) / deviation)
        for axis, side in ((0, size[1]), (1, size[0]))
        for deviation in ((covariance[..., axis, axis] * 2).sqrt(),)
    ]
    return shares[0] * shares[1] / 4


def _erf(x: torch.Tensor) -> torch.Tensor:
    """In float32, which is all that onnxruntime has of it."""
    return x.float().erf().double()


def _tilted(
    mean: torch.Tensor, covers: torch.Tensor, places: torch.Tensor, log_mass: torch.Tensor, nothing: torch.Tensor,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    away = places - mean[:, :, None]
    total = covers + noise
    inverted = _inverse(total)
    length = (away * (away @ inverted)).sum(-1)
    log_weight = log_mass - length / 2 - _det(total).log()[..., None] / 2 - math.log(2 * math.pi)
    share = torch.cat((log_weight, nothing), -1).softmax(-1)
    gain = covers @ inverted
    means = torch.cat((away @ gain.mT, torch.zeros_like(away[:, :, :1])), 2)
    moved = (share[..., None] * means).sum(2)
    centred = means - moved[:, :, None]
    between = (share[..., None] * centred).mT @ centred
    within = covers - (1 - share[..., -1:, None]) * (gain @ covers)
    return mean + moved, within + between


def _positive(matrices: torch.Tensor) -> torch.Tensor:
    a, b, d = matrices[..., 0, 0], (matrices[..., 0, 1] + matrices[..., 1, 0]) / 2, matrices[..., 1, 1]
    middle, half = (a + d) / 2, (((a - d) / 2).square() + b.square()).sqrt()
    high, low = (middle + half).clamp_min(LEAST_PRECISION), (middle - half).clamp_min(LEAST_PRECISION)
    c, s = (a - d) / (2 * half).clamp_min(1e-300), b / half.clamp_min(1e-300)
    mean, reach = (high + low) / 2, (high - low) / 2
    return _matrix(mean + reach * c, reach * s, reach * s, mean - reach * c)


def _matrix(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    joined: torch.Tensor = torch.stack((a, b, c, d), -1).unflatten(-1, (2, 2))
    return joined


def _det(matrices: torch.Tensor) -> torch.Tensor:
    return matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]


def _inverse(matrices: torch.Tensor) -> torch.Tensor:
    a, b, c, d = (matrices[..., row, column] for row in (0, 1) for column in (0, 1))
    return _matrix(d, -b, -c, a) / _det(matrices)[..., None, None]


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return (matrices @ vectors[..., None])[..., 0]

"""ShapePrior: how landmarks lie to each other, a Gaussian on whole configurations learned from the training points.

The covariance of y (2N values) is that of the training configurations, regularised, and of the maps that a new image
may differ by, each a direction of the configuration about its mean:

    Sigma = S + tau^2 I + sum_k s_k^2 v_k v_k^T      v: turn, size, stretch, and place along x and y

so that the prior is all but indifferent to similarity and stretch (linearised), and asks only for the rest. tau comes
of the likelihood of each training configuration under the prior of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

FEW = 3
"""Configurations that tau can be chosen from; with fewer it is ``DEFAULT_TAU``."""
DEFAULT_TAU = 10.0
"""Pixels of a network 640 wide: by how much people differ at a landmark, once size and turn are equal."""
_TAUS = tuple(2.0**power for power in range(-1, 7))
_EM_STEPS = 20
_UNKNOWN = 640.0
"""Standard deviation of a landmark that no training image shows."""


class ShapePrior(nn.Module):
    """Mean (2N,) and covariance (2N, 2N) of (x_1, y_1, x_2, ...) in pixels of a network 640 wide; unset until ``fit``.

    Checkpoints of earlier versions have none, and load as unset.
    """

    def __init__(self, num_landmarks: int) -> None:
        super().__init__()
        size = 2 * num_landmarks
        self.register_buffer("mean", torch.zeros(size, device="cpu"))
        self.register_buffer("covariance", torch.zeros(size, size, device="cpu"))
        self.mean: torch.Tensor
        self.covariance: torch.Tensor

    @property
    def is_set(self) -> bool:
        """Whether there is a prior."""
        return bool(self.covariance.any())

    def fit(
        self, points: torch.Tensor, rotation: float = 0.0, scale: float = 0.0, stretch: float = 0.0, shift: float = 0.0
    ) -> None:
        """Learn from configurations (I, N, 2) in pixels of a network 640 wide, NaN where a landmark is not marked.

        ``rotation`` in degrees, ``scale`` and ``stretch`` as a logarithm and ``shift`` in pixels are the standard
        deviations of the maps that new images may differ by. Configurations without a point count nothing; with none
        left the prior stays unset.
        """
        flat = points.double().flatten(1).cpu()
        flat = flat[flat.isfinite().any(1)]
        if not len(flat):
            return
        mean, spread = gaussian_with_gaps(flat)
        maps = _directions(mean, math.radians(rotation), scale, stretch, shift)
        covariance = spread + maps + choose_tau(flat, maps) ** 2 * torch.eye(len(mean), dtype=torch.float64)
        self.mean.copy_(mean)
        self.covariance.copy_(covariance)

    def take(self, mean: torch.Tensor, covariance: torch.Tensor, places: Sequence[int | None]) -> None:
        """Take another prior's values for landmarks that lie at ``places`` there; one without may lie anywhere.

        Two landmarks from one place get a little of their own, so that the covariance stays positive definite.
        """
        if not bool(covariance.any()):
            return
        known = torch.tensor([place is not None for place in places]).repeat_interleave(2)
        index = torch.tensor([0 if place is None else place for place in places])
        index = torch.stack((2 * index, 2 * index + 1), -1).flatten()
        middle = mean.view(-1, 2).mean(0).repeat(len(places))
        both = known[:, None] & known
        self.mean.copy_(torch.where(known, mean[index], middle))
        self.covariance.copy_(torch.where(both, covariance[index][:, index], torch.zeros(())))
        twice = torch.tensor([places.count(place) > 1 for place in places]).repeat_interleave(2)
        self.covariance += torch.diag(torch.where(known, twice * DEFAULT_TAU**2, _UNKNOWN**2))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, value in (("mean", self.mean), ("covariance", self.covariance)):
            state_dict.setdefault(prefix + name, torch.zeros_like(value))
        super()._load_from_state_dict(state_dict, prefix, *args)


def gaussian_with_gaps(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Likeliest mean (D,) and covariance (D, D) of rows (I, D) with NaN where a value is missing (EM).

    A column without any value has the mean of its axis (every second column) and the variance ``_UNKNOWN`` squared.
    """
    known = values.isfinite()
    seen = known.any(0)
    filled = torch.where(known, values, 0.0)
    mean = filled.sum(0) / known.sum(0).clamp_min(1)
    for axis in (0, 1):
        mean[axis::2] = torch.where(seen[axis::2], mean[axis::2], mean[axis::2][seen[axis::2]].mean().nan_to_num())
    filled = torch.where(known, values, mean)
    covariance = _moment(filled - mean)
    for _ in range(_EM_STEPS if not bool(known[:, seen].all()) else 0):
        extra = torch.zeros_like(covariance)
        ridge = covariance + 1e-6 * (1 + covariance.diagonal().mean()) * torch.eye(len(mean), dtype=values.dtype)
        for row, present in enumerate(known):
            gone = ~present & seen
            if gone.any():
                gain = torch.linalg.solve(ridge[present][:, present], ridge[present][:, gone]).T
                filled[row, gone] = mean[gone] + gain @ (values[row, present] - mean[present])
                left = ridge[gone][:, gone] - gain @ ridge[present][:, gone]
                extra[gone.nonzero(), gone.nonzero()[:, 0]] += left / len(values)
        mean = torch.where(seen, filled.mean(0), mean)
        covariance = _moment(filled - mean) + extra
    unseen = (~seen).to(values.dtype)
    return mean, covariance + torch.diag(unseen * _UNKNOWN**2)


def choose_tau(values: torch.Tensor, maps: torch.Tensor) -> float:
    """The tau under which each row (I, D) is likeliest by the prior of the others; ``maps`` (D, D) is added to all."""
    if len(values) < FEW:
        return DEFAULT_TAU
    parts = min(len(values), 10)
    scores = torch.zeros(len(_TAUS), dtype=torch.float64)
    for part in range(parts):
        held = torch.arange(len(values)) % parts == part
        mean, spread = gaussian_with_gaps(values[~held])
        for place, tau in enumerate(_TAUS):
            covariance = spread + maps + tau**2 * torch.eye(len(mean), dtype=values.dtype)
            for row in values[held]:
                known = row.isfinite()
                factor = torch.linalg.cholesky(covariance[known][:, known])
                away = torch.linalg.solve_triangular(factor, (row - mean)[known, None], upper=False)
                scores[place] -= away.square().sum() / 2 + factor.diagonal().log().sum()
    return _TAUS[int(scores.argmax())]


def _directions(mean: torch.Tensor, rotation: float, scale: float, stretch: float, shift: float) -> torch.Tensor:
    """sum_k s_k^2 v_k v_k^T of the maps about the middle of the mean configuration (D,)."""
    x, y = (mean.view(-1, 2) - mean.view(-1, 2).mean(0)).unbind(-1)
    one, none = torch.ones_like(x), torch.zeros_like(x)
    moves = ((rotation, -y, x), (scale, x, y), (stretch / 2, x, -y), (shift, one, none), (shift, none, one))
    vectors = torch.stack([size * torch.stack((dx, dy), -1).flatten() for size, dx, dy in moves])
    return vectors.T @ vectors


def _moment(centred: torch.Tensor) -> torch.Tensor:
    return centred.T @ centred / len(centred)

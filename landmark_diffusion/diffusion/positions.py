"""Diffusion of positions: noise moves the hot pixel of a one-hot heatmap instead of hiding it.

The forward process is the heat equation on the heatmap: after it the hot pixel lies at y_t = y_0 + sigma_t z, so that
x_t's distribution is the one-hot map blurred by sigma_t (the variance-exploding process of Song et al. 2021 on
positions; the blur of paper A's eq. 12, but in training as well). Since the network gives a whole distribution of y_0,
the spatial likelihood (eq. 10) is the exact likelihood of this process and not an auxiliary loss.

The sampler has the signature of those of maps (samplers.py) and knows no network either: ``model(y_t, level)`` answers
where each landmark is, by what is seen around the positions y_t at that noise level, and how sure that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple, Protocol, TypeVar

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.samplers import Noise, check_eta
from landmark_diffusion.heatmaps.moments import samples_covariance

Aggregate = Literal["last", "mean"]


class PositionLevel(NamedTuple):
    """A noise level of a schedule: its step t, which need not be whole, and sigma_t."""

    t: float
    sigma: float


class Estimate(Protocol):
    """What a model says of y_0: where it is, ``point`` (B, N, 2), and how sure that is."""

    @property
    def point(self) -> torch.Tensor: ...

    def covariance(self) -> torch.Tensor:
        """Covariance (B, N, 2, 2) of y_0 about the point."""
        ...


EstimateT = TypeVar("EstimateT", bound=Estimate)


class PositionSchedule:
    """Standard deviations sigma_t of the forward process, growing geometrically with t.

    Args:
        sigma_min, sigma_max: at t = 0 and t = T-1.
        steps: T.
        unit: what 1 of a sigma that is given here is in pixels of the frame that the positions are in; what comes out
            is in those pixels.

    Raises UserError unless 0 < sigma_min <= sigma_max and there is at least one step.
    """

    def __init__(self, sigma_min: float, sigma_max: float, steps: int, unit: float = 1.0) -> None:
        if not 0 < sigma_min <= sigma_max:
            raise UserError(
                f"sigma_min {sigma_min:g} and sigma_max {sigma_max:g}: expected 0 < sigma_min <= sigma_max, in pixels"
            )
        if steps < 1:
            raise UserError(f"noise.steps: found {steps}, expected at least 1")
        self.sigma_min, self.sigma_max, self.steps, self.unit = sigma_min * unit, sigma_max * unit, steps, unit

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """sigma_t for steps t (...) in 0 ... T-1, which need not be whole."""
        return self.sigma_min * torch.exp(t * (math.log(self.sigma_max / self.sigma_min) / max(self.steps - 1, 1)))

    def step(self, sigma: float) -> float:
        """The t of a sigma, the inverse of ``sigma``, clamped to 0 ... T-1."""
        if self.sigma_max == self.sigma_min:
            return 0.0
        t = math.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min) * (self.steps - 1)
        return min(max(t, 0.0), self.steps - 1.0)

    def levels(self, start: float, end: float, count: int) -> list[PositionLevel]:
        """``count`` noise levels of a chain whose sigmas shrink by the same factor from ``start`` to ``end``."""
        ratio = (end / start) ** (1 / max(1, count - 1))
        sigmas = [start * self.unit * ratio**k for k in range(count)]
        return [PositionLevel(self.step(sigma), sigma) for sigma in sigmas]


def position_sample(
    model: Callable[[torch.Tensor, PositionLevel], EstimateT],
    x: torch.Tensor,
    levels: Sequence[PositionLevel],
    noise: Noise,
    eta: float = 0.0,
) -> Iterator[tuple[PositionLevel, torch.Tensor, EstimateT]]:
    """Follow positions (B, N, 2) from x at levels[0], yielding (level, y_t, the model's estimate of y_0) at each.

    ``eta`` is that of ``previous_position``; one outside 0 ... 1 raises UserError. From the last level the chain goes
    to its estimate's point.
    """
    check_eta(eta)
    for here, following in zip_longest(levels, levels[1:]):
        estimate = model(x, here)
        yield here, x, estimate
        if following is not None:
            x = previous_position(estimate.point, x, here.sigma, following.sigma, eta, noise())


def conclude(estimates: Sequence[Estimate], aggregate: Aggregate) -> tuple[torch.Tensor, torch.Tensor]:
    """Point (B, N, 2) and covariance (B, N, 2, 2) of a chain: its "last" estimate's, or the "mean" of all.

    The mean is that of a draw from an even mixture of the estimates, so its covariance is what each leaves open, on
    average, and how their points differ.
    """
    kept = estimates[-1:] if aggregate == "last" else estimates
    points = torch.stack([estimate.point for estimate in kept])
    within = torch.stack([estimate.covariance() for estimate in kept]).mean(0)
    among = samples_covariance(points)
    return points.mean(0), within if among is None else within + among


def previous_position(
    y0: torch.Tensor, y_t: torch.Tensor, sigma: float, previous: float, eta: float, noise: torch.Tensor
) -> torch.Tensor:
    """One step of the reverse process from sigma_t to ``previous``: y_s given y_t and the estimate of y_0.

    ``eta`` 1 draws from q(y_s | y_t, y_0) (ancestral; mean y_0 + r^2 (y_t - y_0), variance sigma_s^2 (1 - r^2) with r =
    sigma_s / sigma_t), 0 is DDIM's deterministic step y_0 + r (y_t - y_0).
    """
    kept, spread = step_weights(sigma, previous, eta)
    return y0 + kept * (y_t - y0) + spread * noise


def step_weights(sigma: float, previous: float, eta: float) -> tuple[float, float]:
    """How much of y_t - y_0, and how much noise, a step of ``previous_position`` keeps."""
    ratio = previous / sigma
    spread = eta * previous * math.sqrt(max(0.0, 1 - ratio**2))
    return math.sqrt(max(0.0, previous**2 - spread**2)) / sigma, spread

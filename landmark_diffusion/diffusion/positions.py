"""Diffusion of positions: noise moves the hot pixel of a one-hot heatmap instead of hiding it.

The forward process is the heat equation on the heatmap: after it the hot pixel lies at y_t = y_0 + sigma_t z, so that
x_t's distribution is the one-hot map blurred by sigma_t (the variance-exploding process of Song et al. 2021 on
positions; the blur of paper A's eq. 12, but in training as well). Since the network gives a whole distribution of y_0,
the spatial likelihood (eq. 10) is the exact likelihood of this process and not an auxiliary loss.
"""

from __future__ import annotations

import math

import torch

from landmark_diffusion.core.errors import UserError


class PositionSchedule:
    """Standard deviations sigma_t of the forward process, growing geometrically with t.

    Args:
        sigma_min, sigma_max: at t = 0 and t = T-1, in pixels of whatever frame the positions are in.
        steps: T.

    Raises UserError unless 0 < sigma_min <= sigma_max and there is at least one step.
    """

    def __init__(self, sigma_min: float, sigma_max: float, steps: int) -> None:
        if not 0 < sigma_min <= sigma_max:
            raise UserError(
                f"sigma_min {sigma_min:g} and sigma_max {sigma_max:g}: expected 0 < sigma_min <= sigma_max, in pixels"
            )
        if steps < 1:
            raise UserError(f"diffusion_steps: found {steps}, expected at least 1")
        self.sigma_min, self.sigma_max, self.steps = sigma_min, sigma_max, steps

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """sigma_t for steps t (...) in 0 ... T-1, which need not be whole."""
        return self.sigma_min * torch.exp(t * (math.log(self.sigma_max / self.sigma_min) / max(self.steps - 1, 1)))

    def step(self, sigma: float) -> float:
        """The t of a sigma, the inverse of ``sigma``, clamped to 0 ... T-1."""
        if self.sigma_max == self.sigma_min:
            return 0.0
        t = math.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min) * (self.steps - 1)
        return min(max(t, 0.0), self.steps - 1.0)


def previous_position(
    y0: torch.Tensor, y_t: torch.Tensor, sigma: float, previous: float, eta: float, noise: torch.Tensor
) -> torch.Tensor:
    """One step of the reverse process from sigma_t to ``previous``: y_s given y_t and the estimate of y_0.

    ``eta`` 1 draws from q(y_s | y_t, y_0) (ancestral; mean y_0 + r^2 (y_t - y_0), variance sigma_s^2 (1 - r^2) with r =
    sigma_s / sigma_t), 0 is DDIM's deterministic step y_0 + r (y_t - y_0).
    """
    ratio = previous / sigma
    spread = eta * previous * math.sqrt(max(0.0, 1 - ratio**2))
    kept = math.sqrt(max(0.0, previous**2 - spread**2)) / sigma
    return y0 + kept * (y_t - y0) + spread * noise

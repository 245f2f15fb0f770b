"""NoiseSchedule: betas, cumulative alphas and the posterior, in float64 until they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import torch

from landmark_diffusion.core.errors import UserError, unknown_choice

ScheduleKind = Literal["linear", "scaled_linear", "sqrt_linear", "cosine"]
MAX_BETA = 0.999
"""Nichol and Dhariwal's bound: a beta of 1 would leave nothing of the signal."""


class Level(NamedTuple):
    """A noise level of a schedule: its step t, and alpha_bar_t, the share of x_0's variance that is left in x_t."""

    t: int
    alpha_bar: float

    def steps(self, x: torch.Tensor) -> torch.Tensor:
        """t as a network is told it: a LongTensor (B,) for x (B, ...)."""
        return torch.full((len(x),), self.t, dtype=torch.long, device=x.device)


@dataclass(frozen=True)
class NoiseOptions:
    """The noise of a diffusion, as ``NoiseSchedule`` takes it.

    Args:
        schedule: "linear" (paper A as printed), "scaled_linear" (with betas x 1000/T), "sqrt_linear" or "cosine".
        steps: T.
        beta_start: beta at t = 0; not used by "cosine".
        beta_end: beta at t = T-1, likewise.
        zero_terminal_snr: rescale so that x_(T-1) is pure noise.
    """

    schedule: ScheduleKind = "linear"
    steps: int = 200
    beta_start: float = 1e-4
    beta_end: float = 0.02
    zero_terminal_snr: bool = False

    def schedule_of_levels(self) -> NoiseSchedule:
        """Compute the schedule; raises UserError for values that make no sense."""
        return NoiseSchedule(self.schedule, self.steps, self.beta_start, self.beta_end, self.zero_terminal_snr)


class NoiseSchedule:
    """Variances of the forward process q(x_t | x_0) (Ho et al. 2020; paper A eq. 1-3). Step 0 is the least noisy.

    Args:
        kind: "linear" (paper A as printed), "scaled_linear" (linear with betas x 1000/T, as the authors' earlier code
            has it), "sqrt_linear" (linear in sqrt(beta)) or "cosine" (Nichol and Dhariwal 2021).
        steps: T.
        beta_start, beta_end: beta at t = 0 and t = T-1, before the scaling; not used by "cosine".
        zero_terminal_snr: rescale so that x_(T-1) is pure noise (Lin et al. 2023, algorithm 1).

    Attributes:
        betas, alphas, alphas_bar, posterior_variance: (T,) float64 on the CPU.

    Raises UserError for an unknown kind, fewer than 1 step and betas outside (0, 1).
    """

    def __init__(
        self,
        kind: ScheduleKind = "linear",
        steps: int = 200,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        zero_terminal_snr: bool = False,
    ) -> None:
        if steps < 1:
            raise UserError(f"noise.steps: found {steps}, expected at least 1")
        if not 0 < beta_start <= beta_end < 1:
            raise UserError(
                f"noise.beta_start {beta_start} and beta_end {beta_end}: expected 0 < beta_start <= beta_end < 1"
            )
        self.kind, self.steps, self.zero_terminal_snr = kind, steps, zero_terminal_snr
        betas = _betas(kind, steps, beta_start, beta_end)
        if zero_terminal_snr:
            betas = _to_zero_terminal_snr(betas)
        self.betas = betas
        self.alphas = 1 - betas
        self.alphas_bar = torch.cumprod(self.alphas, 0)
        self._bars: list[float] = self.alphas_bar.tolist()
        before = torch.cat([torch.ones(1, **_TABLE), self.alphas_bar[:-1]])
        self.posterior_variance = betas * (1 - before) / (1 - self.alphas_bar)
        """beta_tilde_t (paper A below eq. 5); 0 at t = 0."""
        self._x0_weight = before.sqrt() * betas / (1 - self.alphas_bar)
        self._x0_weight[0] = 1  # exactly: 1 - (1 - beta) is not beta in floating point
        self._x_t_weight = self.alphas.sqrt() * (1 - before) / (1 - self.alphas_bar)

    def levels(self, steps: Sequence[int]) -> list[Level]:
        """The noise levels of a chain over ``steps``; raises UserError unless these descend within 0 ... T-1."""
        if not steps or any(later >= earlier for earlier, later in pairwise(steps)):
            raise UserError(f"steps: found {list(steps)}, expected at least one, in strictly descending order")
        if steps[0] >= self.steps or steps[-1] < 0:
            raise UserError(f"steps: found {list(steps)}, expected 0 to {self.steps - 1} (noise.steps - 1)")
        return [Level(t, self._bars[t]) for t in steps]

    def posterior(self, x0: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of q(x_(t-1) | x_t, x_0) (eq. 8 and beta_tilde) for x0, x_t (B, ...) at steps t (B,).

        The variance broadcasts against the mean; at t = 0 the mean is x0 and the variance 0.
        """
        x0_weight, x_t_weight = at_steps(self._x0_weight, t, x0), at_steps(self._x_t_weight, t, x0)
        return x0_weight * x0 + x_t_weight * x_t, at_steps(self.posterior_variance, t, x0)


def at_steps(values: torch.Tensor, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Take (T,) float64 values at steps t (B,), shaped to broadcast with ``like`` (B, ...), in float32 or better.

    Raises UserError for a negative t, which torch would count from the end (checked where t lies on the CPU).
    """
    if t.device.type == "cpu" and bool((t < 0).any()):
        raise UserError(f"steps t: found {t.tolist()}, expected 0 to {len(values) - 1}")
    chosen = values.to(torch.promote_types(like.dtype, torch.float32)).to(t.device)[t]
    return chosen.to(like.device).reshape(-1, *(1,) * (like.ndim - 1))


_TABLE: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
"""A schedule's table is as small as its steps; arithmetic on the meta device would make torch load its compiler."""


def _betas(kind: str, steps: int, start: float, end: float) -> torch.Tensor:
    if kind == "linear":
        return torch.linspace(start, end, steps, **_TABLE)
    if kind == "scaled_linear":
        scale = 1000 / steps
        return torch.linspace(start * scale, end * scale, steps, **_TABLE).clamp(max=MAX_BETA)
    if kind == "sqrt_linear":
        return torch.linspace(start**0.5, end**0.5, steps, **_TABLE).square()
    if kind == "cosine":
        time = torch.arange(steps + 1, **_TABLE) / steps
        level = torch.cos((time + 0.008) / 1.008 * math.pi / 2).square()
        return (1 - level[1:] / level[:-1]).clamp(max=MAX_BETA)
    raise unknown_choice("noise.schedule", kind, get_args(ScheduleKind))


def _to_zero_terminal_snr(betas: torch.Tensor) -> torch.Tensor:
    """Shift and scale sqrt(alphas_bar) so that its last entry is 0 and its first stays (Lin et al. 2023)."""
    if len(betas) < 2:
        raise UserError("noise.zero_terminal_snr needs at least 2 diffusion steps")
    root = torch.cumprod(1 - betas, 0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    bar = root.square()
    return 1 - torch.cat([bar[:1], bar[1:] / bar[:-1]])

"""The forward process q(x_t | x_0) and the three ways to say what the network predicts: x0, epsilon, v.

All take tensors (B, ...) and steps t (B,), and calculate in float32 or better.
"""

from __future__ import annotations

from typing import Literal

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.noise_schedule import NoiseSchedule, at_steps

Parameterisation = Literal["x0", "epsilon", "v"]
"""What a diffusion network predicts."""


def add_noise(schedule: NoiseSchedule, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Draw x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) noise (paper A eq. 3)."""
    signal, sigma = scales(schedule, t, x0)
    return signal * x0 + sigma * noise


def x0_from_noise(schedule: NoiseSchedule, x_t: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Solve eq. 3 for x0.

    Raises UserError for a schedule with zero terminal SNR: x_(T-1) holds nothing of x0, and alpha_bar is 0.
    """
    if schedule.zero_terminal_snr:
        raise UserError(
            "zero_terminal_snr: x0 cannot be found from the noise at T-1, where nothing of x0 is left; "
            "predict x0 or v instead of epsilon, or set zero_terminal_snr: false"
        )
    signal, sigma = scales(schedule, t, x_t)
    return (x_t - sigma * noise) / signal


def noise_from_x0(schedule: NoiseSchedule, x_t: torch.Tensor, x0: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Solve eq. 3 for the noise."""
    signal, sigma = scales(schedule, t, x_t)
    return (x_t - signal * x0) / sigma


def v_from(schedule: NoiseSchedule, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """v = sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) x0 (Salimans and Ho 2022)."""
    signal, sigma = scales(schedule, t, x0)
    return signal * noise - sigma * x0


def x0_from_v(schedule: NoiseSchedule, x_t: torch.Tensor, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """x0 = sqrt(alpha_bar_t) x_t - sqrt(1 - alpha_bar_t) v; finite for every schedule."""
    signal, sigma = scales(schedule, t, x_t)
    return signal * x_t - sigma * v


def noise_from_v(schedule: NoiseSchedule, x_t: torch.Tensor, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """noise = sqrt(1 - alpha_bar_t) x_t + sqrt(alpha_bar_t) v; finite for every schedule."""
    signal, sigma = scales(schedule, t, x_t)
    return sigma * x_t + signal * v


def network_target(
    schedule: NoiseSchedule, predicts: Parameterisation, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """What a network that predicts "x0", "epsilon" or "v" has to answer at step t."""
    if predicts == "v":
        return v_from(schedule, x0, noise, t)
    return noise if predicts == "epsilon" else x0


def x0_from_output(
    schedule: NoiseSchedule, predicts: Parameterisation, output: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """The estimate of x0 in the answer of a network that predicts "x0", "epsilon" or "v"."""
    if predicts == "v":
        return x0_from_v(schedule, x_t, output, t)
    return x0_from_noise(schedule, x_t, output, t) if predicts == "epsilon" else output


def check_parameterisation(predicts: Parameterisation, zero_terminal_snr: bool) -> None:
    """Raise UserError for epsilon where x_(T-1) is noise alone: x0 cannot be found from it."""
    if predicts == "epsilon" and zero_terminal_snr:
        raise UserError(
            "model: parameterisation epsilon cannot start from pure noise (zero_terminal_snr: true); use x0 or v"
        )


def scales(schedule: NoiseSchedule, t: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), shaped to broadcast with ``like``; roots are taken in float64."""
    bar = schedule.alphas_bar
    return at_steps(bar.sqrt(), t, like), at_steps((1 - bar).sqrt(), t, like)

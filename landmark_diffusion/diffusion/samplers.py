"""Samplers of maps as plain functions ``sampler(model, x, levels, noise)``; the one of positions is in positions.py.

``model(x_t, level)`` estimates x_0, and a sampler yields (level, x_t, x_0) at each evaluation, all (B, ...). The noise
levels are those of a schedule, the noisiest first; the one after a level is looked up in the list, never computed from
a ratio. A chain starts from noise at T-1, or warm from any x_t at an earlier t, such as ``add_noise(schedule, a first
guess of x0, noise, t)``. Its last x_0 is the sample. ``noise`` draws what a step needs, and may be keyed to each image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from math import sqrt

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.noise_schedule import Level

Model = Callable[[torch.Tensor, Level], torch.Tensor]
"""The network's estimate of x_0 (B, ...) from x_t (B, ...) at a noise level."""
Noise = Callable[[], torch.Tensor]
"""Draws standard normal noise shaped as x_t."""
Evaluation = tuple[Level, torch.Tensor, torch.Tensor]


def timesteps(total: int, count: int) -> list[int]:
    """``count`` steps out of T = ``total``, descending, in trailing spacing: the first is always T-1.

    They are round(T i / count) - 1 for i = count ... 1 (Lin et al. 2023, table 2; halves up). Raises UserError unless
    1 <= count <= total.
    """
    if not 1 <= count <= total:
        raise UserError(f"sampling_steps: found {count}, expected 1 to {total} (diffusion_steps)")
    # in integers: exact where a float division would be off by one
    return [(2 * total * i + count) // (2 * count) - 1 for i in range(count, 0, -1)]


def posterior_coefficients(here: Level, following: Level) -> tuple[float, float, float]:
    """Weights of x_0 and x_t in the mean of q(x_s | x_t, x_0), and its variance, for any level s less noisy than t.

    Eq. 8 and beta_tilde of paper A with alpha = alpha_bar_t / alpha_bar_s and beta = 1 - alpha; with s = t - 1 it is
    the schedule's own posterior.
    """
    bar, before = here.alpha_bar, following.alpha_bar
    alpha = bar / before
    x0_weight = sqrt(before) * (1 - alpha) / (1 - bar)
    x_t_weight = sqrt(alpha) * (1 - before) / (1 - bar)
    return x0_weight, x_t_weight, (1 - alpha) * (1 - before) / (1 - bar)


def ddpm_sample(model: Model, x: torch.Tensor, levels: Sequence[Level], noise: Noise) -> Iterator[Evaluation]:
    """Ancestral sampling (paper A eq. 5 and 8, sqrt(beta_tilde) noise) from x at levels[0].

    From the last level the chain goes to x_0 itself.
    """
    for here, following in zip_longest(levels, levels[1:]):
        x0 = model(x, here)
        yield here, x, x0
        if following is not None:
            x0_weight, x_t_weight, variance = posterior_coefficients(here, following)
            x = x0_weight * x0 + x_t_weight * x + variance**0.5 * noise()


def ddim_sample(
    model: Model, x: torch.Tensor, levels: Sequence[Level], noise: Noise, eta: float = 0.0
) -> Iterator[Evaluation]:
    """DDIM (Song et al. 2021, eq. 12) from x at levels[0]; ``eta`` 0 is deterministic and draws no noise.

    With ``eta`` 1 it has the distribution of the ancestral sampler. Raises UserError for ``eta`` outside 0 ... 1.
    """
    check_eta(eta)
    for here, following in zip_longest(levels, levels[1:]):
        x0 = model(x, here)
        yield here, x, x0
        if following is not None:
            bar, before = here.alpha_bar, following.alpha_bar
            variance = eta**2 * posterior_coefficients(here, following)[2]
            epsilon = (x - bar**0.5 * x0) / (1 - bar) ** 0.5
            x = before**0.5 * x0 + max(1 - before - variance, 0.0) ** 0.5 * epsilon
            if variance:
                x = x + variance**0.5 * noise()


def check_eta(eta: float) -> None:
    """Raise UserError for an eta outside 0 ... 1."""
    if not 0 <= eta <= 1:
        raise UserError(f"eta: found {eta}, expected 0 (deterministic) to 1 (as much noise as ddpm)")


def keyed_noise(seeds: Sequence[int], shape: Sequence[int], device: torch.device) -> Noise:
    """Give a function that draws standard normal noise (B, *shape), B seeds, each item from a stream of its own.

    Drawn on the CPU and moved: an item's noise depends neither on the batch nor on the device.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda: torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(device)

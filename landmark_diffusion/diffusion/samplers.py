"""Samplers as plain functions: they take ``denoise(x_t, t) -> x0`` and yield (t, x_t, x0) at each evaluation.

x_t and x0 are (B, ...); the t that ``denoise`` gets is a LongTensor (B,). The previous step is looked up in the list of
steps, never computed from a ratio. A chain starts from noise at T-1, or warm from any x_t at an earlier steps[0] = t,
such as ``add_noise(schedule, a first guess of x0, noise, t)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.noise_schedule import NoiseSchedule

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The network's estimate of x0 (B, ...) from x_t (B, ...) and t (B,)."""
Noise = Callable[[], torch.Tensor]
"""Draws standard normal noise shaped as x_t: a caller may key it to each image."""
Transform = Callable[[torch.Tensor, int], torch.Tensor]
"""Changes the estimate of x0 at step t before the chain goes on from it (paper A: the blur of eq. 12)."""
Evaluation = tuple[int, torch.Tensor, torch.Tensor]


def timesteps(total: int, count: int) -> list[int]:
    """``count`` steps out of T = ``total``, descending, in trailing spacing: the first is always T-1.

    They are round(T i / count) - 1 for i = count ... 1 (Lin et al. 2023, table 2; halves up). Raises UserError unless
    1 <= count <= total.
    """
    if not 1 <= count <= total:
        raise UserError(f"sampling_steps: found {count}, expected 1 to {total} (diffusion_steps)")
    # in integers: exact where a float division would be off by one
    return [(2 * total * i + count) // (2 * count) - 1 for i in range(count, 0, -1)]


def posterior_coefficients(schedule: NoiseSchedule, t: int, previous: int) -> tuple[float, float, float]:
    """Weights of x0 and x_t in the mean of q(x_previous | x_t, x_0), and its variance, for any previous < t.

    Eq. 8 and beta_tilde of paper A with alpha = alpha_bar_t / alpha_bar_previous and beta = 1 - alpha; with previous =
    t - 1 it is the schedule's own posterior.
    """
    bar, before = schedule.alphas_bar[t], schedule.alphas_bar[previous]
    alpha = bar / before
    x0_weight = before.sqrt() * (1 - alpha) / (1 - bar)
    x_t_weight = alpha.sqrt() * (1 - before) / (1 - bar)
    variance = (1 - alpha) * (1 - before) / (1 - bar)
    return x0_weight.item(), x_t_weight.item(), variance.item()


def ddpm_sample(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    steps: Sequence[int],
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    transform: Transform | None = None,
) -> Iterator[Evaluation]:
    """Ancestral sampling (paper A eq. 5 and 8, sqrt(beta_tilde) noise) over ``steps``, descending from x at steps[0].

    Noise comes from ``noise`` or else from ``generator``. The last x0 yielded is the sample: from the last step the
    chain goes to x0 itself. Raises UserError unless the steps descend strictly within 0 ... T-1.
    """
    draw = noise or normal_noise(x, generator)
    for t, previous in _transitions(steps, schedule):
        x0 = _estimate(denoise, x, t, transform)
        yield t, x, x0
        if previous is not None:
            x0_weight, x_t_weight, variance = posterior_coefficients(schedule, t, previous)
            x = x0_weight * x0 + x_t_weight * x + variance**0.5 * draw()


def ddim_sample(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    steps: Sequence[int],
    noise: Noise | None = None,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    transform: Transform | None = None,
) -> Iterator[Evaluation]:
    """DDIM (Song et al. 2021, eq. 12) over ``steps``, descending from x at steps[0]; ``eta`` 0 is deterministic.

    With ``eta`` 1 it has the distribution of the ancestral sampler. Noise, the sample and errors are as there; ``eta``
    outside 0 ... 1 raises UserError.
    """
    if not 0 <= eta <= 1:
        raise UserError(f"eta: found {eta}, expected 0 (deterministic) to 1 (as much noise as ddpm)")
    draw = noise or normal_noise(x, generator)
    for t, previous in _transitions(steps, schedule):
        x0 = _estimate(denoise, x, t, transform)
        yield t, x, x0
        if previous is not None:
            bar, before = schedule.alphas_bar[t].item(), schedule.alphas_bar[previous].item()
            variance = eta**2 * posterior_coefficients(schedule, t, previous)[2]
            epsilon = (x - bar**0.5 * x0) / (1 - bar) ** 0.5
            x = before**0.5 * x0 + max(1 - before - variance, 0.0) ** 0.5 * epsilon
            if variance:
                x = x + variance**0.5 * draw()


def normal_noise(like: torch.Tensor, generator: torch.Generator | None = None) -> Noise:
    """Give a function that draws standard normal noise shaped as ``like``, on the generator's device, moved to its."""
    device = like.device if generator is None else generator.device
    return lambda: torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def keyed_noise(seeds: Sequence[int], shape: Sequence[int], device: torch.device) -> Noise:
    """Give a function that draws standard normal noise (B, *shape), B seeds, each item from a stream of its own.

    Drawn on the CPU and moved: an item's noise depends neither on the batch nor on the device.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda: torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(device)


def _estimate(denoise: Denoise, x: torch.Tensor, t: int, transform: Transform | None) -> torch.Tensor:
    x0 = denoise(x, torch.full((len(x),), t, dtype=torch.long, device=x.device))
    return x0 if transform is None else transform(x0, t)


def _transitions(steps: Sequence[int], schedule: NoiseSchedule) -> list[tuple[int, int | None]]:
    """Pair each step with the one after it in the list; None after the last."""
    if not steps or any(later >= earlier for earlier, later in pairwise(steps)):
        raise UserError(f"steps: found {list(steps)}, expected at least one, in strictly descending order")
    if steps[0] >= schedule.steps or steps[-1] < 0:
        raise UserError(f"steps: found {list(steps)}, expected 0 to {schedule.steps - 1} (diffusion_steps - 1)")
    return list(zip(steps, [*steps[1:], None], strict=True))

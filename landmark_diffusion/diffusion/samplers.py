"""Samplers as plain functions: they take ``denoise(x_t, t) -> x0`` and yield (t, x_t, x0) at each evaluation.

x_t, x0 are (B, ...); t given to ``denoise`` is a LongTensor (B,). The caller brings the noise, so that it may be keyed
to each image. The previous step is looked up in the list of steps, never computed from a ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch

from landmark_diffusion.diffusion.noise_schedule import NoiseSchedule
from landmark_diffusion.errors import UserError

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Noise = Callable[[], torch.Tensor]
Evaluation = tuple[int, torch.Tensor, torch.Tensor]


def timesteps(total: int, count: int) -> list[int]:
    """``count`` steps out of T = ``total``, descending, in trailing spacing: the first is always T-1.

    Raises UserError unless 1 <= count <= total.
    """
    if not 1 <= count <= total:
        raise UserError(f"sampling_steps: found {count}, expected 1 to {total} (diffusion_steps)")
    # exact integers: ceil(T (n - i) / n) - 1, which a float division would round to one step too many
    return [-(-total * (count - i) // count) - 1 for i in range(count)]


def ddpm_sample(
    denoise: Denoise, x: torch.Tensor, schedule: NoiseSchedule, steps: Sequence[int], noise: Noise
) -> Iterator[Evaluation]:
    """Ancestral sampling (paper A eq. 5 and 8, sqrt(beta_tilde) noise) over ``steps``, descending from x at steps[0].

    Where steps are left out, eq. 8 is taken for the pair (t, previous t) with alpha = alpha_bar_t / alpha_bar_previous.
    The last x0 yielded is the sample: from the last step the chain goes to x0 itself.
    """
    bars = schedule.alphas_bar
    for t, x0, previous, x_t in _evaluate(denoise, x, steps):
        yield t, x_t[0], x0
        if previous is None:
            return
        bar, before = bars[t], bars[previous]
        alpha = bar / before
        mean = (before.sqrt() * (1 - alpha) / (1 - bar)).item() * x0
        mean = mean + (alpha.sqrt() * (1 - before) / (1 - bar)).item() * x_t[0]
        variance = (1 - before) / (1 - bar) * (1 - alpha)
        x_t[0] = mean + variance.sqrt().item() * noise()


def ddim_sample(
    denoise: Denoise, x: torch.Tensor, schedule: NoiseSchedule, steps: Sequence[int], noise: Noise, eta: float = 0.0
) -> Iterator[Evaluation]:
    """DDIM (Song et al. 2021, eq. 12) over ``steps``, descending from x at steps[0]; ``eta`` 0 is deterministic.

    With ``eta`` 1 its variance is that of the ancestral sampler. The last x0 yielded is the sample.
    """
    bars = schedule.alphas_bar
    for t, x0, previous, x_t in _evaluate(denoise, x, steps):
        yield t, x_t[0], x0
        if previous is None:
            return
        bar, before = bars[t].item(), bars[previous].item()
        sigma = eta * ((1 - before) / (1 - bar) * (1 - bar / before)) ** 0.5
        epsilon = (x_t[0] - bar**0.5 * x0) / (1 - bar) ** 0.5
        x_t[0] = before**0.5 * x0 + max(1 - before - sigma**2, 0.0) ** 0.5 * epsilon
        if sigma:
            x_t[0] = x_t[0] + sigma * noise()


def _evaluate(
    denoise: Denoise, x: torch.Tensor, steps: Sequence[int]
) -> Iterator[tuple[int, torch.Tensor, int | None, list[torch.Tensor]]]:
    """Evaluate at each step, giving (t, x0, the next step or None, a cell with x_t that the caller moves on)."""
    if not steps or any(later >= earlier for earlier, later in pairwise(steps)):
        raise UserError(f"steps: found {list(steps)}, expected at least one, in strictly descending order")
    cell = [x]
    for number, t in enumerate(steps):
        x0 = denoise(cell[0], torch.full((len(x),), t, dtype=torch.long, device=x.device))
        yield t, x0, steps[number + 1] if number + 1 < len(steps) else None, cell

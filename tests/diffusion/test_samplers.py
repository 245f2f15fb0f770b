"""Samplers against the schedule's posterior, closed forms of the chain's distribution, and a perfect denoiser."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion import NoiseSchedule
from landmark_diffusion.diffusion.noise_schedule import Level
from landmark_diffusion.diffusion.process import add_noise
from landmark_diffusion.diffusion.samplers import (
    Noise,
    ddim_sample,
    ddpm_sample,
    posterior_coefficients,
    timesteps,
)

SAMPLERS = [ddpm_sample, ddim_sample, partial(ddim_sample, eta=1.0)]


def normal(like: torch.Tensor, seed: int = 0) -> Noise:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(like.shape, generator=generator, dtype=like.dtype)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_timesteps_begin_at_the_noisiest_and_descend(total: int, count: int) -> None:
    count = min(total, count)
    steps = timesteps(total, count)
    assert len(steps) == count and steps[0] == total - 1 and steps[-1] >= 0
    assert all(a > b for a, b in pairwise(steps))
    assert steps[-1] == pytest.approx(total / count - 1, abs=0.5)  # evenly, down to one stride above the image


def test_timesteps_by_hand() -> None:
    assert timesteps(200, 5) == [199, 159, 119, 79, 39]
    assert timesteps(10, 4) == [9, 7, 4, 2]  # 10, 7.5, 5, 2.5 with halves up, less one
    assert timesteps(7, 7) == [6, 5, 4, 3, 2, 1, 0]
    assert timesteps(7, 1) == [6]


@pytest.mark.parametrize("count", [0, 11])
def test_too_few_or_too_many_steps_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"sampling_steps: found {count}, expected 1 to 10"):
        timesteps(10, count)


@pytest.mark.parametrize("zero", [False, True])
def test_posterior_of_neighbours_is_the_schedule_s_own(zero: bool) -> None:
    schedule = NoiseSchedule("scaled_linear", 40, zero_terminal_snr=zero)
    one = torch.ones(1, 1, dtype=torch.float64)
    for t in range(1, 40):
        x0_weight, x_t_weight, variance = posterior_coefficients(*schedule.levels([t, t - 1]))
        mean, wanted = schedule.posterior(2 * one, 3 * one, torch.tensor([t]))
        assert 2 * x0_weight + 3 * x_t_weight == pytest.approx(mean.item(), rel=1e-11)
        assert variance == pytest.approx(wanted.item(), rel=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [timesteps(50, 50), timesteps(50, 7), [49, 31, 30, 2], [12, 0], [49]])
def test_each_step_has_the_marginal_of_the_forward_process(sampler: partial, steps: list[int]) -> None:
    """Given the true x0, the chain must visit q(x_t | x0): mean and variance are followed exactly, as linear maps.

    A previous step computed as t - T/n instead of looked up breaks this for uneven steps (diffusers #2585, #6068).
    """
    schedule = NoiseSchedule("linear", 50, 0.001, 0.1)
    x0, draws = 0.7, len(steps)
    # coordinate 0 is the mean, coordinate k the weight of the k-th independent draw of noise
    units = iter(torch.eye(draws + 1, dtype=torch.float64)[1:])
    constant = torch.eye(draws + 1, dtype=torch.float64)[:1]
    bar = schedule.alphas_bar[steps[0]]
    start = bar.sqrt() * x0 * constant + (1 - bar).sqrt() * next(units)[None]
    chain = sampler(lambda x, level: x0 * constant, start, schedule.levels(steps), lambda: next(units)[None])
    for ((t, _), x_t, _), wanted in zip(chain, steps, strict=True):
        assert t == wanted
        bar = schedule.alphas_bar[t].item()
        assert x_t[0, 0].item() == pytest.approx(bar**0.5 * x0, rel=1e-10)
        assert x_t[0, 1:].square().sum().item() == pytest.approx(1 - bar, rel=1e-10)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("zero", [False, True])
def test_a_perfect_denoiser_gives_x0_exactly(sampler: partial, zero: bool) -> None:
    schedule = NoiseSchedule("linear", 50, zero_terminal_snr=zero)
    x0 = torch.randn(2, 3, 4, 4)
    for count in (1, 4, 50):
        levels = schedule.levels(timesteps(50, count))
        *_, (level, x_t, last) = sampler(lambda x, level: x0, torch.randn_like(x0), levels, normal(x0))
        assert torch.equal(last, x0)
        assert torch.isfinite(x_t).all()
        assert level.t == timesteps(50, count)[-1]


def test_the_last_step_of_ddpm_draws_no_noise() -> None:
    """At t = 0 the sample is x0 itself: noise there would salt the heatmap."""
    calls = []

    def noise() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(1, 2)

    list(ddpm_sample(lambda x, level: x, torch.zeros(1, 2), NoiseSchedule(steps=10).levels(timesteps(10, 10)), noise))
    assert len(calls) == 9


def test_ddim_recovers_the_same_noise_on_the_way_down() -> None:
    """With eta 0 and the true x0 every x_t is eq. 3 of the same noise: the path is deterministic."""
    schedule = NoiseSchedule("linear", 100)
    x0, noise = torch.randn(1, 2, 3, 3, dtype=torch.float64), torch.randn(1, 2, 3, 3, dtype=torch.float64)
    start = add_noise(schedule, x0, noise, torch.tensor([99]))
    for (t, _), x_t, _ in ddim_sample(lambda x, level: x0, start, schedule.levels(timesteps(100, 9)), normal(x0)):
        torch.testing.assert_close(x_t, add_noise(schedule, x0, noise, torch.tensor([t])), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_denoiser_sees_the_steps_of_the_list(sampler: partial) -> None:
    seen = []

    def denoise(x: torch.Tensor, level: Level) -> torch.Tensor:
        t = level.steps(x)
        assert t.dtype == torch.long and t.shape == (len(x),)
        seen.append(t.tolist())
        return x

    start = torch.randn(2, 1)
    levels = NoiseSchedule(steps=30).levels([20, 6, 5])  # a warm start at 20 of 30
    chain = list(sampler(denoise, start, levels, normal(start)))
    assert seen == [[20, 20], [6, 6], [5, 5]]
    assert torch.equal(chain[0][1], start)


@pytest.mark.parametrize("sampler", [ddpm_sample, partial(ddim_sample, eta=0.5)])
def test_the_noise_alone_decides_where_a_chain_ends(sampler: partial) -> None:
    levels, start = NoiseSchedule(steps=20).levels(timesteps(20, 5)), torch.ones(2, 4)

    def run(seed: int) -> torch.Tensor:
        *_, (_, x_t, _) = sampler(lambda x, level: 0.5 * x, start, levels, normal(start, seed))
        return x_t

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("steps", [[], [3, 3], [3, 5], [10, 2], [3, -1]])
def test_bad_steps_are_refused(steps: list[int]) -> None:
    with pytest.raises(UserError, match="steps: found"):
        NoiseSchedule(steps=10).levels(steps)


def test_bad_eta_is_refused() -> None:
    start = torch.zeros(1, 1)
    with pytest.raises(UserError, match=r"eta: found 1\.5"):
        list(ddim_sample(lambda x, level: x, start, NoiseSchedule(steps=10).levels([9]), normal(start), eta=1.5))

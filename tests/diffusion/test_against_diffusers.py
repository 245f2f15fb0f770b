"""Schedule, posterior and samplers against diffusers' schedulers (a dev extra), configured as the papers need them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from landmark_diffusion.diffusion import NoiseSchedule
from landmark_diffusion.diffusion.noise_schedule import Level
from landmark_diffusion.diffusion.process import add_noise, noise_from_x0, v_from
from landmark_diffusion.diffusion.samplers import ddim_sample, ddpm_sample, timesteps

pytest.importorskip("diffusers", reason="the oracle is a dev extra")
FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}
"""diffusers keeps its schedules in float32: 1 - alpha_bar_0 = 1e-4 has three digits there."""
KINDS = [("linear", "linear"), ("sqrt_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2")]
"""Ours beside diffusers' names: their scaled_linear is linear in the root; ours is scaled by 1000/T."""


def scheduler(kind: str, **options: Any) -> Any:
    """The diffusers scheduler of that name, with no clipping."""
    import diffusers

    common = {"num_train_timesteps": 100, "clip_sample": False, "timestep_spacing": "trailing"}
    return getattr(diffusers, kind)(prediction_type="sample", **common, **options)


def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A network that is wrong in a way that depends on x and t."""
    return torch.tanh(0.7 * x) + 0.01 * t[:, None, None, None]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_alphas_bar(ours: Any, theirs: str, zero: bool) -> None:
    schedule = NoiseSchedule(ours, 100, zero_terminal_snr=zero)
    oracle = scheduler("DDPMScheduler", beta_schedule=theirs, rescale_betas_zero_snr=zero)
    torch.testing.assert_close(schedule.alphas_bar.float(), oracle.alphas_cumprod, rtol=1e-5, atol=1e-6)


def test_forward_process_and_v() -> None:
    schedule, oracle = NoiseSchedule("linear", 100), scheduler("DDPMScheduler")
    x0, noise, t = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.tensor([0, 50, 99])
    torch.testing.assert_close(add_noise(schedule, x0, noise, t), oracle.add_noise(x0, noise, t), **FLOAT32)
    torch.testing.assert_close(v_from(schedule, x0, noise, t), oracle.get_velocity(x0, noise, t), **FLOAT32)
    x_t = add_noise(schedule, x0, noise, t)
    torch.testing.assert_close(noise_from_x0(schedule, x_t, x0, t)[1:], noise[1:], **FLOAT32)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_posterior_at_every_step(kind: Any) -> None:
    schedule = NoiseSchedule(kind, 100)
    oracle = scheduler(
        "DDPMScheduler",
        beta_schedule={"linear": "linear", "cosine": "squaredcos_cap_v2"}[kind],
        variance_type="fixed_small",
    )
    x0, x_t = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    for t in range(100):
        mean, variance = schedule.posterior(x0, x_t, torch.tensor([t]))
        generator = torch.Generator().manual_seed(t)
        wanted = oracle.step(x0, t, x_t, generator=generator).prev_sample
        z = torch.randn(x0.shape, generator=torch.Generator().manual_seed(t))
        torch.testing.assert_close(mean + variance.sqrt() * z, wanted, **FLOAT32)


@pytest.mark.parametrize("count", [1, 5, 20, 100])  # divisors: else diffusers computes a step that is not in the list
@pytest.mark.parametrize("name", ["ddpm", "ddim eta 0", "ddim eta 0.5", "ddim eta 1"])
def test_whole_chains(name: str, count: int) -> None:
    """Full and respaced chains with the same noise end at the same sample, by the same steps."""
    schedule = NoiseSchedule("linear", 100)
    if name == "ddpm":
        oracle, options = scheduler("DDPMScheduler", variance_type="fixed_small"), {}
    else:
        oracle, options = scheduler("DDIMScheduler", set_alpha_to_one=True), {"eta": float(name.split()[-1])}
    oracle.set_timesteps(count)
    steps = timesteps(100, count)
    assert oracle.timesteps.tolist() == steps
    x = start = torch.randn(2, 3, 4, 4)
    theirs, ours = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)

    def model(x: torch.Tensor, level: Level) -> torch.Tensor:
        return denoise(x, level.steps(x))

    def noise() -> torch.Tensor:
        return torch.randn(start.shape, generator=ours)

    sampler = ddpm_sample if name == "ddpm" else ddim_sample
    for (t, _), x_t, x0 in sampler(model, start, schedule.levels(steps), noise, **options):
        torch.testing.assert_close(x_t, x, **FLOAT32)
        estimate = denoise(x, torch.full((2,), t))
        torch.testing.assert_close(x0, estimate, **FLOAT32)
        x = oracle.step(estimate, t, x, generator=theirs, **options).prev_sample

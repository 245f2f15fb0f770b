"""The forward process and the conversions between x0, noise and v, against closed forms and each other."""

from __future__ import annotations

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion import NoiseSchedule
from landmark_diffusion.diffusion.process import (
    add_noise,
    noise_from_v,
    noise_from_x0,
    v_from,
    x0_from_noise,
    x0_from_v,
)

T = torch.tensor([0, 60, 199])


@pytest.fixture
def case() -> tuple[NoiseSchedule, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return (
        NoiseSchedule("linear", 200),
        torch.randn(3, 2, 4, 5, dtype=torch.float64),
        torch.randn(3, 2, 4, 5, dtype=torch.float64),
    )


def test_add_noise_is_equation_3(case: tuple) -> None:
    schedule, x0, noise = case
    x_t = add_noise(schedule, x0, noise, T)
    for i, t in enumerate(T.tolist()):
        bar = torch.prod(1 - schedule.betas[: t + 1]).item()
        torch.testing.assert_close(x_t[i], bar**0.5 * x0[i] + (1 - bar) ** 0.5 * noise[i], rtol=1e-12, atol=1e-12)


def test_step_by_step_noising_has_the_distribution_of_one_jump() -> None:
    """Eq. 1 applied t + 1 times gives eq. 3's mean and variance: t = 0 is one step of noise, none left out."""
    schedule = NoiseSchedule("linear", 30, 0.01, 0.2)
    for t in (0, 1, 29):
        mean, variance = 1.0, 0.0
        for beta in schedule.betas[: t + 1].tolist():
            mean, variance = (1 - beta) ** 0.5 * mean, (1 - beta) * variance + beta
        one = torch.ones(1, 1, dtype=torch.float64)
        step = torch.tensor([t])
        assert add_noise(schedule, one, 0 * one, step).item() == pytest.approx(mean, rel=1e-13)
        assert add_noise(schedule, 0 * one, one, step).item() ** 2 == pytest.approx(variance, rel=1e-12)


def test_round_trips_in_float64(case: tuple) -> None:
    schedule, x0, noise = case
    x_t, v = add_noise(schedule, x0, noise, T), v_from(schedule, x0, noise, T)
    for found, wanted in (
        (x0_from_noise(schedule, x_t, noise, T), x0),
        (x0_from_v(schedule, x_t, v, T), x0),
        (noise_from_x0(schedule, x_t, x0, T), noise),
        (noise_from_v(schedule, x_t, v, T), noise),
    ):
        # dividing by sqrt(1 - alpha_bar_0) = 0.01 costs two of float64's sixteen digits
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_everything_is_float32_under_low_precision(case: tuple, dtype: torch.dtype) -> None:
    schedule, x0, noise = case
    a, b = x0.to(dtype), noise.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        results = [f(schedule, a, b, T) for f in (add_noise, v_from, x0_from_noise, x0_from_v, noise_from_x0)]
    assert {result.dtype for result in results} == {torch.float32}
    torch.testing.assert_close(results[0], add_noise(schedule, a.double(), b.double(), T).float(), rtol=1e-6, atol=1e-6)


def test_zero_terminal_snr_refuses_epsilon_and_serves_v(case: tuple) -> None:
    _, x0, noise = case
    schedule = NoiseSchedule("linear", 200, zero_terminal_snr=True)
    x_t, v = add_noise(schedule, x0, noise, T), v_from(schedule, x0, noise, T)
    assert torch.equal(x_t[-1], noise[-1])  # nothing of x0 is left at T-1
    torch.testing.assert_close(x0_from_v(schedule, x_t, v, T), x0, rtol=1e-12, atol=1e-12)
    with pytest.raises(UserError, match="zero_terminal_snr"):
        x0_from_noise(schedule, x_t, noise, T)

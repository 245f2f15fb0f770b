"""Diffusion of positions against closed forms: its schedule, one reverse step, and whole chains on a Gaussian prior."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.positions import PositionSchedule, previous_position


def test_sigma_grows_by_the_same_factor_every_step_from_end_to_end() -> None:
    sigmas = PositionSchedule(0.5, 32.0, 7).sigma(torch.arange(7, dtype=torch.float64))
    assert sigmas.tolist() == pytest.approx([0.5 * 2**k for k in range(7)], rel=1e-12)  # (32 / 0.5)^(1/6) = 2


def test_steps_between_whole_ones_have_the_geometric_mean() -> None:
    schedule = PositionSchedule(2.0, 50.0, 11)
    low, between, high = schedule.sigma(torch.tensor([3.0, 3.5, 4.0], dtype=torch.float64)).tolist()
    assert between == pytest.approx(math.sqrt(low * high), rel=1e-12)


@pytest.mark.parametrize("steps", [2, 200])
def test_step_finds_the_t_of_a_sigma(steps: int) -> None:
    schedule = PositionSchedule(3.0, 32.0, steps)
    for t in torch.linspace(0, steps - 1, 9, dtype=torch.float64).tolist():
        assert schedule.step(schedule.sigma(torch.tensor(t, dtype=torch.float64)).item()) == pytest.approx(t, abs=1e-9)


def test_a_sigma_beyond_the_schedule_takes_its_nearest_end() -> None:
    schedule = PositionSchedule(3.0, 32.0, 200)
    assert schedule.step(0.1) == 0.0 and schedule.step(100.0) == 199.0


def test_one_step_or_one_sigma_is_a_schedule_too() -> None:
    assert PositionSchedule(3.0, 32.0, 1).sigma(torch.tensor(0.0)) == 3.0
    assert PositionSchedule(3.0, 32.0, 1).step(32.0) == 0.0
    constant = PositionSchedule(3.0, 3.0, 9)
    assert constant.sigma(torch.tensor([0.0, 8.0])).tolist() == [3.0, 3.0] and constant.step(3.0) == 0.0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.0, 32.0, 200), r"sigma_min 0 and sigma_max 32: expected 0 < sigma_min <= sigma_max"),
        ((-1.0, 32.0, 200), "sigma_min -1"),
        ((40.0, 32.0, 200), "sigma_min 40 and sigma_max 32"),
        ((3.0, 32.0, 0), "diffusion_steps: found 0, expected at least 1"),
    ],
)
def test_schedules_that_cannot_be_are_refused(arguments: tuple[float, float, int], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        PositionSchedule(*arguments)


@pytest.mark.parametrize(("sigma", "previous"), [(8.0, 7.5), (8.0, 1.0), (3.0, 0.01), (32.0, 31.99)])
def test_eta_1_is_the_exact_posterior(sigma: float, previous: float) -> None:
    """q(y_s | y_t, y_0) as a product: y_s ~ N(y_0, sigma_s^2) and y_t ~ N(y_s, sigma_t^2 - sigma_s^2)."""
    y0 = torch.tensor([1.0, -4.0], dtype=torch.float64)
    y_t = torch.tensor([6.0, 3.0], dtype=torch.float64)
    forward = sigma**2 - previous**2
    variance = 1 / (1 / previous**2 + 1 / forward)
    mean = variance * (y0 / previous**2 + y_t / forward)
    zero, one = torch.zeros_like(y0), torch.ones_like(y0)
    found = previous_position(y0, y_t, sigma, previous, 1.0, zero)
    torch.testing.assert_close(found, mean, rtol=1e-9, atol=1e-12)
    spread = previous_position(y0, y_t, sigma, previous, 1.0, one) - found
    torch.testing.assert_close(spread, math.sqrt(variance) * one, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_every_eta_keeps_the_forward_process_s_distribution(eta: float) -> None:
    """y_t ~ N(y_0, sigma_t^2) has to become y_s ~ N(y_0, sigma_s^2): the variances of both parts add up to it."""
    sigma, previous, zero, one = 8.0, 5.0, torch.zeros(1).double(), torch.ones(1).double()
    kept = previous_position(zero, one, sigma, previous, eta, zero).item()
    drawn = previous_position(zero, zero, sigma, previous, eta, one).item()
    assert kept**2 * sigma**2 + drawn**2 == pytest.approx(previous**2, rel=1e-12)


def test_eta_0_stays_on_the_line_whatever_the_noise() -> None:
    y0, y_t = torch.tensor([2.0, 3.0]), torch.tensor([10.0, -1.0])
    steps = [previous_position(y0, y_t, 8.0, 2.0, 0.0, noise * torch.ones(2)) for noise in (0, 1, -5)]
    assert torch.equal(steps[0], steps[1]) and torch.equal(steps[0], steps[2])
    torch.testing.assert_close(steps[0], y0 + 0.25 * (y_t - y0))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_step_to_no_noise_is_the_estimate(eta: float) -> None:
    y0, y_t = torch.tensor([2.0, 3.0]), torch.tensor([10.0, -1.0])
    assert torch.equal(previous_position(y0, y_t, 8.0, 0.0, eta, torch.randn(2)), y0)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_chain_with_the_exact_denoiser_samples_the_prior(eta: float) -> None:
    """Prior N(5, 2^2): E[y_0 | y_t] is known, and y at the smallest sigma has to be N(5, 2^2 + sigma_min^2)."""
    mean, spread, steps, draws = 5.0, 2.0, 300, 40_000
    schedule = PositionSchedule(0.1, 30.0, steps)
    sigmas = schedule.sigma(torch.arange(steps - 1, -1, -1, dtype=torch.float64)).tolist()
    generator = torch.Generator().manual_seed(0)
    y = mean + math.hypot(spread, sigmas[0]) * torch.randn(draws, generator=generator, dtype=torch.float64)
    for sigma, previous in pairwise(sigmas):
        y0 = (spread**2 * y + sigma**2 * mean) / (spread**2 + sigma**2)
        y = previous_position(y0, y, sigma, previous, eta, torch.randn(draws, generator=generator, dtype=torch.float64))
    assert y.mean().item() == pytest.approx(mean, abs=0.05)  # of 40,000 draws the mean scatters by 0.01, the spread too
    assert y.std().item() == pytest.approx(math.hypot(spread, sigmas[-1]), rel=0.03)

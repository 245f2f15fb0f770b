"""Diffusion of positions against closed forms: its schedule, one reverse step, and whole chains on a Gaussian prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.noise_schedule import Level as MapLevel
from landmark_diffusion.diffusion.positions import (
    PositionLevel,
    PositionSchedule,
    conclude,
    position_sample,
    previous_position,
)
from landmark_diffusion.diffusion.samplers import Noise, ddim_sample


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
        ((3.0, 32.0, 0), "noise.steps: found 0, expected at least 1"),
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


# ---- whole chains -------------------------------------------------------------------------------------------------


@dataclass
class Gaussian:
    """An estimate whose covariance is ``variance`` in both directions."""

    point: torch.Tensor
    variance: float = 1.0

    def covariance(self) -> torch.Tensor:
        return self.variance * torch.eye(2, dtype=self.point.dtype).expand(*self.point.shape, 2)


class Knowing:
    """The exact model of landmarks that lie at N(mean, spread^2): the product with N(y_t, sigma_t^2)."""

    def __init__(self, mean: torch.Tensor, spread: float) -> None:
        self.mean, self.spread = mean, spread

    def __call__(self, y_t: torch.Tensor, level: PositionLevel) -> Gaussian:
        precision = 1 / self.spread**2 + 1 / level.sigma**2
        return Gaussian((self.mean / self.spread**2 + y_t / level.sigma**2) / precision, 1 / precision)


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawing(*shape: int, seed: int = 0) -> Noise:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_levels_shrink_by_one_factor_and_are_pixels_of_the_frame() -> None:
    levels = PositionSchedule(2.0, 64.0, 6, unit=0.4).levels(32.0, 4.0, 4)
    assert [level.sigma for level in levels] == pytest.approx([12.8, 6.4, 3.2, 1.6], rel=1e-12)
    assert [level.t for level in levels] == pytest.approx([4.0, 3.0, 2.0, 1.0], abs=1e-9)  # sigma doubles with each t
    (only,) = PositionSchedule(2.0, 64.0, 6).levels(32.0, 4.0, 1)
    assert only.sigma == 32.0


def test_with_a_model_that_knows_the_place_the_chain_walks_straight_to_it() -> None:
    """With eta 0, y_t - y_0 shrinks as sigma_t: the line that DDIM follows; the last point is the place itself."""
    truth, start = doubles(2, 3, 2), 10 * doubles(2, 3, 2, seed=1)
    levels = PositionSchedule(1.0, 32.0, 50).levels(20.0, 2.0, 7)
    chain = list(position_sample(lambda y, level: Gaussian(truth), start, levels, drawing(2, 3, 2)))
    assert [level for level, *_ in chain] == levels
    for level, y_t, estimate in chain:
        torch.testing.assert_close(y_t, truth + level.sigma / 20 * (start - truth), rtol=1e-12, atol=1e-12)
        assert torch.equal(estimate.point, truth)


def test_the_exact_model_of_a_gaussian_shrinks_the_error_step_by_step() -> None:
    """An estimate keeps k = s^2 / (s^2 + sigma^2) of what y_t is off, a step k + r (1 - k) of it."""
    mean, s, start = doubles(1, 2, 2), 0.7, 9 * doubles(1, 2, 2, seed=1)
    levels = PositionSchedule(0.5, 32.0, 50).levels(8.0, 1.0, 5)
    off = start - mean
    for level, y_t, estimate in position_sample(Knowing(mean, s), start, levels, drawing(1, 2, 2)):
        torch.testing.assert_close(y_t, mean + off, rtol=1e-12, atol=1e-12)
        kept = s**2 / (s**2 + level.sigma**2)
        torch.testing.assert_close(estimate.point, mean + kept * off, rtol=1e-12, atol=1e-12)
        ratio = (1 / 8) ** (1 / 4)
        off = (kept + ratio * (1 - kept)) * off


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_the_chain_is_ddim_s_in_other_coordinates(eta: float) -> None:
    """x_t = sqrt(alpha_bar_t) y_t with sigma_t^2 = (1 - alpha_bar_t) / alpha_bar_t (Song et al. 2021, appendix B)."""
    levels = PositionSchedule(0.2, 9.0, 50).levels(9.0, 0.2, 6)
    bars = [1 / (1 + level.sigma**2) for level in levels]
    start = 5 * doubles(2, 3, 2)

    def model(y: torch.Tensor, sigma: float) -> torch.Tensor:
        """A network that is wrong in a way that depends on y and sigma."""
        return torch.tanh(0.4 * y) - 0.1 * sigma

    theirs = ddim_sample(
        lambda x, level: model(x / level.alpha_bar**0.5, (1 / level.alpha_bar - 1) ** 0.5),
        start * bars[0] ** 0.5,
        [MapLevel(5 - k, bar) for k, bar in enumerate(bars)],
        drawing(2, 3, 2),
        eta,
    )
    ours = position_sample(lambda y, level: Gaussian(model(y, level.sigma)), start, levels, drawing(2, 3, 2), eta)
    for (_, y_t, estimate), (level, x_t, x0) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(y_t, x_t / level.alpha_bar**0.5, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(estimate.point, x0, rtol=1e-9, atol=1e-9)


def test_one_level_is_one_look_around_the_start_and_draws_nothing() -> None:
    mean, start = doubles(1, 2, 2), doubles(1, 2, 2, seed=1)
    levels = PositionSchedule(1.0, 32.0, 50).levels(8.0, 1.0, 1)
    ((level, y_t, estimate),) = position_sample(Knowing(mean, 8.0), start, levels, lambda: pytest.fail("drawn"), 1.0)
    assert level.sigma == 8.0 and torch.equal(y_t, start)
    torch.testing.assert_close(estimate.point, (mean + start) / 2, rtol=1e-12, atol=0)  # two Gaussians as sure


def test_no_level_is_no_look() -> None:
    levels = PositionSchedule(1.0, 32.0, 50).levels(8.0, 1.0, 0)
    chain = position_sample(lambda y, level: pytest.fail("asked"), doubles(1, 2, 2), levels, drawing(1, 2, 2))
    assert list(chain) == []


def test_the_model_is_asked_at_each_level_once() -> None:
    levels, seen = PositionSchedule(1.0, 32.0, 50).levels(20.0, 2.0, 4), []
    model = lambda y, level: (seen.append(level), Gaussian(y))[1]  # noqa: E731
    list(position_sample(model, doubles(1, 2, 2), levels, drawing(1, 2, 2), 1.0))
    assert seen == levels


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_bad_eta_is_refused(eta: float) -> None:
    with pytest.raises(UserError, match=f"eta: found {eta}"):
        list(
            position_sample(
                lambda y, level: Gaussian(y), doubles(1, 2, 2), [PositionLevel(1.0, 1.0)], drawing(1, 2, 2), eta
            )
        )


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_chain_with_the_exact_model_samples_the_prior(eta: float) -> None:
    """Prior N(5, 2^2): y at the smallest sigma has to be N(5, 2^2 + sigma_min^2)."""
    mean, spread, steps, draws = 5.0, 2.0, 300, 20_000
    levels = PositionSchedule(0.1, 30.0, steps).levels(30.0, 0.1, steps)
    start = mean + math.hypot(spread, 30.0) * doubles(1, draws, 2, seed=2)
    model = Knowing(torch.tensor(mean, dtype=torch.float64), spread)
    *_, (_, y, _) = position_sample(model, start, levels, drawing(1, draws, 2), eta)
    assert y.mean().item() == pytest.approx(mean, abs=0.05)  # of 40,000 draws the mean scatters by 0.01, the spread too
    assert y.std().item() == pytest.approx(math.hypot(spread, 0.1), rel=0.03)


# ---- what a chain says in the end ---------------------------------------------------------------------------------


def test_the_mean_of_a_chain_is_that_of_a_draw_from_any_of_its_estimates() -> None:
    """20,000 draws from the even mixture of three Gaussians: their mean and covariance, by numpy."""
    centres, variances = 3 * doubles(3, 1, 1, 2), (1.0, 4.0, 0.25)
    estimates = [Gaussian(centre, variance) for centre, variance in zip(centres, variances, strict=True)]
    point, covariance = conclude(estimates, "mean")
    rng = np.random.default_rng(0)
    draws = np.concatenate(
        [rng.normal(c.flatten().numpy(), v**0.5, (20_000, 2)) for c, v in zip(centres, variances, strict=True)]
    )
    np.testing.assert_allclose(point.flatten().numpy(), draws.mean(0), atol=0.05)
    np.testing.assert_allclose(covariance[0, 0].numpy(), np.cov(draws.T), rtol=0.05, atol=0.05)


def test_the_last_of_a_chain_is_its_last_estimate_alone() -> None:
    estimates = [Gaussian(doubles(1, 2, 2, seed=seed), 1.0 + seed) for seed in range(3)]
    point, covariance = conclude(estimates, "last")
    assert torch.equal(point, estimates[-1].point)
    assert torch.equal(covariance, estimates[-1].covariance())


def test_a_chain_of_one_estimate_is_that_estimate_either_way() -> None:
    only = Gaussian(doubles(1, 2, 2), 3.0)
    for aggregate in ("last", "mean"):
        point, covariance = conclude([only], aggregate)  # type: ignore[arg-type]
        assert torch.equal(point, only.point) and torch.equal(covariance, only.covariance())

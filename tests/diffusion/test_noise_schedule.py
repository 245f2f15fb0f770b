"""The schedule's invariants and its posterior, against closed forms and conditioning of Gaussians by brute force."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion import NoiseSchedule
from landmark_diffusion.diffusion.noise_schedule import ScheduleKind, at_steps

KINDS = get_args(ScheduleKind)


@pytest.fixture(params=[(kind, zero) for kind in KINDS for zero in (False, True)], ids=str)
def schedule(request: pytest.FixtureRequest) -> NoiseSchedule:
    kind, zero = request.param
    return NoiseSchedule(kind, steps=50, zero_terminal_snr=zero)


def test_the_paper_s_linear_schedule_leaves_signal_at_the_last_step() -> None:
    schedule = NoiseSchedule("linear", 200)
    assert schedule.betas[0].item() == 1e-4
    assert schedule.betas[-1].item() == pytest.approx(0.02, rel=1e-15)
    assert torch.diff(schedule.betas).tolist() == pytest.approx([(0.02 - 1e-4) / 199] * 199, abs=1e-15)
    assert schedule.alphas_bar[-1].item() == pytest.approx(0.13, abs=0.005)  # docs/conventions.md


def test_scaled_linear_at_1000_steps_is_linear() -> None:
    assert torch.equal(NoiseSchedule("scaled_linear", 1000).betas, NoiseSchedule("linear", 1000).betas)
    assert NoiseSchedule("scaled_linear", 200).betas[0].item() == pytest.approx(5e-4, rel=1e-15)


def test_scaled_linear_with_few_steps_keeps_its_betas_below_one() -> None:
    betas = NoiseSchedule("scaled_linear", 10).betas
    assert betas.min() > 0 and betas.max() == 0.999


def test_sqrt_linear_is_linear_in_the_root() -> None:
    betas = NoiseSchedule("sqrt_linear", 5, 0.01, 0.25).betas
    assert betas.tolist() == pytest.approx([(0.1 + 0.1 * i) ** 2 for i in range(5)], rel=1e-14)


def test_cosine_follows_its_closed_form_until_the_clip() -> None:
    steps = 100

    def level(t: int) -> float:
        return math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    bars = NoiseSchedule("cosine", steps).alphas_bar
    assert bars[:-1].tolist() == pytest.approx([level(t + 1) / level(0) for t in range(steps - 1)], rel=1e-12)
    assert NoiseSchedule("cosine", steps).betas[-1] == 0.999


def test_everything_is_float64_and_consistent(schedule: NoiseSchedule) -> None:
    for values in (schedule.betas, schedule.alphas, schedule.alphas_bar, schedule.posterior_variance):
        assert values.shape == (50,) and values.dtype == torch.float64
    assert torch.equal(schedule.alphas, 1 - schedule.betas)
    assert bool((torch.diff(schedule.alphas_bar) < 0).all())
    product = 1.0
    for alpha, bar in zip(schedule.alphas.tolist(), schedule.alphas_bar.tolist(), strict=True):
        product *= alpha
        assert bar == pytest.approx(product, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_terminal_snr_moves_the_end_and_keeps_the_start(kind: ScheduleKind) -> None:
    plain, zero = NoiseSchedule(kind, 50), NoiseSchedule(kind, 50, zero_terminal_snr=True)
    assert zero.alphas_bar[-1] == 0  # exactly: x_(T-1) is pure noise
    assert zero.alphas_bar[0].item() == pytest.approx(plain.alphas_bar[0].item(), rel=1e-14)
    # Lin et al. 2023: an affine map of sqrt(alpha_bar), so ratios of differences stay
    before, after = plain.alphas_bar.sqrt(), zero.alphas_bar.sqrt()
    factor = (after[0] - after[-1]) / (before[0] - before[-1])
    torch.testing.assert_close(torch.diff(after), torch.diff(before) * factor, rtol=1e-6, atol=1e-12)


def brute_force_posterior(betas: torch.Tensor, x0: float, x_t: float, t: int) -> tuple[float, float]:
    """Condition the joint Gaussian of (x_0 .. x_t given x0), built step by step from eq. 1, on its last entry."""
    mean, covariance = [x0], [[0.0]]
    for beta in betas[: t + 1].tolist():
        root = math.sqrt(1 - beta)
        row = [root * value for value in covariance[-1]]
        covariance = [[*old, new] for old, new in zip(covariance, row, strict=True)]
        covariance.append([*row, root * row[-1] + beta])
        mean.append(root * mean[-1])
    gain = covariance[t][t + 1] / covariance[t + 1][t + 1]
    return mean[t] + gain * (x_t - mean[t + 1]), covariance[t][t] - gain * covariance[t][t + 1]


def test_posterior_is_the_conditional_of_the_forward_process(schedule: NoiseSchedule) -> None:
    t = torch.tensor([0, 1, 7, 30, 48, 49])
    x0 = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    x_t = torch.linspace(2, -3, 6, dtype=torch.float64)[:, None]
    mean, variance = schedule.posterior(x0, x_t, t)
    for i, step in enumerate(t.tolist()):
        wanted = brute_force_posterior(schedule.betas, x0[i].item(), x_t[i].item(), step)
        assert mean[i].item() == pytest.approx(wanted[0], rel=1e-10, abs=1e-10)
        assert variance[i].item() == pytest.approx(wanted[1], rel=1e-8, abs=1e-12)


def test_posterior_at_step_0_is_x0_itself(schedule: NoiseSchedule) -> None:
    x0 = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    mean, variance = schedule.posterior(x0, 100 * torch.randn_like(x0), torch.zeros(3, dtype=torch.long))
    assert torch.equal(mean, x0)
    assert torch.equal(variance, torch.zeros(3, 1, 1, 1, dtype=torch.float64))
    assert schedule.posterior_variance[0] == 0


def test_posterior_broadcasts_and_keeps_float32_or_better(schedule: NoiseSchedule) -> None:
    t = torch.tensor([3, 49])
    for given, wanted in ((torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2):
        x = torch.randn(2, 3, 4, 5, dtype=given)
        mean, variance = schedule.posterior(x, x, t)
        assert mean.dtype == variance.dtype == wanted
        assert mean.shape == x.shape and variance.shape == (2, 1, 1, 1)


def test_a_negative_step_is_refused_instead_of_counted_from_the_end() -> None:
    with pytest.raises(UserError, match=r"found \[-1\], expected 0 to 9"):
        at_steps(NoiseSchedule(steps=10).betas, torch.tensor([-1]), torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "quadratic"}, r"schedule: found 'quadratic', expected one of linear, scaled_linear"),
        ({"steps": 0}, "noise.steps: found 0"),
        ({"beta_start": 0.0}, "beta_start 0.0"),
        ({"beta_end": 1.0}, "beta_end 1.0"),
        ({"beta_start": 0.1, "beta_end": 0.01}, "beta_start <= beta_end"),
        ({"beta_end": math.nan}, "beta_end nan"),
        ({"steps": 1, "zero_terminal_snr": True}, "at least 2"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NoiseSchedule(**options)

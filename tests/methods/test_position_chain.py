"""The chain of PositionDiffusionModule: one evaluation against closed forms, the chain on evidence that is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from landmark_diffusion.data.geometry import Frame, frames_to_original
from landmark_diffusion.diffusion.positions import PositionLevel
from landmark_diffusion.finders.position_diffusion import FirstGuess
from landmark_diffusion.models.windows import cut_windows, image_pyramid
from tests.methods.tiny_positions import (
    LARGE,
    H,
    N,
    W,
    batch,
    fresh,
    knowing,
    module,
    spots,
)

# ---- one evaluation -----------------------------------------------------------------------------------------------


def view_of(image: torch.Tensor, log_prior: torch.Tensor, points: torch.Tensor) -> FirstGuess:
    return FirstGuess(image_pyramid(image, 4), log_prior.softmax(-1), log_prior, points)


def test_each_window_is_seen_with_its_surroundings_at_its_own_noise() -> None:
    made, b, seen = fresh(), batch(), []
    sigma, t = torch.tensor([2.0, 5.0]), torch.tensor([10.0, 30.0])
    pyramid = made._pyramid(b["image"])
    made.window_network.register_forward_pre_hook(lambda network, inputs: seen.append(inputs))
    made._evidence(pyramid, b["points"], sigma, t)
    ((patches, steps, which),) = seen
    for part, wide in zip(patches.chunk(2, 1), (1, 3), strict=True):
        wanted = cut_windows(pyramid, b["points"], wide * 6 * sigma / 16, 16).flatten(0, 1)
        torch.testing.assert_close(F.pixel_shuffle(part, 4), wanted)
    assert steps.tolist() == [10.0] * N + [30.0] * N
    assert which.argmax(-1).tolist() == [*range(N)] * 2 and which.sum() == 2 * N


def test_without_evidence_and_prior_the_estimate_is_where_the_chain_stands() -> None:
    made, b = fresh({"sampling.prior_weight": 0.0}), batch()
    view = view_of(b["image"], torch.randn(2, N, H // 4, W // 4), b["points"])
    estimate = made._estimate(view, b["points"], PositionLevel(10.0, 3.0))
    torch.testing.assert_close(estimate.point, b["points"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_the_first_guess_pulls_as_the_product_of_gaussians(weight: float) -> None:
    """N(y_t, sigma^2) times a coarse map that is N(m, s^2): the mean is between them by their precisions."""
    made, b = fresh({"sampling.prior_weight": weight, "windows.size": 32}), batch()
    sigma, s = 5.0, 6.0
    y_t = torch.tensor([W / 2, H / 2]).expand(2, N, 2)
    middle = y_t + torch.tensor([3.0, -2.0])
    grid = torch.stack(torch.meshgrid(torch.arange(W // 4), torch.arange(H // 4), indexing="xy"), -1) * 4 + 1.5
    log_prior = -((grid - middle[:, :, None, None]) ** 2).sum(-1) / (2 * s**2)
    log_prior = log_prior - log_prior.amin((-2, -1), keepdim=True)
    found = made._estimate(view_of(b["image"], log_prior, y_t), y_t, PositionLevel(10.0, sigma)).point
    wanted = (y_t / sigma**2 + weight * middle / s**2) / (1 / sigma**2 + weight / s**2)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.06)  # the log map is interpolated between pixels 4 wide


def test_the_covariance_without_evidence_is_the_gaussian_s() -> None:
    made, b = fresh({"sampling.prior_weight": 0.0, "windows.size": 32, "windows.reach": 4.0}), batch()
    view = view_of(b["image"], torch.zeros(2, N, H // 4, W // 4), b["points"])
    found = made._estimate(view, b["points"], PositionLevel(10.0, 3.0)).covariance()
    torch.testing.assert_close(found, 9.0 * torch.eye(2).expand(2, N, 2, 2), rtol=0, atol=0.05)


# ---- chains on evidence that is known -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"windows.wide": 0.0, "sampling.aggregate": "last"},
        {"sampling.start_noise": 0.5, "sampling.eta": 1.0, "sampling.steps": 12, "sampling.samples": 4},
    ],
)
def test_the_chain_goes_from_a_wrong_guess_to_what_the_image_shows(options: dict[str, Any]) -> None:
    """In original pixels: image, pyramid, windows, patches, evidence and frame have to agree on every half pixel."""
    frame, images = Frame.fit((300, 200), (LARGE[1], LARGE[0])), 8
    cells = torch.tensor([[60.0, 60.0], [220.0, 60.0], [140.0, 140.0]])
    truth = cells + 20 * torch.rand(images, N, 2, generator=torch.Generator().manual_seed(0))
    points = frame.to_network(truth.double()).float()
    made = knowing(points, options)
    found = made.find({"image": spots(points), "index": torch.arange(images)})
    frames = torch.from_numpy(np.stack([frame.as_array()] * images))
    errors = {name: frames_to_original(value.points, frames) - truth for name, value in found.items()}
    assert errors["single-step"].norm(dim=-1).min() > 5
    assert errors["multi-step"].norm(dim=-1).max() < 0.7  # a third of a network pixel: between pixels a spot is flat
    assert errors["multi-step"].mean((0, 1)).abs().max() < 0.1  # and no shift common to all


def test_the_chain_follows_its_recursion_on_evidence_of_the_exact_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With l(p) = log N(p; truth, s^2) an estimate keeps s^2 / (s^2 + sigma^2) of what y_t is off."""
    truth, s = torch.tensor([[[30.2, 27.9], [100.4, 31.0], [70.6, 62.25]]]), 0.7
    made, b = (
        knowing(truth, {"sampling.aggregate": "last"}),
        {"image": torch.zeros(1, 1, *LARGE), "index": torch.tensor([0])},
    )

    def exact(pyramid: Any, positions: torch.Tensor, sigma: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        places = positions[:, :, None, None] + made.offsets * 2 * 3.0 * sigma[:, None, None, None, None] / 32
        return -(places - truth[:, :, None, None]).square().sum(-1) / (2 * s**2)

    monkeypatch.setattr(made, "_evidence", exact)
    found = made.find(b)
    off, sigmas = found["single-step"].points - truth, [5 * (4 / 25) ** (k / 3) for k in range(4)]
    for sigma, previous in zip(sigmas, [*sigmas[1:], None], strict=True):
        point = off * s**2 / (s**2 + sigma**2)
        off = point if previous is None else point + previous / sigma * (off - point)
    torch.testing.assert_close(found["multi-step"].points, truth + off, rtol=0, atol=0.01)
    variance = 1 / (1 / s**2 + 1 / sigmas[-1] ** 2)  # the precisions of both Gaussians add up
    wanted = variance * torch.eye(2).expand(1, N, 2, 2)
    torch.testing.assert_close(found["multi-step"].covariance(), wanted, rtol=0.03, atol=1e-3)


def test_the_mean_of_the_evaluations_is_the_mean_of_their_points() -> None:
    made, b = module({"sampling.aggregate": "mean"}), batch()
    chain = list(made._chain(made._look(b["image"]), b, 5, 0))
    assert len(chain) == 4
    found = made.find(b)["multi-step"].points
    torch.testing.assert_close(found, torch.stack([estimate.point for *_, estimate in chain]).mean(0))
    made.sampling = replace(made.sampling, aggregate="last")
    torch.testing.assert_close(made.find(b)["multi-step"].points, chain[-1][-1].point)


def test_the_chain_runs_from_start_to_end_sigma_and_tells_the_network_its_t() -> None:
    made, b = module(), batch()
    with torch.no_grad():
        chain = list(made._chain(made._look(b["image"]), b, 5, 0))
    assert [level.sigma for level, *_ in chain] == pytest.approx([4 * 0.25 ** (k / 3) for k in range(4)])
    for level, _, estimate in chain:
        assert 0.8 * (100 / 8) ** (level.t / 49) == pytest.approx(level.sigma)
        assert estimate.pixel == pytest.approx(6 * level.sigma / 16)


def test_two_evaluations_are_the_guess_and_one_look_around_it() -> None:
    made, b = module(), batch()
    with torch.no_grad():
        view = made._look(b["image"])
        ((level, position, _),) = made._chain(view, b, 2, 0)
    assert level.sigma == pytest.approx(4.0)
    assert torch.equal(position, view.points)


def test_pixels_follow_the_width() -> None:
    made = module()
    steps = torch.arange(50.0)
    torch.testing.assert_close(made._schedule(320).sigma(steps), made._schedule(640).sigma(steps) / 2)
    chains = []
    for width in (64, 32):
        b = {**batch(), "image": torch.rand(2, 1, H, width)}
        with torch.no_grad():
            chains.append([level for level, *_ in made._chain(made._look(b["image"]), b, 4, 0)])
    for wide, narrow in zip(*chains, strict=True):
        assert narrow.sigma == pytest.approx(wide.sigma / 2) and narrow.t == pytest.approx(wide.t)

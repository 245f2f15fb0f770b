"""PositionDiffusionModule: its likelihoods against closed forms, its chain on evidence that is known, its first guess
against the baseline, and what makes it repeatable."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion import DiffusionHeatmapModule, PositionDiffusionModule
from landmark_diffusion.data.geometry import Frame, frames_to_original
from landmark_diffusion.errors import UserError
from landmark_diffusion.methods.position_diffusion import View
from landmark_diffusion.models.windows import cut_windows, image_pyramid

N, H, W = 3, 80, 64  # 64 wide: the options' pixels, meant for 640, are ten times as many as the network's
COARSE: dict[str, Any] = {
    "encoder_channels": (8, 16), "decoder_channels": (16, 8), "blocks_per_level": 1, "attention_factors": (),
}  # fmt: skip
TINY: dict[str, Any] = {
    **COARSE, "window_encoder_channels": (8,), "window_decoder_channels": (8,), "window_size": 16, "sigma_min": 8.0,
    "sigma_max": 100.0, "start_sigma": 40.0, "end_sigma": 10.0, "diffusion_steps": 50, "sampling_steps": 5,
}  # fmt: skip


def fresh(n: int = N, **options: Any) -> PositionDiffusionModule:
    """A new module: its window network gives zero evidence."""
    torch.manual_seed(0)
    return PositionDiffusionModule(n, **{**TINY, **options}).eval()


def module(n: int = N, **options: Any) -> PositionDiffusionModule:
    """A module whose zero-initialised parts are drawn at random, so that every branch acts."""
    made = fresh(n, **options)
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return made


def batch(indices: tuple[int, ...] = (0, 1), annotators: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    chosen = list(indices)
    points = torch.from_numpy(rng.uniform((8, 8), (W - 8, H - 8), (4, N, 2))).float()
    target_points = points[:, None] + torch.from_numpy(rng.normal(0, 0.5, (4, annotators, N, 2))).float()
    return {
        "image": torch.from_numpy(rng.random((4, 1, H, W))).float()[chosen],
        "points": points[chosen],
        "target_points": target_points[chosen],
        "index": torch.tensor(chosen),
    }


# ---- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide_window", [0.0, 3.0])
@pytest.mark.parametrize("annotators", [1, 2])
def test_every_weight_of_both_networks_learns(annotators: int, wide_window: float) -> None:
    made = module(wide_window=wide_window).train()
    losses = made.losses(batch(annotators=annotators))
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    gradients = {name: parameter.grad for name, parameter in made.named_parameters()}
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients.values())
    for network in ("network.", "window_network."):
        weights = [g for name, g in gradients.items() if name.startswith(network) and name.endswith("weight")]
        assert all(g is not None and g.any() for g in weights)


def test_loss_is_the_weighted_sum_of_its_parts() -> None:
    torch.manual_seed(3)
    losses = {name: value.item() for name, value in module(window_weight=0.3).losses(batch()).items()}
    assert losses["loss"] == pytest.approx(losses["nll"] + 0.3 * losses["window_nll"], rel=1e-6)


def test_likelihood_without_evidence_is_the_gaussian_s() -> None:
    """-log of a pixel's share of N(y_t, sigma^2), mean over the noise: log(2 pi / c^2) + 1 with pixels of c sigma."""
    made = fresh(window_size=32, draws=400)
    torch.manual_seed(1)
    c = 2 * 3.0 / 32
    expected = math.log(2 * math.pi / c**2) + 1
    # 2,400 draws: the mean of |z|^2 / 2 scatters by 0.02; cut at 3 sigma it is 0.97, and 0.27 % of the mass is cut off
    exact = {**batch(), "target_points": batch()["points"][:, None]}
    assert made.losses(exact)["window_nll"].item() == pytest.approx(expected - 0.03, abs=0.08)


def test_every_t_is_trained_and_goes_with_its_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = fresh(draws=300), []
    evidence = made._evidence
    monkeypatch.setattr(
        made, "_evidence", lambda pyramid, y, sigma, t: (seen.append((y, sigma, t)), evidence(pyramid, y, sigma, t))[1]
    )
    b = batch()
    made.losses(b)
    ((positions, sigma, t),) = seen
    assert t.min() < 2 and t.max() > 47 and abs(t.mean() - 24.5) < 3
    wanted = 0.8 * (100 / 8) ** (t / 49)
    torch.testing.assert_close(sigma, wanted)
    z = (positions - b["points"].repeat(300, 1, 1)) / sigma[:, None, None]
    assert abs(z.mean()) < 0.1 and abs(z.std() - 1) < 0.05


def test_the_windows_target_lies_at_the_points_to_a_fraction_of_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss's gradient at logits is p - target: its centroid, back from the window, is the annotators' mean."""
    made, seen = fresh(draws=3, window_size=32), []

    def zeros(pyramid: Any, positions: torch.Tensor, sigma: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*positions.shape[:2], 32, 32, requires_grad=True)
        seen.append((pyramid, positions, sigma, logits))
        return logits

    monkeypatch.setattr(made, "_evidence", zeros)
    b = batch(annotators=2)
    torch.manual_seed(5)
    made.losses(b)["window_nll"].backward()
    ((pyramid, positions, sigma, logits),) = seen
    assert torch.equal(pyramid[0][..., :H, :W], b["image"].repeat(3, 1, 1, 1))  # each draw beside its own image
    pixel = 6 * sigma[:, None] / 32
    gaussian = (-(made.offsets * 6 / 32).square().sum(-1) / 2).flatten().softmax(0).view(32, 32)
    counted = logits.grad.flatten(2).any(-1)  # a point more than three sigma from its window's centre is left out
    target = gaussian - logits.grad * counted.sum()
    centre = torch.stack([(target.sum(along) * made.steps).sum(-1) * pixel for along in (-2, -1)], -1) + positions
    wanted = b["target_points"].mean(1).repeat(3, 1, 1)
    assert counted.sum() > 12
    torch.testing.assert_close(centre[counted], wanted[counted], rtol=0, atol=1e-2)


def test_a_missing_landmark_teaches_nothing_and_breaks_nothing() -> None:
    made, b = module().train(), batch(annotators=2)
    b["points"][:, 1] = b["target_points"][:, :, 1] = torch.nan
    losses = made.losses(b)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert all(torch.isfinite(parameter.grad).all() for parameter in made.parameters() if parameter.grad is not None)
    # the landmark's own weights: its channel of the coarse maps, its column of what the windows are told
    head, told = made.network.conv_out.weight.grad, made.window_network.condition.weight.grad
    assert [bool(head[n].any()) for n in range(N)] == [True, False, True]
    assert [bool(told[:, n].any()) for n in range(N)] == [True, False, True]


def test_a_landmark_that_one_annotator_left_out_is_learned_from_the_other() -> None:
    made, b = module(draws=1), batch(annotators=2)
    b["target_points"][:, 1] = torch.nan
    torch.manual_seed(2)
    both = made.losses(b)
    torch.manual_seed(2)
    one = made.losses({**b, "target_points": b["target_points"][:, :1]})
    assert all(torch.equal(both[name], one[name]) for name in both)


def test_a_batch_without_any_landmark_has_no_loss() -> None:
    made, b = module(), batch()
    b["points"][:] = b["target_points"][:] = torch.nan
    losses = made.losses(b)
    losses["loss"].backward()
    assert losses["loss"] == 0 and not any(p.grad is not None and p.grad.any() for p in made.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_first_network_trains_exactly_as_the_baseline(dropout: float) -> None:
    """Losses, gradients and weights over three updates equal those of the module without diffusion, bit for bit."""
    options = {**COARSE, "dropout": dropout}
    ours = fresh(**options).train()
    torch.manual_seed(0)
    baseline = DiffusionHeatmapModule(N, diffusion=False, **options).train()
    assert {name: p.shape for name, p in baseline.network.named_parameters()} == {
        name: p.shape for name, p in ours.network.named_parameters()
    }
    baseline.network.load_state_dict(ours.network.state_dict())
    b = batch(annotators=2)
    small = {
        "image": F.avg_pool2d(b["image"], 4),
        "target_points": (b["target_points"] + 0.5) / 4 - 0.5,
        "index": b["index"],
    }
    optimizers = [torch.optim.AdamW(made.parameters(), lr=1e-2, weight_decay=0.1) for made in (ours, baseline)]
    for update in range(3):
        found = []
        for made, data, optimizer in zip((ours, baseline), (b, small), optimizers, strict=True):
            torch.manual_seed(update)  # as on_train_batch_start does: the first network draws its dropout first
            losses = made.losses(data)
            optimizer.zero_grad()
            losses["loss"].backward()
            found.append((losses["nll"], [p.grad for p in made.network.parameters()]))
            optimizer.step()
        assert torch.equal(found[0][0], found[1][0])
        assert all(torch.equal(a, c) for a, c in zip(found[0][1], found[1][1], strict=True))
    weights = [made.network.state_dict() for made in (ours, baseline)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    for made in (ours, baseline):
        made.eval()
    found_points = (baseline.find(small)["baseline"].points + 0.5) * 4 - 0.5
    torch.testing.assert_close(ours.find(b)["single-step"].points, found_points, rtol=0, atol=1e-4)


# ---- one evaluation -----------------------------------------------------------------------------------------------


def view_of(image: torch.Tensor, log_prior: torch.Tensor, points: torch.Tensor) -> View:
    return View(image_pyramid(image, 4), log_prior.softmax(-1), log_prior, points)


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
    made, b = fresh(prior_weight=0.0), batch()
    view = view_of(b["image"], torch.randn(2, N, H // 4, W // 4), b["points"])
    estimate = made._estimate(view, b["points"], 3.0, 10.0)
    torch.testing.assert_close(estimate.point, b["points"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_the_first_guess_pulls_as_the_product_of_gaussians(weight: float) -> None:
    """N(y_t, sigma^2) times a coarse map that is N(m, s^2): the mean is between them by their precisions."""
    made, b = fresh(prior_weight=weight, window_size=32), batch()
    sigma, s = 5.0, 6.0
    y_t = torch.tensor([W / 2, H / 2]).expand(2, N, 2)
    middle = y_t + torch.tensor([3.0, -2.0])
    grid = torch.stack(torch.meshgrid(torch.arange(W // 4), torch.arange(H // 4), indexing="xy"), -1) * 4 + 1.5
    log_prior = -((grid - middle[:, :, None, None]) ** 2).sum(-1) / (2 * s**2)
    log_prior = log_prior - log_prior.amin((-2, -1), keepdim=True)
    found = made._estimate(view_of(b["image"], log_prior, y_t), y_t, sigma, 10.0).point
    wanted = (y_t / sigma**2 + weight * middle / s**2) / (1 / sigma**2 + weight / s**2)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.06)  # the log map is interpolated between pixels 4 wide


def test_the_covariance_without_evidence_is_the_gaussian_s() -> None:
    made, b = fresh(prior_weight=0.0, window_size=32, window_reach=4.0), batch()
    view = view_of(b["image"], torch.zeros(2, N, H // 4, W // 4), b["points"])
    found = made._covariance(made._estimate(view, b["points"], 3.0, 10.0))
    torch.testing.assert_close(found, 9.0 * torch.eye(2).expand(2, N, 2, 2), rtol=0, atol=0.05)


# ---- chains on evidence that is known -----------------------------------------------------------------------------

LARGE = (96, 128)  # height and width: the options' pixels are five times the network's


class ReadsTheImage(nn.Module):
    """A window network whose evidence is the window itself: it has found what lies at a bright spot."""

    def forward(self, patches: torch.Tensor, t: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        return 40 * patches[:, :16]


class GuessesWrong(nn.Module):
    """A first network that is a pixel of its own off."""

    def __init__(self, places: torch.Tensor) -> None:
        super().__init__()
        self.places = places.long()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        logits = torch.zeros(*self.places.shape[:2], height * width)
        flat = self.places[..., 1] * width + self.places[..., 0]
        return logits.scatter(-1, flat[..., None], 30.0).unflatten(-1, (height, width))


def spots(points: torch.Tensor, size: tuple[int, int] = LARGE) -> torch.Tensor:
    """Images (B,1,H,W) with a bright spot of 1.5 px at each point (B,N,2)."""
    grid = torch.stack(torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="xy"), -1)
    squares = (grid - points[:, :, None, None]).square().sum(-1)
    return torch.exp(-squares / (2 * 1.5**2)).amax(1, keepdim=True)


def knowing(points: torch.Tensor, **options: Any) -> PositionDiffusionModule:
    """A module whose first network is off by a pixel of its own, each image another way; its second sees the spots."""
    known = {"sigma_min": 3.0, "sigma_max": 50.0, "start_sigma": 25.0, "end_sigma": 4.0, "window_size": 32}
    made = fresh(**{**known, "prior_weight": 0.0, **options})
    made.window_network = ReadsTheImage()
    sides = torch.tensor([[1, -1], [-1, 1], [1, 1], [-1, -1]]).repeat(len(points) // 4 + 1, 1)[: len(points), None]
    made.network = GuessesWrong(((points + 0.5) / 4 - 0.5).round() + sides)
    return made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"wide_window": 0.0, "aggregate": "last"},
        {"start_noise": 0.5, "eta": 1.0, "sampling_steps": 12, "num_samples": 4},
    ],
)
def test_the_chain_goes_from_a_wrong_guess_to_what_the_image_shows(options: dict[str, Any]) -> None:
    """In original pixels: image, pyramid, windows, patches, evidence and frame have to agree on every half pixel."""
    frame, images = Frame.fit((300, 200), (LARGE[1], LARGE[0])), 8
    cells = torch.tensor([[60.0, 60.0], [220.0, 60.0], [140.0, 140.0]])
    truth = cells + 20 * torch.rand(images, N, 2, generator=torch.Generator().manual_seed(0))
    points = frame.to_network(truth.double()).float()
    made = knowing(points, **options)
    found = made.find({"image": spots(points), "index": torch.arange(images)})
    frames = torch.from_numpy(np.stack([frame.as_array()] * images))
    errors = {name: frames_to_original(value.points, frames) - truth for name, value in found.items()}
    assert errors["single-step"].norm(dim=-1).min() > 5
    assert errors["multi-step"].norm(dim=-1).max() < 0.7  # a third of a network pixel: between pixels a spot is flat
    assert errors["multi-step"].mean((0, 1)).abs().max() < 0.1  # and no shift common to all


def test_the_chain_follows_its_recursion_on_evidence_of_the_exact_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With l(p) = log N(p; truth, s^2) an estimate keeps s^2 / (s^2 + sigma^2) of what y_t is off."""
    truth, s = torch.tensor([[[30.2, 27.9], [100.4, 31.0], [70.6, 62.25]]]), 0.7
    made, b = knowing(truth, aggregate="last"), {"image": torch.zeros(1, 1, *LARGE), "index": torch.tensor([0])}

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
    torch.testing.assert_close(found["multi-step"].covariance, wanted, rtol=0.03, atol=1e-3)


def test_the_mean_of_the_evaluations_is_the_mean_of_their_points() -> None:
    made, b = module(aggregate="mean"), batch()
    chain = list(made._chain(made._look(b["image"]), b, 5, 0))
    assert len(chain) == 4
    found = made.find(b)["multi-step"].points
    torch.testing.assert_close(found, torch.stack([step.point for step in chain]).mean(0))
    made.aggregate = "last"
    torch.testing.assert_close(made.find(b)["multi-step"].points, chain[-1].point)


def test_the_chain_runs_from_start_to_end_sigma_and_tells_the_network_its_t() -> None:
    made, b = module(), batch()
    with torch.no_grad():
        chain = list(made._chain(made._look(b["image"]), b, 5, 0))
    assert [step.sigma for step in chain] == pytest.approx([4 * 0.25 ** (k / 3) for k in range(4)])
    for step in chain:
        assert 0.8 * (100 / 8) ** (step.t / 49) == pytest.approx(step.sigma)
        assert step.pixel == pytest.approx(6 * step.sigma / 16)


def test_two_evaluations_are_the_guess_and_one_look_around_it() -> None:
    made, b = module(), batch()
    with torch.no_grad():
        view = made._look(b["image"])
        (only,) = made._chain(view, b, 2, 0)
    assert only.sigma == pytest.approx(4.0)
    assert torch.equal(only.position, view.points)


def test_pixels_follow_the_width() -> None:
    made = module()
    steps = torch.arange(50.0)
    torch.testing.assert_close(made._schedule(320).sigma(steps), made._schedule(640).sigma(steps) / 2)
    chains = []
    for width in (64, 32):
        b = {**batch(), "image": torch.rand(2, 1, H, width)}
        with torch.no_grad():
            chains.append(list(made._chain(made._look(b["image"]), b, 4, 0)))
    for wide, narrow in zip(*chains, strict=True):
        assert narrow.sigma == pytest.approx(wide.sigma / 2) and narrow.t == pytest.approx(wide.t)


# ---- prediction ---------------------------------------------------------------------------------------------------

RANDOM: dict[str, Any] = {"start_noise": 1.0, "eta": 1.0, "num_samples": 2}


@pytest.mark.parametrize("options", [{}, RANDOM])
def test_an_image_s_points_depend_neither_on_its_batch_nor_on_its_neighbours(options: dict[str, Any]) -> None:
    made = module(**options)
    together = made.find(batch((0, 1, 2)))
    for index in range(3):
        alone = made.find(batch((index,)))
        for name, found in together.items():
            torch.testing.assert_close(alone[name].points[0], found.points[index], rtol=0, atol=1e-3)
    spread = together["multi-step"].covariance
    assert spread is not None
    torch.testing.assert_close(made.find(batch((1,)))["multi-step"].covariance[0], spread[1], rtol=1e-3, atol=1e-3)


def test_points_are_repeatable_and_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(**RANDOM)
    first = made.find(batch())["multi-step"]
    torch.manual_seed(99)
    again = made.find(batch())["multi-step"]
    assert torch.equal(first.points, again.points) and torch.equal(first.covariance, again.covariance)
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert not torch.allclose(made.find(batch())["multi-step"].points, first.points, atol=1e-2)


def test_an_image_s_noise_is_its_own() -> None:
    made, b = module(**RANDOM), batch((0, 0))
    b["index"] = torch.tensor([5, 5])
    same = made.find(b)["multi-step"].points
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=1e-3)
    b["index"] = torch.tensor([5, 6])
    other = made.find(b)["multi-step"].points
    assert (other[0] - other[1]).abs().max() > 0.1


def test_without_noise_the_seed_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module()
    first = made.find(batch())["multi-step"].points
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert torch.equal(made.find(batch())["multi-step"].points, first)


def test_one_evaluation_is_the_baseline_alone() -> None:
    made = module(sampling_steps=1, validation_steps=1)
    made.window_network = None  # type: ignore[assignment]  # not even asked
    assert made.variants() == ("single-step",)
    assert set(made.find(batch())) == set(made.predict_maps(batch())) == {"single-step"}
    assert len(list(made.reverse_process(batch()))) == 1


def test_validation_within_fit_takes_its_own_number_of_evaluations() -> None:
    made = module(validation_steps=1, sampling_steps=3)
    assert made.variants(quick=True) == ("single-step",) and made.variants() == ("single-step", "multi-step")
    assert set(made.find(batch(), quick=True)) == {"single-step"} == set(made.predict_maps(batch(), quick=True))


def test_covariance_adds_the_chains_spread_to_what_each_leaves_open() -> None:
    made, b = module(start_noise=1.0, eta=1.0, num_samples=5, aggregate="last"), batch()
    with torch.no_grad():
        ends = [list(made._chain(made._look(b["image"]), b, 5, sample))[-1] for sample in range(5)]
    found = made.find(b)["multi-step"].covariance.double().numpy()
    grid = (np.arange(16) - 7.5) * ends[0].pixel
    for image in range(2):
        for n in range(N):
            # every chain's window as weighted places: the covariance of them all is what a draw of y_0 has
            xs = np.concatenate([np.tile(grid, 16) + end.position[image, n, 0].item() for end in ends])
            ys = np.concatenate([np.repeat(grid, 16) + end.position[image, n, 1].item() for end in ends])
            weights = np.concatenate([end.window[image, n].double().flatten().numpy() for end in ends])
            wanted = np.cov(np.stack((xs, ys)), aweights=weights, ddof=0)
            np.testing.assert_allclose(found[image, n], wanted, rtol=1e-3, atol=1e-3)
            assert np.array_equal(found[image, n], found[image, n].T)
            assert np.linalg.eigvalsh(found[image, n]).min() > 0


def test_a_noised_start_spreads_more() -> None:
    """Without evidence a chain stays where it starts: four starts, sigma 4 around the guess, beside one."""
    b = batch()
    one = fresh(prior_weight=0.0).find(b)["multi-step"].covariance
    many = fresh(prior_weight=0.0, start_noise=1.0, num_samples=4).find(b)["multi-step"].covariance
    assert (torch.linalg.eigvalsh(many - one) > -1e-4).all()
    between = (many - one).diagonal(dim1=-2, dim2=-1).mean().item()
    assert between == pytest.approx(4.0**2 * 3 / 4, rel=0.5)  # a variance over 4 of 12 points' coordinates


def test_maps_are_distributions_around_the_points() -> None:
    made, b = fresh(aggregate="last", prior_weight=0.3), batch()
    maps, found = made.predict_maps(b), made.find(b)
    ys, xs = torch.arange(H).float(), torch.arange(W).float()
    for value in maps.values():
        assert value.shape == (2, N, H, W) and value.min() >= 0
    torch.testing.assert_close(maps["single-step"].sum((-2, -1)), torch.ones(2, N))
    inside = ((found["multi-step"].points - torch.tensor([W / 2, H / 2])).abs() < torch.tensor([W, H]) / 2 - 6).all(-1)
    mass = maps["multi-step"].sum((-2, -1))
    assert (mass <= 1 + 1e-4).all() and torch.allclose(mass[inside], torch.ones(int(inside.sum())), atol=1e-4)
    centroid = torch.stack(((maps["multi-step"].sum(-2) * xs).sum(-1), (maps["multi-step"].sum(-1) * ys).sum(-1)), -1)
    torch.testing.assert_close(centroid[inside], found["multi-step"].points[inside], rtol=0, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_the_reverse_process_has_as_many_steps_as_evaluations(count: int) -> None:
    made, b = module(), batch((0,))
    steps = list(made.reverse_process(b, count))
    assert len(steps) == count and steps[0].t == 49
    assert all(later.t <= earlier.t for earlier, later in pairwise(steps))
    if count == 5:
        assert all(later.t < earlier.t for earlier, later in pairwise(steps))
    for step in steps:
        assert step.x_t.shape == step.x0.shape == step.probability.shape == (1, N, H, W)
        assert torch.isfinite(step.x_t).all() and step.x0.min() >= 0 and step.x0.max() <= 1
    assert torch.equal(steps[0].probability, made.predict_maps(b)["single-step"])
    if count == 5:  # as many as sampling_steps
        assert torch.equal(steps[-1].probability, made.predict_maps(b)["multi-step"])


@pytest.mark.parametrize("size", [(H, W), (81, 67), (50, 30)])
def test_any_size_is_predicted_within_it(size: tuple[int, int]) -> None:
    """Sides that are no multiple of the coarse factor, of the window's patches or of the pyramid."""
    b = {"image": torch.rand(1, 1, *size), "index": torch.tensor([0])}
    made = module()
    for value in made.predict_maps(b).values():
        assert value.shape == (1, N, *size) and torch.isfinite(value).all()
    with torch.no_grad():
        coarse, large = made._look(b["image"]).maps[0], made.predict_maps(b)["single-step"][0]
    repeated = coarse[:, torch.arange(size[0])[:, None] // 4, torch.arange(size[1]) // 4]
    torch.testing.assert_close(large, repeated / repeated.sum((-2, -1), keepdim=True))
    guess = made.find(b)["single-step"].points
    assert (guess >= -0.5).all() and (guess <= torch.tensor([size[1], size[0]]) + 1).all()


def test_points_under_bfloat16_differ_by_at_most_a_tenth_of_a_pixel() -> None:
    """With evidence and a first guess that are the same, the arithmetic behind them has to be precise."""
    points = torch.tensor([[[30.0, 27.3], [100.4, 31.0], [70.6, 62.2]]])
    made, b = knowing(points), {"image": spots(points), "index": torch.tensor([0])}
    exact = made.find(b)["multi-step"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made.find(b)["multi-step"]
    assert (exact.points - rounded.points).abs().max() <= 0.1
    assert exact.covariance is not None and rounded.covariance is not None
    torch.testing.assert_close(rounded.covariance, exact.covariance, rtol=0.02, atol=0.02)


def test_losses_stay_finite_under_bfloat16() -> None:
    made = module()
    torch.manual_seed(1)
    exact = made.losses(batch())
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        rounded = made.losses(batch())
    for name, value in exact.items():
        assert rounded[name].dtype == torch.float32
        assert rounded[name].item() == pytest.approx(value.item(), rel=0.02)


def test_double_precision_works_as_in_the_other_methods() -> None:
    """``trainer.precision: 64-true`` makes weights, images and points double."""
    made, b = module(), batch()
    single = made.find(b)["multi-step"].points
    made = made.double()
    b = {name: value.double() if value.is_floating_point() else value for name, value in b.items()}
    torch.testing.assert_close(made.find(b)["multi-step"].points.float(), single, rtol=0, atol=1e-2)
    losses = made.losses(b)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"coarse_factor": 0}, "model.coarse_factor: found 0, expected at least 1"),
        ({"window_size": 0}, "model.window_size: found 0"),
        ({"window_patch": -1}, "model.window_patch: found -1"),
        ({"window_patch": 5}, r"model.window_patch: found 5, expected a divisor of window_size \(16\)"),
        ({"sampling_steps": 0}, "model.sampling_steps: found 0"),
        ({"validation_steps": 0}, "model.validation_steps: found 0"),
        ({"num_samples": 0}, "model.num_samples: found 0"),
        ({"draws": 0}, "model.draws: found 0"),
        ({"window_reach": 0.0}, "model.window_reach 0,"),
        ({"wide_window": -1.0}, "wide_window -1:"),
        ({"start_sigma": 200.0}, r"model.start_sigma 200 .*sigma_max \(100\)"),
        ({"end_sigma": 2.0}, r"end_sigma 2: expected sigma_min \(8\)"),
        ({"start_sigma": 9.0}, "start_sigma 9 and end_sigma 10"),
        ({"sigma_min": 0.0}, "sigma_min 0 and sigma_max 100"),
        ({"diffusion_steps": 0}, "diffusion_steps: found 0"),
        ({"eta": 1.5}, "model.eta 1.5"),
        ({"eta": -0.1}, "model.eta -0.1"),
        ({"start_noise": -1.0}, "start_noise -1"),
        ({"aggregate": "median"}, "model.aggregate: found 'median', expected last or mean"),
        ({"decoder": "centre"}, "model.decoder: found 'centre'"),
        ({"num_landmarks": 0}, "model.num_landmarks: found 0"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        PositionDiffusionModule(**{"num_landmarks": N, **TINY, **options})


def test_the_weights_alone_make_the_same_module_again() -> None:
    """What is computed from the options is no part of a checkpoint."""
    made, other = module(), fresh()
    assert all(name.startswith(("network.", "window_network.")) for name in made.state_dict())
    other.load_state_dict(made.state_dict())
    assert torch.equal(made.find(batch())["multi-step"].points, other.find(batch())["multi-step"].points)

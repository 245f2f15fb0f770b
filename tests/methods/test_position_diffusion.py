"""PositionDiffusionModule in training: its likelihoods against closed forms, its first network against the baseline."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from landmark_diffusion import DiffusionHeatmapModule, PositionDiffusionModule
from landmark_diffusion.core.errors import UserError
from tests.methods.tiny_positions import COARSE, TINY, H, N, W, batch, fresh, module
from tests.options import nested


@pytest.mark.parametrize("wide_window", [0.0, 3.0])
@pytest.mark.parametrize("annotators", [1, 2])
def test_every_weight_of_both_networks_learns(annotators: int, wide_window: float) -> None:
    made = module({"windows.wide": wide_window}).train()
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
    losses = {name: value.item() for name, value in module({"window_weight": 0.3}).losses(batch()).items()}
    assert losses["loss"] == pytest.approx(losses["nll"] + 0.3 * losses["window_nll"], rel=1e-6)


def test_likelihood_without_evidence_is_the_gaussian_s() -> None:
    """-log of a pixel's share of N(y_t, sigma^2), mean over the noise: log(2 pi / c^2) + 1 with pixels of c sigma."""
    made = fresh({"windows.size": 32, "noise.draws": 400})
    torch.manual_seed(1)
    c = 2 * 3.0 / 32
    expected = math.log(2 * math.pi / c**2) + 1
    # 2,400 draws: the mean of |z|^2 / 2 scatters by 0.02; cut at 3 sigma it is 0.97, and 0.27 % of the mass is cut off
    exact = {**batch(), "target_points": batch()["points"][:, None]}
    assert made.losses(exact)["window_nll"].item() == pytest.approx(expected - 0.03, abs=0.08)


def test_every_t_is_trained_and_goes_with_its_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = fresh({"noise.draws": 300}), []
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
    made, seen = fresh({"noise.draws": 3, "windows.size": 32}), []

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
    made, b = module({"noise.draws": 1}), batch(annotators=2)
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
    options = {**COARSE, "network.dropout": dropout}
    ours = fresh({**options, "window_network.dropout": dropout}).train()
    torch.manual_seed(0)
    baseline = DiffusionHeatmapModule(N, diffusion=False, **nested(options)).train()
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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"coarse_factor": 0}, "model.coarse_factor: found 0, expected at least 1"),
        ({"windows.size": 0}, "model.windows.size: found 0"),
        ({"windows.patch": -1}, "model.windows.patch: found -1"),
        ({"windows.patch": 5}, r"model.windows.patch: found 5, expected a divisor of size \(16\)"),
        ({"sampling.steps": 0}, "model.sampling.steps: found 0"),
        ({"sampling.validation_steps": 0}, "model.sampling.validation_steps: found 0"),
        ({"sampling.samples": 0}, "model.sampling.samples: found 0"),
        ({"noise.draws": 0}, "model.noise.draws: found 0"),
        ({"windows.reach": 0.0}, "model.windows.reach 0,"),
        ({"windows.wide": -1.0}, "model.windows.reach 3, wide -1:"),
        ({"sampling.start_sigma": 200.0}, r"model.sampling.start_sigma 200 .*noise.sigma_max \(100\)"),
        ({"sampling.end_sigma": 2.0}, r"end_sigma 2: expected noise.sigma_min \(8\)"),
        ({"sampling.start_sigma": 9.0}, "start_sigma 9 and end_sigma 10"),
        ({"noise.sigma_min": 0.0}, "sigma_min 0 and sigma_max 100"),
        ({"noise.steps": 0}, "noise.steps: found 0"),
        ({"sampling.eta": 1.5}, "model.sampling.eta 1.5"),
        ({"sampling.eta": -0.1}, "model.sampling.eta -0.1"),
        ({"sampling.start_noise": -1.0}, "start_noise -1"),
        ({"sampling.aggregate": "median"}, "model.sampling.aggregate: found 'median', expected last or mean"),
        ({"decoding.decoder": "centre"}, "model.decoding.decoder: found 'centre'"),
        ({"num_landmarks": 0}, "model.num_landmarks: found 0"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        PositionDiffusionModule(**nested({"num_landmarks": N, **TINY, **options}))


def test_the_weights_alone_make_the_same_module_again() -> None:
    """What is computed from the options is no part of a checkpoint."""
    made, other = module(), fresh()
    assert all(name.startswith(("network.", "window_network.", "shape_prior.")) for name in made.state_dict())
    other.load_state_dict(made.state_dict())
    assert torch.equal(made.find(batch())["multi-step"].points, other.find(batch())["multi-step"].points)

"""DiffusionHeatmapModule: losses against direct formulas, a chain that can be repeated, numbers kept precise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from landmark_diffusion import DiffusionHeatmapModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.seeds import evaluation_seed, noise_seed
from landmark_diffusion.heatmaps.losses import masked_mse, spatial_nll, spatial_softmax
from tests.options import nested

N, H, W = 3, 20, 16
TINY: dict[str, Any] = {
    "network.encoder_channels": (8, 16), "network.decoder_channels": (16, 8), "network.blocks_per_level": 1,
    "network.attention_factors": (), "noise.steps": 20,
}  # fmt: skip


def module(options: Mapping[str, Any] | None = None) -> DiffusionHeatmapModule:
    torch.manual_seed(0)
    made = DiffusionHeatmapModule(N, **nested({**TINY, **(options or {})}))
    torch.nn.init.normal_(made.network.get_parameter(list(dict(made.network.named_parameters()))[-2]), std=0.3)
    return made.eval()


def batch(indices=(0, 1)) -> dict:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((4, 1, H, W))).float()
    points = torch.from_numpy(rng.uniform(2, 13, (4, 1, N, 2))).float()
    return {
        "image": images[list(indices)],
        "target_points": points[list(indices)],
        "index": torch.tensor(list(indices)),
    }


def test_spatial_nll_is_minus_log_probability_at_the_hot_pixel() -> None:
    logits = torch.randn(2, N, H, W)
    target = torch.zeros(2, N, H, W)
    target[:, :, 5, 7] = 1
    by_hand = -(logits[:, :, 5, 7] - torch.logsumexp(logits.flatten(-2), -1)).mean()
    assert spatial_nll(logits, target) == pytest.approx(by_hand.item(), rel=1e-6)


def test_few_hot_target_is_a_distribution() -> None:
    logits, target = torch.zeros(1, 1, H, W), torch.zeros(1, 1, H, W)
    target[0, 0, 1, 1] = target[0, 0, 2, 2] = 1
    assert spatial_nll(logits, target) == pytest.approx(math.log(H * W), rel=1e-6)


def test_channels_without_a_point_count_nothing() -> None:
    logits, target = torch.randn(1, 2, H, W), torch.zeros(1, 2, H, W)
    target[0, 0, 3, 3] = 1
    known = torch.tensor([[True, False]])
    assert spatial_nll(logits, target) == spatial_nll(logits[:, :1], target[:, :1])
    assert masked_mse(logits, target, known) == pytest.approx((logits[0, 0] - target[0, 0]).square().mean().item())
    assert spatial_nll(logits, torch.zeros_like(target)) == 0


def test_softmax_and_loss_stay_float32_under_autocast() -> None:
    logits = torch.randn(1, 1, H, W) * 20
    target = torch.zeros_like(logits)
    target[0, 0, 3, 3] = 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(spatial_softmax(logits), logits.flatten(-2).softmax(-1).view_as(logits))
        inside = spatial_nll(logits, target)
    assert inside == spatial_nll(logits, target)


def test_loss_is_the_weighted_sum_of_its_parts() -> None:
    torch.manual_seed(3)
    made = module({"target.nll_weight": 0.7, "target.mse_weight": 0.2})
    losses = {name: value.item() for name, value in made.losses(batch()).items()}
    assert losses["loss"] == pytest.approx(0.7 * losses["nll"] + 0.2 * losses["mse"], rel=1e-6)


def test_baseline_sees_the_image_alone_and_has_the_likelihood_alone() -> None:
    baseline = module({"diffusion": False})
    losses = baseline.losses(batch())
    assert set(losses) == {"loss", "nll"} and losses["loss"] == losses["nll"]
    assert set(baseline.predict_maps(batch())) == {"baseline"} == set(baseline.variants())


def test_every_t_is_trained(monkeypatch) -> None:
    made, seen = module({"noise.steps": 4, "sampling.steps": 4}), set()
    forward = made.network.forward
    monkeypatch.setattr(made.network, "forward", lambda x, t=None: (seen.update(t.tolist()), forward(x, t))[1])
    torch.manual_seed(0)
    for _ in range(40):
        made.losses(batch())
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("parameterisation", ["epsilon", "v"])
def test_epsilon_and_v_recover_x0_from_a_perfect_network(parameterisation, monkeypatch) -> None:
    options = {
        "sampling.blur_sigma_max": 0,
        "sampling.steps": 5,
        "sampling.sampler": "ddim",
        "noise.schedule": "linear",
    }
    made = module({"parameterisation": parameterisation, **options})
    from landmark_diffusion.diffusion.process import v_from
    from landmark_diffusion.heatmaps import make_target

    b = batch()
    x0 = 2 * make_target(b["target_points"], (H, W)) - 1

    def perfect(image, x_t, t):
        a = made.noise_schedule.alphas_bar[t][:, None, None, None].float()
        noise = (x_t - a.sqrt() * x0) / (1 - a).sqrt()
        return noise if parameterisation == "epsilon" else v_from(made.noise_schedule, x0, noise, t)

    monkeypatch.setattr(made, "forward", perfect)
    monkeypatch.setattr(type(made), "__call__", lambda self, *args: self.forward(*args))
    steps = list(made.reverse_process(b))
    assert (steps[-1].x0 - (x0 + 1) / 2).abs().max() < 1e-3


def test_noise_of_an_image_depends_neither_on_its_batch_nor_on_its_neighbours() -> None:
    made = module({"sampling.steps": 4})
    together = made.predict_maps(batch((0, 1, 2)))["multi-step"]
    for index in range(3):
        alone = made.predict_maps(batch((index,)))["multi-step"]
        assert torch.allclose(alone[0], together[index], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_evaluation_draws_from_a_key_of_its_own_and_never_from_a_training_batchs() -> None:
    """With the training key, image i would be measured with the very noise that batch 0 of epoch i was trained with."""
    made = module({"sampling.steps": 3})
    for index, sample in ((0, 0), (2, 0), (1, 1)):
        x_t = next(iter(made.reverse_process(batch((index,)), sample=sample))).x_t[0]
        own = torch.Generator().manual_seed(evaluation_seed(made.seed, index, sample))
        assert torch.equal(x_t, torch.randn(x_t.shape, generator=own))
        for rank, epoch, step in itertools.product(range(3), repeat=3):
            training = torch.Generator().manual_seed(noise_seed(made.seed, rank, epoch, step))
            assert not torch.equal(x_t, torch.randn(x_t.shape, generator=training))


def test_samples_differ_and_are_averaged() -> None:
    made = module({"sampling.steps": 3})
    chains = [list(made.reverse_process(batch(), sample=k))[-1].x0 for k in range(2)]
    assert not torch.allclose(chains[0], chains[1], atol=1e-4)
    made.sampling = replace(made.sampling, samples=2)
    assert torch.allclose(made.predict_maps(batch())["multi-step"], sum(chains) / 2, atol=1e-6)


def test_single_step_is_the_first_evaluation_of_the_chain() -> None:
    made = module({"sampling.steps": 4})
    maps = made.predict_maps(batch())
    first = next(iter(made.reverse_process(batch())))
    assert first.t == 19
    assert torch.equal(maps["single-step"], first.probability)
    made.sampling = replace(made.sampling, aggregate="mean")
    steps = [step.probability for step in made.reverse_process(batch())]
    assert torch.allclose(made.predict_maps(batch())["multi-step"], torch.stack(steps).mean(0), atol=1e-6)


@pytest.mark.parametrize("x0_from", ["softmax_peak", "clamp", "tanh"])
@pytest.mark.parametrize("renormalise", [False, True])
def test_x0_stays_in_the_unit_range(x0_from, renormalise) -> None:
    made = module({"sampling.x0_from": x0_from, "sampling.renormalise": renormalise, "sampling.steps": 3})
    for step in made.reverse_process(batch()):
        assert step.x0.min() >= 0 and step.x0.max() <= 1 + 1e-5


def test_renormalised_blur_gives_the_peak_back() -> None:
    made = module({"sampling.renormalise": True, "sampling.steps": 2})
    step = next(iter(made.reverse_process(batch())))
    assert torch.allclose(step.x0.amax((-2, -1)), torch.ones(2, N), atol=1e-5)  # softmax_peak has height 1


def test_channel_dropout_empties_whole_channels() -> None:
    made = module({"target.channel_dropout": 0.5})
    torch.manual_seed(0)
    x0 = torch.ones(200, N, 2, 2)
    dropped = made._drop_channels(x0)
    per_channel = dropped.flatten(-2).mean(-1)
    assert set(per_channel.unique().tolist()) == {-1.0, 1.0}
    assert 0.4 < (per_channel == -1).float().mean() < 0.6


def test_points_under_bfloat16_differ_by_at_most_a_tenth_of_a_pixel() -> None:
    made = module({"diffusion": False})
    b = batch((0, 1, 2, 3))
    exact = made.decode(made.predict_maps(b)["baseline"])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made.decode(made.predict_maps(b)["baseline"])
    # an untrained map has many near-equal maxima: compare where both found the same one
    same = (exact - rounded).norm(dim=-1) < 2
    assert same.float().mean() > 0.5
    assert (exact - rounded)[same].abs().max() <= 0.1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"parameterisation": "epsilon", "noise.zero_terminal_snr": True}, "pure noise"),
        ({"sampling.steps": 21}, "model.sampling.steps: found 21"),
        ({"sampling.validation_steps": 0}, "model.sampling.validation_steps: found 0"),
        ({"sampling.samples": 0}, "model.sampling.samples: found 0"),
        ({"decoding.decoder": "centre"}, "argmax"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, expected) -> None:
    with pytest.raises(UserError, match=expected):
        module(options)

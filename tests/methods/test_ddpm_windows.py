"""A DDPM of windows: it sees what the window network will see, and denoises that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from landmark_diffusion import DDPMPretrainModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.process import add_noise
from landmark_diffusion.evaluation.sample_writer import SampleWriter
from landmark_diffusion.methods.ddpm_options import DrawnWindows, uniform_of
from tests.methods.test_ddpm_sets import fit, pooled
from tests.methods.tiny_positions import module as positions
from tests.options import nested

WINDOWS: dict[str, Any] = {
    "network.encoder_channels": (8,), "network.decoder_channels": (8,), "network.blocks_per_level": 1,
    "network.attention_factors": (), "network.scale_shift": True, "noise.steps": 20, "sampling.steps": 3,
    "windows.size": 16, "windows.count": 4, "windows.sigma_min": 8.0, "windows.sigma_max": 100.0,
}  # fmt: skip
H, W = 80, 64


def module(options: Mapping[str, Any] | None = None) -> DDPMPretrainModule:
    torch.manual_seed(0)
    made = DDPMPretrainModule(**nested({**WINDOWS, **(options or {})})).eval()
    torch.nn.init.normal_(made.network.conv_out.weight, std=0.3)
    return made


def batch(count: int = 3) -> dict[str, Any]:
    images = torch.rand(count, 1, H, W, generator=torch.Generator().manual_seed(1))
    return {"image": images, "index": torch.arange(count)}


def test_windows_are_what_the_window_network_is_given() -> None:
    """The patches that reach the network here and in PositionDiffusion, for one place and sigma."""
    made, seen = positions(), []
    made.window_network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    b = batch()
    drawn = torch.rand(3, 9)
    sigma = 8 * (100 / 8) ** drawn[:, 0] * W / 640
    centres = drawn[:, 1:].view(3, 4, 2) * torch.tensor([W, H]) - 0.5
    made._evidence(made._pyramid(b["image"]), centres[:, :3], sigma, torch.zeros(3))
    windows = module().windows.draw(b["image"], drawn)
    assert windows.shape == (3, 4, 2, 16, 16)
    patches = F.pixel_unshuffle(windows[:, :3].flatten(0, 1), 4)
    torch.testing.assert_close(patches, seen[0], atol=1e-5, rtol=0)


def test_places_fill_the_image_and_sigmas_the_range_evenly_in_their_logarithm() -> None:
    """A ramp tells where a window's centre lies; two pixels apart, how large its pixels are."""
    options = DrawnWindows(size=2, patch=1, wide=0, reach=1, count=1, sigma_min=8, sigma_max=64)
    x = torch.arange(64.0).expand(64, 64)
    ramp = torch.stack([x, x.T])[:, None]  # grey is x, and y
    uniform = torch.tensor([[0.25, 0.5, 0.3]]).repeat(2, 1)
    (across,), (down,) = options.draw(ramp, uniform)[:, 0]
    sigma = 8 * 8**0.25 * 64 / 640
    assert across.mean().item() == pytest.approx(0.5 * 64 - 0.5, abs=1e-4)
    assert down.mean().item() == pytest.approx(0.3 * 64 - 0.5, abs=1e-4)
    assert (across[:, 1] - across[:, 0]).mean().item() == pytest.approx(sigma, rel=1e-4)


def test_loss_is_the_squared_error_of_the_noise_of_all_windows() -> None:
    made, b = module(), batch()
    torch.manual_seed(5)
    loss = made.losses(b)["loss"]
    torch.manual_seed(5)
    x0 = made.windows.draw(b["image"], torch.rand(3, 9)).flatten(0, 1) * 2 - 1
    t, noise = torch.randint(0, 20, (12,)), torch.randn(12, 2, 16, 16)
    x_t = F.pixel_unshuffle(add_noise(made.noise_schedule, x0, noise, t), 4)
    output = made.network(x_t, t)
    assert output.shape == (12, 32, 4, 4)
    assert loss.item() == pytest.approx((output - F.pixel_unshuffle(noise, 4)).square().mean().item(), rel=1e-5)


def test_validation_loss_of_an_image_depends_on_the_image_alone() -> None:
    made = module()
    together = made.image_losses(batch())
    assert together.shape == (3,)
    alone = {name: value[1:2] for name, value in batch().items()}
    assert made.image_losses(alone)[0].item() == pytest.approx(together[1].item(), rel=1e-4)
    assert torch.equal(made.image_losses(batch()), together)


@pytest.mark.parametrize("options", [{}, {"windows.wide": 0.0}, {"self_conditioning": True}])
def test_windows_are_generated_in_their_own_size(options: dict[str, Any]) -> None:
    made = module(options)
    found = made.generate(3, (W, H))
    assert found.shape == (3, 1, 16, 16) and found.min() >= 0 and found.max() <= 1
    assert math.isfinite(made.losses(batch())["loss"].item())


def test_generated_windows_are_compared_with_windows(tmp_path: Path) -> None:
    made = module()
    images = np.full((5, H, W), 100, np.uint8)
    inside = made.comparable(images)
    assert inside.shape == (5, 16, 16) and inside.dtype == np.uint8 and set(np.unique(inside)) <= set(range(101))
    assert (inside == 100).any()
    fit(made, tmp_path, pooled(), SampleWriter(tmp_path, 2, count=2, steps=3, statistics_count=2))
    assert (tmp_path / "samples" / "step_000002.png").is_file()


def test_normal_numbers_become_uniform_ones() -> None:
    found = uniform_of(torch.tensor([-40.0, 0.0, 0.6744898, 40.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 0.75, 1.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"windows.count": -1}, r"windows.count: found -1, expected 0 \(whole images\) or more"),
        ({"windows.sigma_min": 200.0}, "expected 0 < sigma_min <= sigma_max"),
        ({"windows.patch": 5}, r"windows.patch: found 5, expected a divisor of size \(16\)"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        module(options)

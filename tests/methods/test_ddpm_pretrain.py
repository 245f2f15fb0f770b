"""DDPMPretrainModule: the loss of eq. 5, generated radiographs that can be repeated, learning on phantoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from landmark_diffusion import DDPMPretrainModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.process import add_noise, v_from
from tests.options import nested

TINY: dict[str, Any] = {
    "network.encoder_channels": (8, 16), "network.decoder_channels": (16, 8), "network.blocks_per_level": 1,
    "network.attention_factors": (),
}  # fmt: skip
H, W = 12, 10


def module(options: Mapping[str, Any] | None = None) -> DDPMPretrainModule:
    torch.manual_seed(0)
    made = DDPMPretrainModule(**nested({**TINY, "noise.steps": 20, "sampling.steps": 5, **(options or {})})).eval()
    torch.nn.init.normal_(made.network.conv_out.weight, std=0.3)  # a new network's output is zero
    return made


def batch(indices=(0, 1, 2)) -> dict:
    images = torch.rand(8, 1, H, W, generator=torch.Generator().manual_seed(1))
    return {"image": images[list(indices)], "index": torch.tensor(list(indices))}


@pytest.mark.parametrize("parameterisation", ["epsilon", "x0", "v"])
def test_loss_is_the_squared_error_of_what_the_network_predicts(parameterisation: str) -> None:
    made = module({"parameterisation": parameterisation})
    torch.manual_seed(5)
    loss = made.losses(batch())["loss"]
    torch.manual_seed(5)  # the same draws, the formula written out
    x0 = batch()["image"] * 2 - 1
    t = torch.randint(0, 20, (3,))
    noise = torch.randn_like(x0)
    output = made.network(add_noise(made.noise_schedule, x0, noise, t), t)
    wanted = {"epsilon": noise, "x0": x0, "v": v_from(made.noise_schedule, x0, noise, t)}[parameterisation]
    assert loss.item() == pytest.approx((output - wanted).square().mean().item(), rel=1e-6)


def test_validation_loss_of_an_image_depends_on_the_image_alone() -> None:
    made = module()
    together = made.image_losses(batch((0, 1, 2)))
    assert together.shape == (3,)
    for place, index in enumerate((0, 1, 2)):
        assert made.image_losses(batch((index,)))[0].item() == pytest.approx(together[place].item(), rel=1e-4)
    assert not torch.allclose(together[:2], together[1:])


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_generated_images_depend_on_their_number_and_the_seed_alone(sampler: str) -> None:
    made = module({"sampling.sampler": sampler})
    state = torch.get_rng_state()
    four = made.generate(4, (W, H), seed=3)
    assert torch.equal(torch.get_rng_state(), state)  # a resumed run must not notice
    assert four.shape == (4, 1, H, W) and four.min() >= 0 and four.max() <= 1
    assert torch.allclose(made.generate(2, (W, H), seed=3), four[:2], atol=1e-5)
    assert not torch.allclose(made.generate(2, (W, H), seed=4), four[:2], atol=1e-2)


def test_a_perfect_denoiser_generates_its_image() -> None:
    """With a network that always answers one x0, the chain ends at that image."""
    made = module({"parameterisation": "x0"})
    image = torch.rand(1, 1, H, W)
    made.forward = lambda x_t, t, earlier=None: (2 * image - 1).expand_as(x_t)  # type: ignore[method-assign]
    assert torch.allclose(made.generate(3, (W, H)), image.expand(3, 1, H, W), atol=1e-6)


def test_self_conditioning_shows_the_network_its_earlier_estimate() -> None:
    made = module({"self_conditioning": True})
    x_t, t = torch.randn(2, 1, H, W), torch.tensor([3, 4])
    assert made.network.in_channels == 2
    assert torch.equal(made(x_t, t), made(x_t, t, torch.zeros_like(x_t)))
    assert not torch.allclose(made(x_t, t), made(x_t, t, torch.ones_like(x_t)))
    assert made.generate(1, (W, H)).shape == (1, 1, H, W)
    assert made.image_losses(batch()).shape == (3,)


def test_missing_landmarks_in_the_data_do_not_matter() -> None:
    assert DDPMPretrainModule(num_landmarks=19, **nested(TINY)).network.out_channels == 1


def test_a_group_that_is_given_in_part_is_otherwise_the_method_s_own() -> None:
    """T = 500 is paper B's, not that of the noise's own default."""
    made = DDPMPretrainModule(**nested({**TINY, "noise.schedule": "cosine"}))
    assert (made.noise_schedule.kind, made.noise_schedule.steps) == ("cosine", 500)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(UserError, match="epsilon cannot start from pure noise"):
        module({"noise.zero_terminal_snr": True})
    with pytest.raises(UserError, match=r"model.sampling.steps: found 21, expected 1 to noise.steps \(20\)"):
        module({"sampling.steps": 21})
    with pytest.raises(UserError, match="image_range: found"):
        module({"image_range": (1.0, 0.0)})

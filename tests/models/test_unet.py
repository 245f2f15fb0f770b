"""What users rely on in the UNet: any size, precise outputs, a time input that acts, memory options that do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.blocks import LinearAttention, SelfAttention
from landmark_diffusion.models.unet import UNet, pad_to_multiple

SMALL: dict[str, Any] = {"encoder_channels": (8, 12, 16), "decoder_channels": (12, 8, 4), "attention_factors": (4,)}

RELEASED: dict[str, Any] = {
    "attention_factors": (),
    "linear_attention_factors": (1, 2, 4),
    "attention_head_channels": 5,
    "middle": "attention",
}
"""What the released code of paper B has: linear attention at every level, full attention in the middle."""


def small(seed: int = 0, **options: Any) -> UNet:
    """A small network whose zero-initialised parts are drawn at random, so that every branch acts."""
    torch.manual_seed(seed)
    network = UNet(3, 2, **{**SMALL, "norm_groups": 4, **options})
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network


def gradients(network: UNet, x: torch.Tensor, t: torch.Tensor | None) -> torch.Tensor:
    """Gradients of one seeded training step, flattened."""
    network.zero_grad()
    torch.manual_seed(1)
    network(x, t).square().mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [(16, 20), (17, 23), (1, 1), (5, 64)])
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    out = small()(torch.randn(2, 3, *size), torch.tensor([0, 5]))
    assert out.shape == (2, 2, *size)
    assert torch.isfinite(out).all()


def test_padding_repeats_the_right_and_lower_border() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    wanted = torch.tensor([[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]])
    assert torch.equal(pad_to_multiple(x, 4)[0, 0], wanted.float())
    whole = torch.randn(1, 1, 8, 4)
    assert pad_to_multiple(whole, 4) is whole


def test_an_odd_size_is_its_padded_image_cropped() -> None:
    network, x, t = small(), torch.randn(1, 3, 13, 18), torch.tensor([3])
    padded = F.pad(x, (0, 2, 0, 3), mode="replicate")
    assert torch.equal(network(x, t), network(padded, t)[..., :13, :18])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_changes_nothing(memory_format: torch.memory_format) -> None:
    network, x, t = small().double(), torch.randn(2, 3, 16, 12, dtype=torch.float64), torch.tensor([1, 9])
    wanted, wanted_gradients = network(x, t), gradients(network, x, t)
    network, x = network.to(memory_format=memory_format), x.contiguous(memory_format=memory_format)  # type: ignore[call-overload]
    torch.testing.assert_close(network(x, t), wanted, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(gradients(network, x, t), wanted_gradients, rtol=1e-6, atol=1e-8)


def test_samples_of_a_batch_do_not_touch_each_other() -> None:
    network, x, t = small().double(), torch.randn(3, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 50, 199])
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x, t), alone, rtol=1e-6, atol=1e-8)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    """Dropout included: the second run of a block must draw the same mask as the first."""
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0, 7])
    plain, saving = (small(dropout=0.3, gradient_checkpointing=on) for on in (False, True))
    assert torch.equal(gradients(plain, x, t), gradients(saving, x, t))


def test_gradient_checkpointing_keeps_fewer_tensors() -> None:
    def kept(network: UNet) -> int:
        total = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(torch.randn(1, 3, 32, 32), torch.tensor([0]))
        return total

    assert kept(small(gradient_checkpointing=True)) < 0.6 * kept(small())


# ---- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale_shift", [False, True])
def test_neighbouring_steps_give_different_maps(scale_shift: bool) -> None:
    network = small(scale_shift=scale_shift)
    x = torch.randn(1, 3, 8, 8)
    maps = torch.stack([network(x, torch.tensor([t])) for t in (0, 1, 198, 199)])
    distances = torch.cdist(maps.flatten(1), maps.flatten(1)) + 10 * torch.eye(4)
    assert distances.min() > 1e-3


def test_no_step_is_the_null_embedding() -> None:
    """For fine-tuning without diffusion: the embedding is zero whatever the image, and unlike every t."""
    network, x = small(), torch.randn(2, 3, 8, 8)
    null = network(x, None)
    assert network.time is not None
    network.time.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    assert torch.equal(network(x, torch.tensor([4, 9])), null)


def test_a_network_without_time_refuses_steps() -> None:
    network = small(time_embedding=False)
    assert network(torch.randn(1, 3, 8, 8)).shape == (1, 2, 8, 8)
    assert not any("embedding" in name or "time" in name for name, _ in network.named_parameters())
    with pytest.raises(UserError, match="time_embedding: false"):
        network(torch.randn(1, 3, 8, 8), torch.tensor([1]))


# ---- precision ----------------------------------------------------------------------------------------------------


def test_output_is_float32_under_bf16_autocast() -> None:
    network, x, t = small(), torch.randn(1, 3, 16, 16), torch.tensor([5])
    with torch.autocast("cpu", torch.bfloat16):
        out = network(x, t)
    assert out.dtype == torch.float32
    # not merely cast back: sums of 36 products need more than bfloat16's 8 bits
    assert (out != out.bfloat16().float()).float().mean() > 0.9
    torch.testing.assert_close(out, network(x, t), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("given", [torch.long, torch.float32])
def test_bf16_true_takes_any_kind_of_step(given: torch.dtype) -> None:
    network = small().bfloat16()
    t = torch.tensor([512, 513])
    out = network(torch.randn(2, 3, 8, 8, dtype=torch.bfloat16), t.to(given))
    assert out.dtype == torch.float32
    assert network.time is not None
    embedding = network.time(t, 2)
    assert embedding.dtype == torch.bfloat16
    assert not torch.equal(embedding[0], embedding[1])  # the two are one number in bfloat16


def test_double_stays_double() -> None:
    assert small().double()(torch.randn(1, 3, 8, 8).double(), torch.tensor([5])).dtype == torch.float64


def test_gradients_in_float64() -> None:
    """Every part's backward pass against finite differences."""
    network = small(encoder_channels=(4, 4), decoder_channels=(4, 4), attention_factors=(2,), blocks_per_level=1)
    x = torch.randn(1, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network.double(), (x, torch.tensor([3])))


# ---- parts --------------------------------------------------------------------------------------------------------


def test_a_new_network_gives_the_uniform_map() -> None:
    assert not UNet(3, 2, **SMALL)(torch.randn(1, 3, 8, 8), torch.tensor([1])).any()


def test_output_tanh_bounds_the_maps_and_final_activations_differ() -> None:
    x, t = 50 * torch.randn(1, 3, 16, 16), torch.tensor([5])
    plain = small()(x, t)
    torch.testing.assert_close(small(output_activation="tanh")(x, t), plain.tanh())
    assert not torch.allclose(small(final_activation="tanh")(x, t), plain, atol=0.1)


def test_attention_agrees_with_torch_s_own_layer() -> None:
    torch.manual_seed(0)
    ours, theirs = SelfAttention(8, heads=2, norm_groups=4), nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.normal_(ours.project.weight)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.project.weight,
            "out_proj.bias": ours.project.bias,
        }
    )
    x = torch.randn(2, 8, 5, 3)
    tokens = F.group_norm(x, 4).flatten(2).transpose(1, 2)
    wanted = x + theirs(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(ours(x), wanted, rtol=1e-4, atol=1e-5)


def test_attention_reaches_every_position_and_its_absence_does_not() -> None:
    def reach(factors: tuple[int, ...]) -> bool:
        options = {"encoder_channels": (4, 4), "decoder_channels": (4, 4), "blocks_per_level": 1}
        network = small(**options, attention_factors=factors)
        for norm in (module for module in network.modules() if isinstance(module, nn.GroupNorm)):
            norm.forward = lambda x: x  # type: ignore[method-assign]  # its statistics reach everywhere as well
        x = torch.randn(1, 3, 8, 96, requires_grad=True)
        network(x, torch.tensor([0]))[..., 0].sum().backward()
        assert x.grad is not None
        return bool(x.grad[..., -1].any())

    assert reach((2,)) and not reach(())


@pytest.mark.parametrize(("options", "blocks"), [({}, 2), ({"blocks_per_level": 3}, 3)])
def test_levels_have_the_widths_of_the_config(options: dict[str, Any], blocks: int) -> None:
    network = small(**options)
    widths = [[block.conv_in.out_channels for block in stage.blocks] for stage in network.encoder]
    assert widths == [[width] * blocks for width in (8, 12, 16)]
    widths = [[block.conv_in.out_channels for block in stage.blocks] for stage in network.decoder]
    assert widths == [[width] * blocks for width in (12, 8, 4)]
    assert [len(stage.attention) for stage in network.encoder] == [0, 0, blocks]


def test_attention_may_follow_the_last_blocks_alone() -> None:
    network = small(blocks_per_level=3, attention_blocks=1)
    stage = network.encoder[2]
    calls: list[str] = []
    for name, module in stage.named_modules():
        if name.startswith(("blocks.", "attention.")) and name.count(".") == 1:
            module.register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
    network(torch.randn(1, 3, 8, 8), torch.tensor([1]))
    assert calls == ["blocks.0", "blocks.1", "blocks.2", "attention.0"]


def test_the_paper_s_network_has_the_size_that_is_documented() -> None:
    with torch.device("meta"):
        network = UNet(20, 19)
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_268_275


# ---- linear attention, heads of a given size, the middle ------------------------------------------------------------


def test_options_left_out_keep_old_checkpoints_readable() -> None:
    off: dict[str, Any] = {"linear_attention_factors": (), "attention_head_channels": None, "middle": "none"}
    silent, aloud = small(), small(**off)
    assert list(silent.state_dict()) == list(aloud.state_dict())
    assert not any("middle" in name for name in silent.state_dict())
    assert {name for name in silent.state_dict() if "attention" in name and "encoder" in name} == {
        f"encoder.2.attention.{i}.{part}"
        for i in range(2)
        for part in ("norm.weight", "norm.bias", "qkv.weight", "qkv.bias", "project.weight", "project.bias")
    }
    x, t = torch.randn(1, 3, 9, 10), torch.tensor([4])
    assert torch.equal(silent(x, t), aloud(x, t))


@pytest.mark.parametrize("size", [(16, 20), (17, 23), (1, 1), (5, 64)])
def test_any_size_comes_back_with_every_option(size: tuple[int, int]) -> None:
    out = small(**RELEASED)(torch.randn(2, 3, *size), torch.tensor([0, 5]))
    assert out.shape == (2, 2, *size)
    assert torch.isfinite(out).all()


def test_each_level_has_the_attention_of_the_config() -> None:
    network = small(attention_factors=(4,), linear_attention_factors=(1,), attention_blocks=1, middle="attention")
    for stages in (network.encoder, network.decoder[::-1]):
        kinds = [[type(module) for module in stage.attention] for stage in stages]
        assert kinds == [[LinearAttention], [], [SelfAttention]]
    assert network.middle is not None
    assert [type(module) for module in network.middle.attention] == [SelfAttention]


def test_the_middle_is_block_attention_block_between_encoder_and_decoder() -> None:
    network = small(middle="attention")
    calls: list[str] = []
    for name, module in network.named_modules():
        if (name.startswith("middle.") and name.count(".") == 2) or name in ("encoder.2", "decoder.0"):
            module.register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
    network(torch.randn(1, 3, 8, 8), torch.tensor([1]))
    assert calls == ["encoder.2", "middle.blocks.0", "middle.attention.0", "middle.blocks.1", "decoder.0"]


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_every_parameter_of_every_option_learns(gradient_checkpointing: bool) -> None:
    # one group a norm: with one for each channel, norms cancel the biases in front of them
    network = small(**RELEASED, norm_groups=1, gradient_checkpointing=gradient_checkpointing)
    gradients(network, torch.randn(2, 3, 16, 12), torch.tensor([0, 7]))
    assert not {name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-6}


@pytest.mark.parametrize("scale_shift", [False, True])
def test_steps_reach_the_middle(scale_shift: bool) -> None:
    """Its output differs between two steps although what it is given is the same."""
    network = small(middle="attention", scale_shift=scale_shift)
    assert network.middle is not None and network.time is not None
    x = torch.randn(1, 16, 4, 4)
    out = [network.middle(x, network.time(torch.tensor([t]), 1)) for t in (3, 4)]
    assert (out[0] - out[1]).abs().max() > 1e-3


def test_memory_format_changes_nothing_with_every_option() -> None:
    network, x, t = small(**RELEASED).double(), torch.randn(2, 3, 16, 12, dtype=torch.float64), torch.tensor([1, 9])
    wanted, wanted_gradients = network(x, t), gradients(network, x, t)
    network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(network(x, t), wanted, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(gradients(network, x, t), wanted_gradients, rtol=1e-6, atol=1e-8)


def test_bf16_autocast_stays_close_with_every_option() -> None:
    network, x, t = small(**RELEASED), torch.randn(2, 3, 32, 24), torch.tensor([5, 90])
    wanted = network(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(x, t)
    assert found.dtype == torch.float32 and torch.isfinite(found).all()
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_gradients_in_float64_with_every_option() -> None:
    options = {**RELEASED, "linear_attention_factors": (1, 2), "blocks_per_level": 1, "attention_heads": 2}
    network = small(encoder_channels=(4, 4), decoder_channels=(4, 4), **options)
    x = torch.randn(1, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network.double(), (x, torch.tensor([3])))


def test_linear_attention_reaches_every_position() -> None:
    levels = {"encoder_channels": (4, 4), "decoder_channels": (4, 4)}
    network = small(**levels, attention_factors=(), linear_attention_factors=(1,))
    for norm in (module for module in network.modules() if isinstance(module, nn.GroupNorm)):
        norm.forward = lambda x: x  # type: ignore[method-assign]  # its statistics reach everywhere as well
    x = torch.randn(1, 3, 8, 96, requires_grad=True)
    network(x, torch.tensor([0]))[..., 0].sum().backward()
    assert x.grad is not None and x.grad[..., -1].any()


@pytest.mark.parametrize("groups", [1, 5, 8, 32])
def test_norm_groups_adapt_to_the_channels(groups: int) -> None:
    network = small(norm_groups=groups)
    for norm in (module for module in network.modules() if isinstance(module, nn.GroupNorm)):
        assert norm.num_channels % norm.num_groups == 0 and norm.num_groups <= groups


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_channels": (8, 4)}, r"decoder_channels: found 2 levels \(8, 4\), expected as many .*: 3"),
        ({"encoder_channels": ()}, "expected as many as encoder_channels has: 0"),
        ({"encoder_channels": (8, 0, 8)}, "expected at least 1 each"),
        ({"blocks_per_level": 0}, "blocks_per_level: found 0"),
        ({"attention_factors": (3,)}, r"attention_factors: found \[3\], expected .* \[1, 2, 4\]"),
        ({"attention_heads": 3}, "attention_heads: found 3, expected a divisor of the 16 channels"),
        ({"attention_blocks": 3}, r"attention_blocks: found 3, expected 1 to blocks_per_level \(2\)"),
        ({"linear_attention_factors": (8,)}, r"linear_attention_factors: found \[8\], expected .* \[1, 2, 4\]"),
        ({"linear_attention_factors": (1, 4)}, r"linear_attention_factors: found \[4\], .*attention_factors \(\[4\]\)"),
        ({"attention_head_channels": 0}, "attention_head_channels: found 0, expected at least 1"),
        ({"attention_heads": 0, "attention_head_channels": 8}, "attention_heads: found 0, expected at least 1"),
        ({"middle": "linear"}, "middle: found 'linear', expected one of none, attention"),
        ({"norm_groups": 0}, "norm_groups: found 0"),
        ({"final_activation": "relu"}, "final_activation: found 'relu', expected one of silu, tanh"),
        ({"output_activation": "sigmoid"}, "output_activation: found 'sigmoid', expected one of none, tanh"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        UNet(3, 2, **{**SMALL, **options})


def test_a_wrong_number_of_input_channels_is_named() -> None:
    with pytest.raises(UserError, match=r"found 4 input channels, expected 3"):
        small()(torch.randn(1, 4, 8, 8))


# ---- a condition, and what the last convolution saw ------------------------------------------------------------------


@pytest.mark.parametrize("scale_shift", [False, True])
@pytest.mark.parametrize("time_embedding", [False, True])
def test_a_condition_reaches_the_output_with_and_without_time(time_embedding: bool, scale_shift: bool) -> None:
    network = small(condition_channels=3, time_embedding=time_embedding, scale_shift=scale_shift)
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([4]) if time_embedding else None
    maps = torch.stack([network(x, t, condition[None]) for condition in torch.eye(3)])
    distances = torch.cdist(maps.flatten(1), maps.flatten(1)) + 10 * torch.eye(3)
    assert distances.min() > 1e-3


def test_each_image_of_a_batch_has_its_own_condition() -> None:
    network = small(condition_channels=3).double()
    x, t = torch.randn(3, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 50, 199])
    condition = torch.eye(3, dtype=torch.float64)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x, t, condition), alone, rtol=1e-6, atol=1e-8)


def test_time_acts_beside_a_condition() -> None:
    network, x, condition = small(condition_channels=3), torch.randn(1, 3, 8, 8), torch.eye(3)[:1]
    early, late, none = (network(x, t, condition) for t in (torch.tensor([3]), torch.tensor([90]), None))
    assert (early - late).abs().max() > 1e-3 and (early - none).abs().max() > 1e-3


def test_a_condition_goes_with_its_option() -> None:
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([4])
    with pytest.raises(UserError, match="a condition goes with condition_channels"):
        small(condition_channels=3)(x, t)
    with pytest.raises(UserError, match="a condition goes with condition_channels"):
        small()(x, t, torch.eye(3)[:1])


@pytest.mark.parametrize("time_embedding", [False, True])
def test_no_condition_keeps_old_checkpoints_readable(time_embedding: bool) -> None:
    silent = small(time_embedding=time_embedding)
    aloud = small(time_embedding=time_embedding, condition_channels=0)
    assert list(silent.state_dict()) == list(aloud.state_dict())
    assert not any("condition" in name for name in silent.state_dict())
    with_condition = small(time_embedding=time_embedding, condition_channels=3).state_dict()
    added = {"condition.weight", "condition.bias"}
    if not time_embedding:  # the blocks have no embedding at all without one of the two
        added |= {name for name in with_condition if ".embedding." in name}
    assert set(with_condition) - set(silent.state_dict()) == added


@pytest.mark.parametrize("size", [(16, 20), (17, 23), (1, 1)])
def test_the_features_are_what_the_last_convolution_saw(size: tuple[int, int]) -> None:
    network, x, t = small(), torch.randn(2, 3, *size), torch.tensor([0, 5])
    seen: list[torch.Tensor] = []
    network._head = lambda features, head=network._head: (seen.append(features), head(features))[1]  # type: ignore[method-assign]
    output, features = network.with_features(x, t)
    assert torch.equal(output, network(x, t))
    assert features.shape == (2, 4, *size)  # 4: the decoder's top width
    assert torch.equal(features, seen[0][..., : size[0], : size[1]])
    if size == (16, 20):  # nothing was padded: the last convolution gives the output again
        torch.testing.assert_close(network.conv_out(features), output)


def test_gradients_of_the_condition_in_float64() -> None:
    options = {"encoder_channels": (4, 4), "decoder_channels": (4, 4), "attention_factors": (), "blocks_per_level": 1}
    network = small(**options, condition_channels=2, scale_shift=True).double()
    x = torch.randn(1, 3, 4, 3, dtype=torch.float64)
    condition = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: network(x, torch.tensor([3]), c), (condition,))

"""Parts of the UNet against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from landmark_diffusion.models.blocks import (
    Downsample,
    LinearAttention,
    ResidualBlock,
    SelfAttention,
    TimeEmbedding,
    Upsample,
    group_norm,
    sinusoidal_embedding,
)


@pytest.mark.parametrize("channels", [2, 7, 32])
def test_sinusoidal_embedding_by_its_formula(channels: int) -> None:
    t = torch.tensor([0, 1, 499])
    found = sinusoidal_embedding(t, channels, torch.float64)
    half = channels // 2
    for row, step in zip(found.tolist(), t.tolist(), strict=True):
        angles = [step * 10_000 ** (-i / max(half - 1, 1)) for i in range(half)]
        wanted = [*map(math.sin, angles), *map(math.cos, angles), *[0.0] * (channels % 2)]
        assert row == pytest.approx(wanted, abs=1e-9)


def test_embeddings_of_all_steps_are_apart() -> None:
    embedding = sinusoidal_embedding(torch.arange(1000), 32)
    distances = torch.cdist(embedding, embedding) + 10 * torch.eye(1000)
    assert distances.min() > 0.5


def test_null_embedding_is_zero() -> None:
    assert torch.equal(TimeEmbedding(8, 16)(None, 3), torch.zeros(3, 16))


@pytest.mark.parametrize(("channels", "groups", "wanted"), [(32, 8, 8), (12, 8, 4), (19, 8, 1), (4, 32, 4)])
def test_group_norm_takes_the_largest_common_divisor(channels: int, groups: int, wanted: int) -> None:
    assert group_norm(channels, groups).num_groups == wanted


def test_a_new_block_is_the_identity_or_its_projection() -> None:
    x = torch.randn(1, 8, 5, 6)
    assert torch.equal(ResidualBlock(8, 8)(x), x)
    wider = ResidualBlock(8, 12)
    assert torch.equal(wider(x), wider.shortcut(x))


def test_scale_and_shift_act_after_the_second_norm() -> None:
    block = ResidualBlock(4, 4, embedding_channels=2, scale_shift=True, norm_groups=2)
    assert block.embedding is not None
    nn.init.zeros_(block.embedding.weight)
    with torch.no_grad():
        block.embedding.bias.copy_(torch.tensor([0.5] * 4 + [2.0] * 4))
    seen = []
    block.conv_out.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.randn(1, 4, 6, 6)
    block(x, torch.zeros(1, 2))
    normed = block.norm_out(block.conv_in(nn.functional.silu(block.norm_in(x))))
    torch.testing.assert_close(seen[0], nn.functional.silu(1.5 * normed + 2.0))


def test_down_and_up_change_the_grid_by_two() -> None:
    x = torch.randn(1, 4, 8, 6)
    assert Downsample(4)(x).shape == (1, 4, 4, 3)
    up = Upsample(4, 2)(x)
    assert up.shape == (1, 2, 16, 12)
    assert torch.equal(up[..., ::2, ::2], up[..., 1::2, 1::2])


# ---- attention ----------------------------------------------------------------------------------------------------


def attention(kind: type[SelfAttention], channels: int, **options: int) -> SelfAttention:
    """Attention whose last projection acts."""
    torch.manual_seed(0)
    module = kind(channels, norm_groups=4, **options)
    nn.init.normal_(module.project.weight)
    return module


@pytest.mark.parametrize("head_channels", [None, 3])
def test_linear_attention_by_its_formula(head_channels: int | None) -> None:
    """Row by row: the weights that the module never forms, written out with exp in float64."""
    module = attention(LinearAttention, 8, heads=2, **({"head_channels": 3} if head_channels else {})).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    size = head_channels or 4
    for image, found in zip(x, module(x), strict=True):
        tokens = nn.functional.group_norm(image[None], 4)[0].flatten(1).T
        projected = tokens @ module.qkv.weight.T + module.qkv.bias
        q, k, v = (part.unflatten(1, (2, size)) for part in projected.chunk(3, 1))
        mixed = torch.zeros(15, 2, size, dtype=torch.float64)
        for head in range(2):
            features = q[:, head].exp() / q[:, head].exp().sum(1, keepdim=True)
            positions = k[:, head].exp() / k[:, head].exp().sum(0, keepdim=True)
            weights = torch.einsum("id,jd->ij", features, positions)
            torch.testing.assert_close(weights.sum(1), torch.ones(15, dtype=torch.float64), rtol=1e-12, atol=0)
            mixed[:, head] = weights @ v[:, head]
        wanted = image + (mixed.flatten(1) @ module.project.weight.T + module.project.bias).T.reshape(8, 3, 5)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_linear_attention_never_holds_a_weight_for_each_pair_of_positions() -> None:
    module, largest = attention(LinearAttention, 8, heads=2), 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(torch.randn(1, 8, 40, 40))
    assert largest <= 3 * 8 * 1600  # q, k and v; the pairs of one head would be 1600 * 1600


@pytest.mark.parametrize("kind", [SelfAttention, LinearAttention])
def test_heads_of_a_given_size_need_not_fill_the_channels(kind: type[SelfAttention]) -> None:
    module = attention(kind, 10, heads=3, head_channels=7)
    assert module.qkv.weight.shape == (3 * 21, 10) and module.project.weight.shape == (10, 21)
    x = torch.randn(2, 10, 4, 5)
    assert module(x).shape == x.shape and not torch.equal(module(x), x)


@pytest.mark.parametrize("kind", [SelfAttention, LinearAttention])
def test_heads_of_the_default_size_said_aloud_change_nothing(kind: type[SelfAttention]) -> None:
    x = torch.randn(1, 8, 4, 5)
    silent, aloud = attention(kind, 8, heads=2), attention(kind, 8, heads=2, head_channels=4)
    assert torch.equal(silent(x), aloud(x))


@pytest.mark.parametrize("kind", [SelfAttention, LinearAttention])
def test_new_attention_is_the_identity(kind: type[SelfAttention]) -> None:
    x = torch.randn(1, 8, 4, 5)
    assert torch.equal(kind(8)(x), x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_linear_attention_over_many_positions_survives_half_precision(dtype: torch.dtype) -> None:
    """Each of 65,536 positions weighs 1.5e-5: in half precision the sum over them would be far off."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 1, 65536, 4).to(dtype).unbind(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = LinearAttention(4, 1).attend(q, k, v + 1)
    assert found.dtype == dtype
    wanted = LinearAttention(4, 1).attend(q.double(), k.double(), (v + 1).double())
    torch.testing.assert_close(found.double(), wanted, rtol=torch.finfo(dtype).eps, atol=0)


# ---- norm ---------------------------------------------------------------------------------------------------------


def drawn_norm(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A norm of 3 groups whose weights are neither one nor zero."""
    torch.manual_seed(0)
    norm = group_norm(12, 3).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def test_group_norm_by_its_formula() -> None:
    norm, x = drawn_norm(torch.float64), torch.randn(2, 12, 5, 7, dtype=torch.float64)
    groups = x.unflatten(1, (3, 4))
    mean = groups.mean((2, 3, 4), keepdim=True)
    variance = (groups - mean).square().mean((2, 3, 4), keepdim=True)
    normed = ((groups - mean) / (variance + norm.eps).sqrt()).flatten(1, 2)
    wanted = normed * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), wanted, rtol=1e-12, atol=1e-12)
    assert norm(x).dtype == torch.float64


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_group_norm_is_float32_inside_whatever_comes(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    norm, x = drawn_norm(), (5 + torch.randn(2, 12, 40, 40)).to(dtype).contiguous(memory_format=memory_format)
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(x)
    wanted = nn.functional.group_norm(x.float(), 3, norm.weight, norm.bias)
    assert found.dtype == dtype
    assert torch.equal(found, wanted.to(dtype))


def test_group_norm_of_a_network_in_half_precision() -> None:
    norm, x = drawn_norm(torch.bfloat16), torch.randn(1, 12, 4, 4, dtype=torch.bfloat16)
    wanted = nn.functional.group_norm(x.float(), 3, norm.weight.float(), norm.bias.float())
    assert torch.equal(norm(x), wanted.bfloat16())


def test_group_norm_keeps_the_names_of_torch_s() -> None:
    assert list(group_norm(12, 3).state_dict()) == list(nn.GroupNorm(3, 12).state_dict())

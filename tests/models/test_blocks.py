"""Parts of the UNet against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from landmark_diffusion.models.blocks import (
    Downsample,
    ResidualBlock,
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

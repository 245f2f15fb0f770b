"""Parts of the UNet: residual block, self-attention, time embedding, changes of resolution."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError


class GroupNorm(nn.GroupNorm):
    """GroupNorm computed in float32 or better under any precision.

    Its statistics are sums over many pixels; and torch's kernel for half-precision maps beside float32 weights takes
    five times as long on a CPU in channels_last.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x (B,C,H,W), keeping its dtype."""
        wide = torch.promote_types(x.dtype, torch.float32)
        normed = F.group_norm(x.to(wide), self.num_groups, self.weight.to(wide), self.bias.to(wide), self.eps)
        return normed.to(x.dtype)


def group_norm(channels: int, groups: int) -> GroupNorm:
    """Make a GroupNorm of at most ``groups`` groups: the largest number that divides both it and ``channels``."""
    if groups < 1:
        raise UserError(f"norm_groups: found {groups}, expected at least 1")
    return GroupNorm(math.gcd(channels, groups), channels)


def sinusoidal_embedding(t: torch.Tensor, channels: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Embed steps t (B,) as sines and cosines of geometric frequencies from 1 to 1e-4 rad a step (Vaswani et al.).

    Returns (B, channels) in ``dtype``, which should be float32 or better: half precision cannot tell large t apart.
    """
    half = channels // 2
    exponent = torch.arange(half, device=t.device, dtype=dtype) / max(half - 1, 1)
    angle = t[:, None].to(dtype) * torch.exp(-math.log(10_000.0) * exponent)
    return F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, channels - 2 * half))


class TimeEmbedding(nn.Module):
    """Turn steps t (B,) into an embedding (B, out_channels): sines and cosines, then two linear layers.

    ``t`` None gives zeros: the null embedding, for a network that is fine-tuned without diffusion (paper B).
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.channels, self.out_channels = channels, out_channels
        self.linear_in = nn.Linear(channels, out_channels)
        self.linear_out = nn.Linear(out_channels, out_channels)

    def forward(self, t: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Embed t (B,) or None to (B, out_channels) in the dtype of the weights."""
        weight = self.linear_in.weight
        if t is None:
            return weight.new_zeros(batch, self.out_channels)
        wide = torch.promote_types(weight.dtype, torch.float32)
        waves = sinusoidal_embedding(t.to(weight.device), self.channels, wide).to(weight.dtype)
        return F.silu(self.linear_out(F.silu(self.linear_in(waves))))


class ResidualBlock(nn.Module):
    """GroupNorm-SiLU-conv twice, beside an identity or 1x1 path (Wide ResNet; ADM, Dhariwal and Nichol).

    The second convolution starts at zero, so that a new block is the identity (or the projection) and deep networks
    train from the first step. The embedding is added after the first convolution, or scales and shifts the second
    norm (``scale_shift``, ADM's AdaGN).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_channels: int = 0,
        scale_shift: bool = False,
        dropout: float = 0.0,
        norm_groups: int = 8,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.norm_in = group_norm(in_channels, norm_groups)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embedding = (
            nn.Linear(embedding_channels, out_channels * (2 if scale_shift else 1)) if embedding_channels else None
        )
        self.norm_out = group_norm(out_channels, norm_groups)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None = None) -> torch.Tensor:
        """Map x (B,C,H,W) and the embedding (B,E) to (B,out_channels,H,W)."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        e = None if self.embedding is None or embedding is None else self.embedding(embedding)[:, :, None, None]
        if e is None:
            h = self.norm_out(h)
        elif self.scale_shift:
            scale, shift = e.chunk(2, 1)
            h = torch.addcmul(shift, self.norm_out(h), 1 + scale)
        else:
            h = self.norm_out(h.add_(e))  # in place: a convolution does not need its own output to be differentiated
        result: torch.Tensor = self.conv_out(self.dropout(F.silu(h))).add_(self.shortcut(x))
        return result


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions, residual; its last projection starts at zero.

    Keeps the channels innermost, so that scaled_dot_product_attention takes its fused kernel: at 640x800 and factor 4
    there are 32,000 positions, and the plain one would hold 32,000 x 32,000 weights a head.

    Args:
        heads: divides ``channels`` unless ``head_channels`` is given.
        head_channels: size of each head; None is channels / heads.
    """

    def __init__(self, channels: int, heads: int = 4, norm_groups: int = 8, head_channels: int | None = None) -> None:
        super().__init__()
        if heads < 1 or (head_channels is None and channels % heads):
            expected = f"a divisor of the {channels} channels of an attending level"
            raise UserError(
                f"attention_heads: found {heads}, expected {expected if head_channels is None else 'at least 1'}"
            )
        if head_channels is not None and head_channels < 1:
            raise UserError(f"attention_head_channels: found {head_channels}, expected at least 1")
        self.heads = heads
        inner = channels if head_channels is None else heads * head_channels
        self.norm = group_norm(channels, norm_groups)
        self.qkv = nn.Linear(channels, 3 * inner)
        self.project = nn.Linear(inner, channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B,C,H,W) to the same shape."""
        batch, channels, height, width = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        out = self.attend(q, k, v).transpose(1, 2).flatten(2)
        result: torch.Tensor = x + self.project(out).transpose(1, 2).reshape(batch, channels, height, width)
        return result

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Mix the values of all positions: q, k, v and the result are (B, heads, positions, head channels)."""
        return F.scaled_dot_product_attention(q, k, v)


class LinearAttention(SelfAttention):
    """Self-attention whose cost is linear in the positions (Efficient Attention, Shen et al. 2021, eq. 4).

    softmax(q) over the features times softmax(k) over the positions are weights that sum to 1 over the positions, as
    in plain attention; but (k^T v) is multiplied first, so the positions x positions weights never exist.
    """

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Mix the values, in float32 or better: over 65,536 positions float16 would lose most of softmax(k)."""
        wide = torch.promote_types(v.dtype, torch.float32)
        with torch.autocast(v.device.type, enabled=False):
            context = k.to(wide).softmax(-2).transpose(-2, -1) @ v.to(wide)
            return (q.to(wide).softmax(-1) @ context).to(v.dtype)


class Downsample(nn.Conv2d):
    """Halve height and width by a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Conv2d):
    """Double height and width: a 3x3 convolution to the next level's channels, then nearest neighbours.

    Convolving before the repetition costs a quarter of convolving after it; the next residual block smooths anyway.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B,C,H,W) to (B,out_channels,2H,2W)."""
        return F.interpolate(super().forward(x), scale_factor=2.0, mode="nearest")


def wide_convolution(features: torch.Tensor, conv: nn.Conv2d, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Run a network's last convolution in float32 or better under any precision; ``weight`` takes its own one's place.

    Neighbouring logits of a sharp map tie in bfloat16 (docs/conventions.md).
    """
    weight = conv.weight if weight is None else weight
    wide = torch.promote_types(features.dtype, torch.float32)
    wide = torch.promote_types(wide, weight.dtype)
    with torch.autocast(features.device.type, enabled=False):
        bias = None if conv.bias is None else conv.bias.to(wide)
        return F.conv2d(features.to(wide), weight.to(wide), bias, padding=conv.padding)

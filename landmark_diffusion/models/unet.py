"""UNet: the one network of every method, with encoder and decoder widths of their own and an optional time input."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from landmark_diffusion.core.errors import UserError, check_choice
from landmark_diffusion.models.blocks import (
    Downsample,
    LinearAttention,
    ResidualBlock,
    SelfAttention,
    TimeEmbedding,
    Upsample,
    group_norm,
    wide_convolution,
)

FINAL_ACTIVATIONS = ("silu", "tanh")
OUTPUT_ACTIVATIONS = ("none", "tanh")
MIDDLES = ("none", "attention")


class Stage(nn.Module):
    """The residual blocks of one level, some of them followed by self-attention.

    Args:
        attended: places (from 0) of the blocks that attention follows.
        attention: makes the attention for a number of channels.
        block: further options of the residual blocks.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        blocks: int,
        attended: Collection[int],
        attention: Callable[[int], nn.Module],
        gradient_checkpointing: bool,
        **block: Any,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.attended = sorted(attended)
        widths = [in_channels] + [channels] * (blocks - 1)
        self.blocks = nn.ModuleList(ResidualBlock(c, channels, **block) for c in widths)
        self.attention = nn.ModuleList(attention(channels) for _ in self.attended)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None) -> torch.Tensor:
        """Map x (B,C,H,W) and the embedding (B,E) to (B,channels,H,W)."""
        for i, block in enumerate(self.blocks):
            x = self._run(block, x, embedding)
            if i in self.attended:
                x = self._run(self.attention[self.attended.index(i)], x)
        return x

    def _run(self, module: Callable[..., torch.Tensor], *inputs: Any) -> torch.Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            result: torch.Tensor = checkpoint(module, *inputs, use_reentrant=False)
            return result
        return module(*inputs)


class UNet(nn.Module):
    """Map images (B,in_channels,H,W), and steps t where it has a time embedding, to maps (B,out_channels,H,W).

    Paper A section 3.1 by default. Any H and W: the input is padded right and bottom by repeating its border to a
    multiple of 2^(levels - 1), and the output is cropped.

    Args:
        in_channels, out_channels: of input and output.
        encoder_channels: width of each level, top (full resolution) to bottom; each level halves height and width.
        decoder_channels: width of each level, bottom to top; as many as the encoder's.
        blocks_per_level: residual blocks of a level, in the encoder and in the decoder.
        attention_factors: downsampling factors (powers of 2) whose levels attend to themselves; () for none.
        attention_heads: heads of each self-attention; divides the channels of the levels that attend, unless
            ``attention_head_channels`` is given.
        time_embedding: take steps t; False builds a network without that branch.
        condition_channels: length of a further vector that each image is conditioned on, such as which landmark is
            looked for; it joins the time embedding through a linear layer. 0 for none.
        dropout: in front of the second convolution of each block.
        norm_groups: groups of each GroupNorm; the largest common divisor where the channels are no multiple.
        final_activation: in front of the last convolution.
        output_activation: after the last convolution.
        gradient_checkpointing: keep only the inputs of blocks and compute their inside again in the backward pass.
        scale_shift: let the embedding scale and shift the second norm of a block instead of being added before it.
        attention_blocks: how many blocks of an attending level, counted from its last, are followed by attention; None
            is all. At 640x800 and factor 4 attention is most of the cost.
        linear_attention_factors: factors whose levels attend at a cost linear in their pixels (LinearAttention); none
            of ``attention_factors``. The released code of paper B has it at every level.
        attention_head_channels: size of each head, of whatever kind (32 in the released code of paper B); None is a
            level's channels / heads.
        middle: "attention" puts a block, full attention and a block behind the encoder's last level.
        channels_last: memory format of weights and activations; faster on some machines.

    Raises UserError on options that do not go together.
    """

    head, stem, condition_layer = "conv_out", "conv_in", "condition"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        encoder_channels: Sequence[int] = (32, 64, 128, 256, 256, 512),
        decoder_channels: Sequence[int] = (256, 128, 64, 64, 32, 32),
        blocks_per_level: int = 2,
        attention_factors: Sequence[int] = (4, 8),
        attention_heads: int = 4,
        time_embedding: bool = True,
        condition_channels: int = 0,
        dropout: float = 0.0,
        norm_groups: int = 8,
        final_activation: Literal["silu", "tanh"] = "silu",
        output_activation: Literal["none", "tanh"] = "none",
        gradient_checkpointing: bool = False,
        scale_shift: bool = False,
        attention_blocks: int | None = None,
        linear_attention_factors: Sequence[int] = (),
        attention_head_channels: int | None = None,
        middle: Literal["none", "attention"] = "none",
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        encoder, decoder = tuple(encoder_channels), tuple(decoder_channels)
        _check_levels(encoder, decoder, blocks_per_level)
        _check_factors(len(encoder), attention_factors, linear_attention_factors)
        check_choice("middle", middle, MIDDLES)
        check_choice("final_activation", final_activation, FINAL_ACTIVATIONS)
        check_choice("output_activation", output_activation, OUTPUT_ACTIVATIONS)
        self.in_channels, self.out_channels, self.encoded_channels = in_channels, out_channels, encoder[-1]
        self.multiple = 2 ** (len(encoder) - 1)
        """Height and width are padded to a multiple of this many pixels."""
        self.final_activation, self.output_activation = final_activation, output_activation
        embedding = 4 * encoder[0] if time_embedding or condition_channels else 0
        self.time = TimeEmbedding(encoder[0], embedding) if time_embedding else None
        self.condition = nn.Linear(condition_channels, embedding) if condition_channels else None

        attending = blocks_per_level if attention_blocks is None else attention_blocks
        if not 1 <= attending <= blocks_per_level:
            raise UserError(
                f"attention_blocks: found {attending}, expected 1 to blocks_per_level ({blocks_per_level}); for no "
                "attention leave attention_factors empty"
            )

        def attention(kind: type[SelfAttention], width: int) -> nn.Module:
            return kind(width, attention_heads, norm_groups, attention_head_channels)

        blocks: dict[str, Any] = {"scale_shift": scale_shift, "dropout": dropout, "norm_groups": norm_groups}
        blocks |= {"embedding_channels": embedding, "gradient_checkpointing": gradient_checkpointing}
        last = range(blocks_per_level - attending, blocks_per_level)

        def stage(level: int, width_in: int, width: int) -> Stage:
            linear = 2**level in linear_attention_factors
            attended = last if linear or 2**level in attention_factors else ()
            kind = LinearAttention if linear else SelfAttention
            return Stage(width_in, width, blocks_per_level, attended, partial(attention, kind), **blocks)

        levels = range(len(encoder))
        above = (encoder[0], *encoder[:-1])
        self.conv_in = nn.Conv2d(in_channels, encoder[0], 3, padding=1)
        self.encoder = nn.ModuleList(stage(i, above[i], encoder[i]) for i in levels)
        self.down = nn.ModuleList(Downsample(width) for width in encoder[:-1])
        self.middle = (
            Stage(encoder[-1], encoder[-1], 2, (0,), partial(attention, SelfAttention), **blocks)
            if middle == "attention"
            else None
        )
        up = decoder[::-1]  # top to bottom, as the levels are numbered
        self.decoder = nn.ModuleList(
            stage(i, encoder[i] if i == levels[-1] else up[i] + encoder[i], up[i]) for i in reversed(levels)
        )
        self.up = nn.ModuleList(Upsample(up[i], up[i - 1]) for i in reversed(levels[1:]))
        self.norm_out = group_norm(up[0], norm_groups)
        self.conv_out = nn.Conv2d(up[0], out_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # a new network gives the uniform map
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, x: torch.Tensor, t: torch.Tensor | None = None, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map x (B,in_channels,H,W) at steps t (B,) under condition (B,C) to (B,out_channels,H,W), float32 or better.

        ``t`` None zeroes the time embedding; a network without one accepts only None. Raises UserError for steps that
        it cannot take, a condition that is missing or not taken, and a wrong number of channels.
        """
        return self.with_features(x, t, condition)[0]

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Give the parameters that an image passes through on its way down: all before the middle and the decoder."""
        for part in (self.conv_in, self.encoder, self.down):
            yield from part.parameters()

    def with_features(
        self, x: torch.Tensor, t: torch.Tensor | None = None, condition: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the output of ``forward`` and what its last convolution saw: (B,C,H,W), C the decoder's top width."""
        if x.shape[1] != self.in_channels:
            raise UserError(f"UNet: found {x.shape[1]} input channels, expected {self.in_channels}")
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        height, width = x.shape[-2:]
        embedding = self._embed(t, condition, len(x))
        *skips, h = self._descend(x, embedding)
        h = self.decoder[0](h if self.middle is None else self.middle(h, embedding), embedding)
        for up, stage in zip(self.up, self.decoder[1:], strict=True):
            h = stage(torch.cat([up(h), skips.pop()], 1), embedding)
        h = self.norm_out(h)
        h = torch.tanh(h) if self.final_activation == "tanh" else F.silu(h)
        return self._head(h)[..., :height, :width], h[..., :height, :width]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Give the deepest features of the way down, (B, C, h, w), of a network without steps or condition."""
        return self._descend(x, self._embed(None, None, len(x)))[-1]

    def _descend(self, x: torch.Tensor, embedding: torch.Tensor | None) -> list[torch.Tensor]:
        h, found = self.conv_in(pad_to_multiple(x, self.multiple)), []
        for i, stage in enumerate(self.encoder):
            h = stage(h if i == 0 else self.down[i - 1](h), embedding)
            found.append(h)
        return found

    def _embed(self, t: torch.Tensor | None, condition: torch.Tensor | None, batch: int) -> torch.Tensor | None:
        if self.time is None and t is not None:
            raise UserError("UNet: found steps t, but it was built with time_embedding: false")
        if (self.condition is None) != (condition is None):
            raise UserError("UNet: a condition goes with condition_channels; found one of the two alone")
        embedding: torch.Tensor | None = None if self.time is None else self.time(t, batch)
        if self.condition is None:
            return embedding
        conditioned: torch.Tensor = self.condition(condition)
        return conditioned if embedding is None else embedding + conditioned

    def _head(self, features: torch.Tensor) -> torch.Tensor:
        h = wide_convolution(features, self.conv_out)
        return torch.tanh(h) if self.output_activation == "tanh" else h


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad (B,C,H,W) right and bottom by repeating its border, to sides that are multiples of ``multiple``."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def _check_levels(encoder: tuple[int, ...], decoder: tuple[int, ...], blocks: int) -> None:
    if not encoder or len(encoder) != len(decoder):
        raise UserError(
            f"decoder_channels: found {len(decoder)} levels {decoder}, expected as many as encoder_channels has: "
            f"{len(encoder)} {encoder}"
        )
    if min(*encoder, *decoder) < 1:
        raise UserError(f"encoder_channels, decoder_channels: found {encoder} and {decoder}, expected at least 1 each")
    if blocks < 1:
        raise UserError(f"blocks_per_level: found {blocks}, expected at least 1")


def _check_factors(levels: int, full: Sequence[int], linear: Sequence[int]) -> None:
    known = [2**i for i in range(levels)]
    for option, factors in (("attention_factors", full), ("linear_attention_factors", linear)):
        if unknown := [factor for factor in factors if factor not in known]:
            raise UserError(f"{option}: found {unknown}, expected factors of the levels there are: {known}")
    if both := [factor for factor in linear if factor in full]:
        raise UserError(
            f"linear_attention_factors: found {both}, which attention_factors ({list(full)}) names too; a level has "
            "one kind of attention: take them out of one of the two"
        )

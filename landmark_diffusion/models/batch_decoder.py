"""BatchNormDecoder: the plain U-Net decoder behind a foreign encoder, as paper B's rivals have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError


def conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """Give a 3x3 convolution without bias, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class BatchNormDecoder(nn.Module):
    """Go up from an encoder's deepest features: double by nearest neighbour, join the skip, two 3x3 convolutions.

    Args:
        encoder_channels: E widths of the encoder's features, top to bottom, each half the size of the one above; the
            first is at half of the image's size.
        decoder_channels: E widths, bottom to top; the last is at the image's size, where nothing is joined.

    Raises UserError for another number of widths.
    """

    def __init__(self, encoder_channels: Sequence[int], decoder_channels: Sequence[int]) -> None:
        super().__init__()
        if len(decoder_channels) != len(encoder_channels) or min(decoder_channels) < 1:
            raise UserError(
                f"decoder_channels: found {list(decoder_channels)}, expected {len(encoder_channels)} widths of at "
                "least 1: one each time that the features double in size"
            )
        skips = (*reversed(encoder_channels[:-1]), 0)
        below = (encoder_channels[-1], *decoder_channels[:-1])
        self.blocks = nn.ModuleList(
            nn.Sequential(conv_norm_relu(before + skip, width), conv_norm_relu(width, width))
            for before, skip, width in zip(below, skips, decoder_channels, strict=True)
        )

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map features, top to bottom, to (B, C, H, W) of the image's size, C the last width."""
        h, *skips = reversed(features)
        for block, skip in zip(self.blocks, [*skips, None], strict=True):
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = block(h if skip is None else torch.cat([h, skip], 1))
        return h

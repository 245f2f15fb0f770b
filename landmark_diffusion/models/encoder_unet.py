"""EncoderUNet: an encoder that was made for something else, a decoder, and the last convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.batch_decoder import BatchNormDecoder
from landmark_diffusion.models.blocks import wide_convolution
from landmark_diffusion.models.unet import pad_to_multiple

MULTIPLE = 32
"""Sides are padded to a multiple of this many pixels: five levels, each half of the one above."""


class EncoderUNet(nn.Module):
    """Map images (B, in_channels, H, W) of any size to maps (B, out_channels, H, W), float32 or better.

    Args:
        encoder: gives five features, at 1/2 to 1/32 of the image's size; ``channels`` are their widths.
        decoder_channels: five widths of the decoder, bottom to top.
        out_channels: maps.

    Raises UserError for another number of widths.

    Its last layer starts at zero, so that a new network gives the uniform map.
    """

    head = "conv_out"

    def __init__(self, encoder: nn.Module, decoder_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = BatchNormDecoder(encoder.channels, decoder_channels)  # type: ignore[arg-type]
        self.conv_out = nn.Conv2d(decoder_channels[-1], out_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, t: torch.Tensor | None = None) -> torch.Tensor:
        """Run the network; it takes no steps t, so that only None is one. Raises UserError for steps."""
        if t is not None:
            raise UserError(f"{type(self).__name__}: found steps t, but it has no time embedding")
        height, width = x.shape[-2:]
        features = self.decoder(self.encoder(pad_to_multiple(x, MULTIPLE)))
        return wide_convolution(features, self.conv_out)[..., :height, :width]

    @property
    def encoded_channels(self) -> int:
        """Channels of what ``encode`` gives."""
        return int(self.encoder.channels[-1])  # type: ignore[index]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Give the encoder's deepest features, (B, C, h, w)."""
        found: torch.Tensor = self.encoder(pad_to_multiple(x, MULTIPLE))[-1]
        return found

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Give the encoder's parameters."""
        return self.encoder.parameters()

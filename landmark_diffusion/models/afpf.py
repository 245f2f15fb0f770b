"""AFPF: attentive feature pyramid fusion, the network of a classic with offset voting.

Chen et al. 2019, "Cephalometric landmark detection by attentive feature pyramid fusion and regression-voting" (MICCAI).
Built from the paper's description: a VGG19 with batch norm, four of its levels brought to 64 channels at a quarter of
the size, a block of dilated convolutions, an attention vector for each output map. Its number of parameters (20.7
million with 57 maps) comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.blocks import wide_convolution
from landmark_diffusion.models.unet import pad_to_multiple

LAYERS = (2, 2, 4, 4, 4)
"""Convolutions of each level of VGG19."""
FUSED = 64
"""Channels that each level is brought to."""
DILATIONS = (1, 2, 4)


class VGGEncoder(nn.Module):
    """Convolutions of VGG with batch norm: features at 1, 1/2, 1/4, 1/8 and 1/16 of an image's size."""

    def __init__(self, in_channels: int, channels: Sequence[int], layers: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        before = in_channels
        for width, count in zip(channels, layers, strict=True):
            parts: list[nn.Module] = []
            for _ in range(count):
                parts += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                before = width
            self.levels.append(nn.Sequential(*parts))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, C, H, W), sides multiples of 16, to five features, top to bottom."""
        found: list[torch.Tensor] = []
        for level, layers in enumerate(self.levels):
            x = layers(x if level == 0 else F.max_pool2d(x, 2))
            found.append(x)
        return found


class Dilated(nn.Module):
    """Three 3x3 convolutions beside each other, of dilation 1, 2 and 4, joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in DILATIONS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, 3 C, H, W)."""
        return torch.cat([F.relu(branch(x)) for branch in self.branches], 1)


class AFPF(nn.Module):
    """Map images (B, in_channels, H, W) of any size to maps (B, out_channels, H, W), float32 or better.

    The attention vector of a map is learned and the same for every image: how the paper's comes about is not said in
    what we have of it.

    Args:
        in_channels, out_channels: of input and output.
        channels: widths of the five levels.
        layers: convolutions of each level.

    Raises UserError for other numbers of levels.
    """

    head = "maps"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        layers: Sequence[int] = LAYERS,
    ) -> None:
        super().__init__()
        if len(channels) != 5 or len(layers) != 5 or min(*channels, *layers) < 1:
            raise UserError(
                f"AFPF: found channels {list(channels)}, layers {list(layers)}; expected five numbers of at least 1 "
                "each"
            )
        self.encoder = VGGEncoder(in_channels, channels, layers)
        self.encoded_channels = channels[-1]
        self.lateral = nn.ModuleList(nn.Conv2d(width, FUSED, 1) for width in channels[1:])
        self.dilated = nn.ModuleList(Dilated(FUSED) for _ in channels[1:])
        width = len(self.lateral) * len(DILATIONS) * FUSED
        self.attention = nn.Parameter(torch.zeros(out_channels, width))
        self.maps = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: torch.Tensor, t: torch.Tensor | None = None) -> torch.Tensor:
        """Run the network; it takes no steps t, so that only None is one. Raises UserError for steps."""
        if t is not None:
            raise UserError("AFPF: found steps t, but it has no time embedding")
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, 16)
        quarter = (padded.shape[-2] // 4, padded.shape[-1] // 4)
        levels = self.encoder(padded)[1:]
        fused = torch.cat(
            [
                dilated(F.interpolate(lateral(level), size=quarter, mode="bilinear", align_corners=False))
                for level, lateral, dilated in zip(levels, self.lateral, self.dilated, strict=True)
            ],
            1,
        )
        attended = 2 * self.attention.sigmoid()[:, :, None, None] * self.maps.weight  # at the start all count alike
        logits = wide_convolution(fused, self.maps, attended)
        full = F.interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=False)
        return full[..., :height, :width]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Give the encoder's deepest features, (B, C, h, w)."""
        found: torch.Tensor = self.encoder(pad_to_multiple(x, 16))[-1]
        return found

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Give the encoder's parameters."""
        return self.encoder.parameters()

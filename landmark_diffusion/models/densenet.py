"""DenseNetUNet: a U-Net with a DenseNet encoder, the network of paper B's rivals.

Huang et al. 2017, "Densely connected convolutional networks" (the encoder, layer by layer and name by name as
torchvision's, so that a state dict in its format fits); paper B section 4.3 (DenseNet161 with a U-Net decoder).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.encoder_unet import EncoderUNet

_OLD_NAME = re.compile(r"(?<=\.)(norm|conv)\.([12])(?=\.)")
BOTTLENECK = 4
"""Channels of a layer's 1x1 convolution, as a multiple of the growth."""


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 to four times the growth; norm, ReLU, 3x3 to the growth; joined to what came in."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C + growth, H, W)."""
        h = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(h)))], 1)


class Transition(nn.Module):
    """Norm and ReLU, which a U-Net joins; 1x1 to half the channels, and mean pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, C, H, W) to (B, C / 2, H / 2, W / 2), and give what is joined, (B, C, H, W)."""
        skip = F.relu(self.norm(x))
        return F.avg_pool2d(self.conv(skip), 2), skip


class DenseNetEncoder(nn.Module):
    """Give features at 1/2, 1/4, 1/8, 1/16 and 1/32 of an image's size.

    Args:
        in_channels: of the image.
        growth: channels that each layer adds.
        blocks: layers of the four dense blocks.
        first_channels: of the first convolution.
    """

    def __init__(self, in_channels: int, growth: int, blocks: Sequence[int], first_channels: int) -> None:
        super().__init__()
        if len(blocks) != 4 or min(*blocks, growth, first_channels) < 1:
            raise UserError(
                f"DenseNetUNet: found blocks {list(blocks)}, growth {growth}, first_channels {first_channels}; "
                "expected four blocks, and everything at least 1"
            )
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv0"] = nn.Conv2d(in_channels, first_channels, 7, stride=2, padding=3, bias=False)
        parts["norm0"] = nn.BatchNorm2d(first_channels)
        width, self.channels = first_channels, [first_channels]
        for place, layers in enumerate(blocks, 1):
            dense: OrderedDict[str, nn.Module] = OrderedDict(
                (f"denselayer{i + 1}", DenseLayer(width + i * growth, growth)) for i in range(layers)
            )
            parts[f"denseblock{place}"] = nn.Sequential(dense)
            width += layers * growth
            self.channels.append(width)
            if place < len(blocks):
                parts[f"transition{place}"] = Transition(width)
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.ModuleDict(parts)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, C, H, W), sides multiples of 32, to five features, top to bottom."""
        parts = self.features
        h = F.relu(parts["norm0"](parts["conv0"](x)))
        found = [h]
        h = F.max_pool2d(h, 3, stride=2, padding=1)
        for place in (1, 2, 3):
            h, skip = parts[f"transition{place}"](parts[f"denseblock{place}"](h))
            found.append(skip)
        return [*found, F.relu(parts["norm5"](parts["denseblock4"](h)))]


class DenseNetUNet(EncoderUNet):
    """Map images (B, in_channels, H, W) of any size to maps (B, out_channels, H, W).

    DenseNet161 with paper B's decoder by default: 26.5 and 12.3 million parameters with 19 maps. DenseNet121 is growth
    32, blocks [6, 12, 24, 16], first_channels 64. ``model.pretrained`` takes the state dict that torchvision's
    DenseNet of the same widths saves (docs/few_labels.md).

    Args:
        in_channels, out_channels: of input and output.
        growth: channels that each layer adds.
        blocks: layers of the four dense blocks.
        first_channels: of the first convolution.
        decoder_channels: five widths, bottom to top.

    Raises UserError on options that do not go together.
    """

    stem = "encoder.features.conv0"

    @staticmethod
    def published_names(state: Collection[str]) -> dict[str, str]:
        """Give our name of each weight of torchvision's DenseNet that the encoder has, by torchvision's.

        Its published files are older than the names of its code: ``norm.1`` is ``norm1`` there.
        """
        return {name: "encoder." + _OLD_NAME.sub(r"\1\2", name) for name in state if name.startswith("features.")}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        growth: int = 48,
        blocks: Sequence[int] = (6, 12, 36, 24),
        first_channels: int = 96,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__(DenseNetEncoder(in_channels, growth, blocks, first_channels), decoder_channels, out_channels)

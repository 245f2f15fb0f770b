"""EfficientNetLiteUNet: a U-Net whose encoder has ImageNet weights that come in a package.

Tan and Le 2019, "EfficientNet"; Lite0 is its smallest form for devices: ReLU6, no squeeze and excitation. Layer by
layer the encoder is the one of those weights (docs/few_labels.md, "An ImageNet start").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.models.encoder_unet import EncoderUNet

STEM = 32
LITE0 = (
    # kernel, stride, expansion, channels, blocks
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)  # fmt: skip
"""Stages of Lite0."""
_HEAD = ("conv_head.", "bn1.", "fc.")
EPSILON, MOMENTUM = 1e-3, 0.01
"""Of the batch norms, as the weights were trained."""


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME" does: with a stride the odd pixel goes right and below.

    Sides are multiples of the stride.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        total = self.kernel_size[0] - self.stride[0]
        before, behind = total // 2, total - total // 2
        h: torch.Tensor = super().forward(F.pad(x, (before, behind, before, behind)))
        return h


class InvertedResidual(nn.Module):
    """1x1 to more channels, a depthwise convolution, 1x1 back to few; joined by sum where sizes allow it."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = in_channels * expansion
        if expansion != 1:
            self.expand_conv = nn.Conv2d(in_channels, middle, 1, bias=False)
            self.bn0 = _norm(middle)
        self.depthwise_conv = SameConv(middle, middle, kernel, stride=stride, groups=middle, bias=False)
        self.bn1 = _norm(middle)
        self.project_conv = nn.Conv2d(middle, channels, 1, bias=False)
        self.bn2 = _norm(channels)
        self.expands, self.joins = expansion != 1, stride == 1 and in_channels == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        h = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        projected: torch.Tensor = self.bn2(self.project_conv(F.relu6(self.bn1(self.depthwise_conv(h)))))
        return projected + x if self.joins else projected


class EfficientNetLiteEncoder(nn.Module):
    """Give features at 1/2, 1/4, 1/8, 1/16 and 1/32 of an image's size: 32, 24, 40, 112 and 320 channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv_stem = SameConv(in_channels, STEM, 3, stride=2, bias=False)
        self.bn0 = _norm(STEM)
        self.blocks = nn.ModuleList()
        strides, widths, width = [], [STEM], STEM
        for kernel, stride, expansion, channels, count in LITE0:
            for place in range(count):
                strides.append(stride if place == 0 else 1)
                self.blocks.append(InvertedResidual(width, channels, kernel, strides[-1], expansion))
                width = channels
                widths.append(width)
        halves = [place for place, stride in enumerate(strides) if stride == 2]
        self.ends = [place - 1 for place in halves[1:]] + [len(strides) - 1]
        """Blocks whose output is the last at its size; of half the size it is the stem's."""
        self.channels = [STEM] + [widths[place + 1] for place in self.ends]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, C, H, W), sides multiples of 32, to five features, top to bottom."""
        h = F.relu6(self.bn0(self.conv_stem(x)))
        found = [h]
        for start, end in pairwise((-1, *self.ends)):
            for block in self.blocks[start + 1 : end + 1]:
                h = block(h)
            found.append(h)
        return found


class EfficientNetLiteUNet(EncoderUNet):
    """Map images (B, in_channels, H, W) of any size to maps (B, out_channels, H, W).

    Args:
        in_channels, out_channels: of input and output.
        decoder_channels: five widths, bottom to top.

    Raises UserError for another number of widths.
    """

    stem = "encoder.conv_stem"

    @staticmethod
    def published_names(state: Collection[str]) -> dict[str, str]:
        """Give our name of each weight of the published Lite0 that the encoder has, by its own.

        Its head behind the last stage is left: 1x1 to 1280 channels, and the classes.
        """
        own = {name: re.sub(r"(^|\.)_", r"\1", name) for name in state}
        return {name: f"encoder.{ours}" for name, ours in own.items() if not ours.startswith(_HEAD)}

    def __init__(
        self, in_channels: int, out_channels: int, decoder_channels: Sequence[int] = (128, 96, 64, 32, 16)
    ) -> None:
        super().__init__(EfficientNetLiteEncoder(in_channels), decoder_channels, out_channels)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)

"""GU2Net: one network for several data sets, most of whose weights they share (YOLO, in paper B as YOLO+).

Zhu, Yao, Xiao and Zhou 2021, "You only learn once: universal anatomical landmark detection". A local U-Net whose 3x3
convolutions are a depthwise kernel of the data set's own and a pointwise kernel that all share, and a global network
of the data set's own, on a quarter of the size; their maps multiply. Built from the paper's description; its numbers
of parameters (4.38 million for cephalograms, chests and hands, 2.74 for cephalograms alone) come out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.unet import pad_to_multiple

GLOBAL_CHANNELS = 64
"""Channels of the picture, and of the local maps, in the global network."""
DILATIONS = (1, 2, 5, 2, 1)
QUARTER = 4
"""The global network sees a quarter of the width and the height."""
SLOPE = 0.01
"""Of LeakyReLU; torch's own."""


class UniversalConv(nn.Module):
    """A depthwise 3x3 of each data set, a pointwise convolution of all, batch norm of each data set, LeakyReLU.

    Args:
        in_channels, out_channels: of the features.
        sets: S, number of data sets.
    """

    def __init__(self, in_channels: int, out_channels: int, sets: int) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels) for _ in range(sets)
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)
        self.norm = nn.ModuleList(nn.BatchNorm2d(out_channels) for _ in range(sets))

    def forward(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """Map (B, C, H, W) of the data set at ``place`` to (B, C', H, W)."""
        return F.leaky_relu(self.norm[place](self.pointwise(self.depthwise[place](x))), SLOPE)


class UniversalPair(nn.Module):
    """Two universal convolutions."""

    def __init__(self, in_channels: int, middle: int, out_channels: int, sets: int) -> None:
        super().__init__()
        self.first = UniversalConv(in_channels, middle, sets)
        self.second = UniversalConv(middle, out_channels, sets)

    def forward(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """Map (B, C, H, W) of the data set at ``place`` to (B, C', H, W)."""
        h: torch.Tensor = self.second(self.first(x, place), place)
        return h


class LocalNet(nn.Module):
    """The universal U-Net: max pooling down, bilinear interpolation up.

    Args:
        in_channels: of the image.
        maps: landmarks of each data set.
        channels: widths, top to bottom; the last two are equal, as the way up halves what it joins.
    """

    def __init__(self, in_channels: int, maps: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        sets, before = len(maps), (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(
            UniversalPair(width_in, width, width, sets) for width_in, width in zip(before, channels, strict=True)
        )
        self.decoder = nn.ModuleList()
        below = channels[-1]
        for level in reversed(range(len(channels) - 1)):
            width = channels[max(level - 1, 0)]
            joined = below + channels[level]
            self.decoder.append(UniversalPair(joined, joined // 2, width, sets))
            below = width
        self.last = nn.ModuleList(nn.Conv2d(below, count, 1) for count in maps)

    def forward(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """Map (B, C, H, W) to logits (B, N, H, W) of the data set's N landmarks."""
        skips = []
        for level, pair in enumerate(self.encoder):
            x = pair(x if level == 0 else F.max_pool2d(x, 2), place)
            skips.append(x)
        x = skips.pop()
        for pair in self.decoder:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = pair(torch.cat([skips.pop(), x], 1), place)
        logits: torch.Tensor = self.last[place](x)
        return logits


def _dilated(in_channels: int, out_channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(SLOPE),
    )


class GlobalNet(nn.Module):
    """Where each landmark may lie at all, from a quarter of the picture and of the local maps."""

    def __init__(self, in_channels: int, maps: int) -> None:
        super().__init__()
        self.of_image = _dilated(in_channels, GLOBAL_CHANNELS, 1)
        self.of_maps = _dilated(maps, GLOBAL_CHANNELS, 1)
        width = 2 * GLOBAL_CHANNELS
        self.dilated = nn.Sequential(*(_dilated(width, width, each) for each in DILATIONS))
        self.last = nn.Conv2d(width, maps, 1)

    def forward(self, image: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
        """Map images (B, C, H, W) and local maps (B, N, H, W) to logits (B, N, H, W)."""
        small, maps = (F.interpolate(x, scale_factor=1 / QUARTER, mode="bilinear") for x in (image, local))
        h = self.dilated(torch.cat([self.of_image(small), self.of_maps(maps)], 1))
        return F.interpolate(self.last(h), scale_factor=float(QUARTER), mode="bilinear", align_corners=False)


class GU2Net(nn.Module):
    """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W) of local x global maps.

    With the loss ``bce`` on Gaussians it is trained as published: the sigmoid of what it gives is the product of both
    networks' sigmoids.

    Args:
        in_channels: of the image.
        out_channels: maps of the data set that is tested.
        auxiliary: maps of each further data set that trains with it (``data.auxiliary``); () is one data set.
        channels: widths of the local network, top to bottom.
        prior: what a new network's sigmoid gives at each pixel. At 0.25, that of layers as torch makes them, the first
            hundred updates do nothing but lower it to the share of a Gaussian's pixels (compare Lin et al. 2017, "Focal
            loss for dense object detection", section 4.1).

    Raises UserError on options that do not go together.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        auxiliary: Sequence[int] = (),
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        prior: float = 0.001,
    ) -> None:
        super().__init__()
        self.maps = (out_channels, *auxiliary)
        """Landmarks of each data set; the tested one is the first."""
        if min(self.maps) < 1:
            raise UserError(
                f"GU2Net: auxiliary: found {list(auxiliary)}, expected the number of landmarks of each further data set"
            )
        if len(channels) < 2 or channels[-1] != channels[-2] or min(channels) < 1:
            raise UserError(
                f"GU2Net: channels: found {list(channels)}, expected at least two widths of at least 1, the last two "
                "alike"
            )
        if not 0 < prior < 1:
            raise UserError(f"GU2Net: prior: found {prior}, expected a share between 0 and 1")
        self.multiple = max(2 ** (len(channels) - 1), QUARTER)
        self.local = LocalNet(in_channels, self.maps, channels)
        self.whole = nn.ModuleList(GlobalNet(in_channels, count) for count in self.maps)
        share = math.sqrt(prior)  # of each of the two networks whose answers multiply
        for last in (*self.local.last, *(each.last for each in self.whole)):
            nn.init.constant_(last.bias, math.log(share / (1 - share)))

    def forward(self, x: torch.Tensor, *, place: int = 0) -> torch.Tensor:
        """Map images of the data set at ``place`` to logits (B, N, H, W) of its landmarks, float32 or better."""
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, self.multiple)
        local = self.local(padded, place)
        found: torch.Tensor = product_logit(local, self.whole[place](padded, local.sigmoid()))
        return found[..., :height, :width]


def product_logit(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Give the logit of sigmoid(first) x sigmoid(second), in float32 or better, exact far into both tails."""
    wide = torch.promote_types(first.dtype, torch.float32)
    a, b = first.to(wide), second.to(wide)
    # p = 1 / ((1 + e^-a)(1 + e^-b)), so (1 - p) / p = e^-a + e^-b + e^-(a + b)
    return -torch.logsumexp(torch.stack([-a, -b, -(a + b)]), 0)

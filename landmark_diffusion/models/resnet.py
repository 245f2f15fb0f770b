"""ResNetUNet: a U-Net with a ResNet encoder, the network of contour-hugging heatmaps.

He et al. 2016, "Deep residual learning for image recognition" (ResNet18 and 34, layer by layer and name by name as
torchvision's, so that a state dict in its format fits); McCouat and Voiculescu 2022, "Contour-hugging heatmaps for
landmark detection" (ResNet34 with a U-Net decoder).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.models.encoder_unet import EncoderUNet


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to what came in, which a 1x1 brings to their size and width."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNetEncoder(nn.Module):
    """Give features at 1/2, 1/4, 1/8, 1/16 and 1/32 of an image's size.

    Args:
        in_channels: of the image.
        blocks: residual blocks of the four stages.
        first_channels: of the first convolution and stage; each later stage has twice as many.
    """

    def __init__(self, in_channels: int, blocks: Sequence[int], first_channels: int) -> None:
        super().__init__()
        if len(blocks) != 4 or min(*blocks, first_channels) < 1:
            raise UserError(
                f"ResNetUNet: found blocks {list(blocks)}, first_channels {first_channels}; "
                "expected four stages, and everything at least 1"
            )
        self.conv1 = nn.Conv2d(in_channels, first_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first_channels)
        width, self.channels = first_channels, [first_channels]
        for stage, count in enumerate(blocks):
            wider = first_channels * 2**stage
            residual = [BasicBlock(width, wider, 1 if stage == 0 else 2)]
            residual += [BasicBlock(wider, wider, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*residual))
            width = wider
            self.channels.append(width)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, C, H, W), sides multiples of 32, to five features, top to bottom."""
        h = F.relu(self.bn1(self.conv1(x)))
        found = [h]
        h = F.max_pool2d(h, 3, stride=2, padding=1)
        for stage in (1, 2, 3, 4):
            h = self.get_submodule(f"layer{stage}")(h)
            found.append(h)
        return found


class ResNetUNet(EncoderUNet):
    """Map images (B, in_channels, H, W) of any size to maps (B, out_channels, H, W).

    ResNet34 with the decoder of contour-hugging heatmaps by default: 21.3 and 3.2 million parameters. ResNet18 is
    blocks [2, 2, 2, 2]. ``model.pretrained`` takes the state dict that torchvision's ResNet of the same widths saves
    (docs/few_labels.md).

    Args:
        in_channels, out_channels: of input and output.
        blocks: residual blocks of the four stages.
        first_channels: of the first convolution and stage; each later stage has twice as many.
        decoder_channels: five widths, bottom to top.

    Raises UserError on options that do not go together.
    """

    stem = "encoder.conv1"

    @staticmethod
    def published_names(state: Collection[str]) -> dict[str, str]:
        """Give our name of each weight of torchvision's ResNet that the encoder has, by torchvision's."""
        return {name: f"encoder.{name}" for name in state if not name.startswith("fc.")}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        blocks: Sequence[int] = (3, 4, 6, 3),
        first_channels: int = 64,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 32),
    ) -> None:
        super().__init__(ResNetEncoder(in_channels, blocks, first_channels), decoder_channels, out_channels)

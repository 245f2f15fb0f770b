"""Options of DDPMPretrainModule in groups: what is generated, which set an image is of, windows, alignment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.positions import PositionSchedule
from landmark_diffusion.finders.diffusion_heatmap import REFERENCE_WIDTH
from landmark_diffusion.finders.windows import Windows


@dataclass(frozen=True)
class GeneratedImages:
    """The radiographs that are generated in training, to look at.

    Args:
        sampler: "ddpm" or "ddim"; after short training "ddim" leaves noise in some of them.
        steps: network evaluations of a generated radiograph.
        every: optimiser steps between two grids of generated radiographs (0: none).
        count: how many a grid has; of each set where the network is conditioned on it.
        statistics_count: generated radiographs whose histogram and spectrum are compared with the training images'.
    """

    sampler: Literal["ddpm", "ddim"] = "ddpm"
    steps: int = 250
    every: int = 2000
    count: int = 8
    statistics_count: int = 32


@dataclass(frozen=True)
class SetCondition:
    """Which data set an image is of, told to the network as a learned embedding beside that of the step.

    Args:
        sets: names of the sets (``set_names`` of the data); none: the network is not told.
        dropped: share of the draws of training in which it is not told, so that it also denoises without (10 % in
            CDPM-Align, arXiv 2606.04898).

    Raises UserError for values that make no sense.
    """

    sets: tuple[str, ...] = ()
    dropped: float = 0.1

    def __post_init__(self) -> None:
        if len(set(self.sets)) < len(self.sets):
            raise UserError(f"model.condition.sets: found {list(self.sets)}, expected each name once")
        if not 0 <= self.dropped <= 1:
            raise UserError(f"model.condition.dropped: found {self.dropped}, expected a share from 0 to 1")

    def places(self, names: tuple[str, ...]) -> list[int]:
        """Place in ``sets`` of each of the data's sets; raises UserError for one that is not among them."""
        if unknown := [name for name in names if name not in self.sets]:
            there = [*(name for name in self.sets if name in names), *unknown]
            raise UserError(
                f"model.condition.sets: found {', '.join(self.sets)}, but the data has {', '.join(unknown)} too; name "
                f"the data's sets: [{', '.join(there)}]"
            )
        return [self.sets.index(name) for name in names]


@dataclass(frozen=True)
class FeatureAlignment:
    """A loss that draws the network's features with and without its condition together (after CDPM-Align).

    Mean squared difference of what the last layer sees, (f(x_t, t, set) - f(x_t, t))^2, over images, channels, pixels
    and ``levels``.

    Args:
        weight: in the loss, beside the denoising's; 0: off.
        levels: noise levels at which features are compared, as shares of T. The default ones lie in the least noisy
            tenth, near the images that fine-tuning sees.
        begins: share of the run's updates after which it acts.

    Raises UserError for values that make no sense.
    """

    weight: float = 0.0
    levels: tuple[float, ...] = (0.05, 0.1)
    begins: float = 0.9

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise UserError(f"model.alignment.weight: found {self.weight:g}, expected 0 (off) or more")
        if not self.levels or not all(0 <= level <= 1 for level in self.levels):
            raise UserError(
                f"model.alignment.levels: found {list(self.levels)}, expected at least one share of T from 0 to 1"
            )
        if not 0 <= self.begins < 1:
            raise UserError(f"model.alignment.begins: found {self.begins:g}, expected a share from 0 to below 1")

    def steps(self, total: int) -> list[int]:
        """The levels as steps t of a schedule of ``total`` steps."""
        return [round(level * (total - 1)) for level in self.levels]


@dataclass(frozen=True)
class DrawnWindows(Windows):
    """Windows at random places of the images, in place of whole images: those that a window network sees.

    Args:
        count: windows of an image in an update, all of one sigma; 0: whole images.
        sigma_min: smallest sigma, in pixels of a 640-wide network (``noise.sigma_min`` of PositionDiffusionModule).
        sigma_max: largest sigma, likewise; those between are drawn evenly in their logarithm.

    Raises UserError for values that make no sense.
    """

    count: int = 0
    sigma_min: float = 3.0
    sigma_max: float = 32.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 0:
            raise UserError(f"model.windows.count: found {self.count}, expected 0 (whole images) or more")
        PositionSchedule(self.sigma_min, self.sigma_max, 2)

    @property
    def draws(self) -> int:
        """How many numbers decide the windows of an image."""
        return 1 + 2 * self.count

    def draw(self, image: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """Cut ``count`` windows from each image (B,1,H,W): (B,count,views,P,P).

        ``uniform`` (B,draws) are numbers in [0, 1): the first decides sigma, each further pair a place of the image.
        """
        height, width = image.shape[-2:]
        unit = width / REFERENCE_WIDTH
        sigma = PositionSchedule(self.sigma_min, self.sigma_max, 2, unit).sigma(uniform[:, 0])
        centres = uniform[:, 1:].unflatten(1, (self.count, 2)) * uniform.new_tensor([width, height]) - 0.5
        return self.cut(self.pyramid(image, self.sigma_max * unit), centres, sigma)


def uniform_of(normal: torch.Tensor) -> torch.Tensor:
    """Turn standard normal numbers into uniform ones in [0, 1)."""
    return (0.5 * (1 + torch.erf(normal.double() / math.sqrt(2)))).clamp(0, 1 - 1e-9).to(normal.dtype)

"""WindowMap: where a landmark is, as a distribution over the pixels of a window around a position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from landmark_diffusion.heatmaps.moments import PIXEL_VARIANCE


@dataclass(frozen=True)
class WindowMap:
    """Probabilities (B, N, P, P) over the pixels of windows around ``centres`` (B, N, 2), in network pixels.

    ``pixel`` is how many network pixels a window's pixel is wide.
    """

    probabilities: torch.Tensor
    centres: torch.Tensor
    pixel: float

    @property
    def steps(self) -> torch.Tensor:
        """Places (P,) of a window's pixels in one direction, in window pixels from its centre."""
        size = self.probabilities.shape[-1]
        return torch.arange(size, device=self.centres.device, dtype=self.probabilities.dtype) - (size - 1) / 2

    @cached_property
    def point(self) -> torch.Tensor:
        """The mean (B, N, 2) in network pixels."""
        columns, rows, steps = self.probabilities.sum(-2), self.probabilities.sum(-1), self.steps
        return self.centres + self.pixel * torch.stack(((columns * steps).sum(-1), (rows * steps).sum(-1)), -1)

    def covariance(self) -> torch.Tensor:
        """Covariance (B, N, 2, 2) in squared network pixels; the mass lies evenly within each pixel."""
        offsets = torch.stack(torch.meshgrid(self.steps, self.steps, indexing="xy"), -1)
        centred = offsets - ((self.point - self.centres) / self.pixel)[..., None, None, :]
        products = centred[..., :, None] * centred[..., None, :]  # no einsum: autocast would round it to bfloat16
        moments = (self.probabilities[..., None, None] * products).sum((-4, -3))
        return self.pixel**2 * (moments + PIXEL_VARIANCE * torch.eye(2, device=moments.device))

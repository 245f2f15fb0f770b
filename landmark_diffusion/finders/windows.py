"""Windows around positions as a network sees them: how large, how their pixels follow the noise, in which patches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import at_least_one
from landmark_diffusion.models.windows import cut_windows, image_pyramid

Sigma = TypeVar("Sigma", float, torch.Tensor)

LARGEST_WINDOW = 1024
"""Pixels of a window's side: far more than an image has."""


@dataclass(frozen=True)
class Windows:
    """The windows that the evaluations after the first see.

    Args:
        size: P, pixels of a window's side.
        patch: its pixels are gathered in patches of this side, one position of the window's network each.
        reach: half a window's side, in sigma_t.
        wide: each window comes with one of this many times its side around it; 0 for none.

    Raises UserError for values that make no sense.
    """

    size: int = 32
    patch: int = 4
    reach: float = 3.0
    wide: float = 3.0

    def __post_init__(self) -> None:
        at_least_one("model.windows", self, "size", "patch")
        if self.size > LARGEST_WINDOW:
            raise UserError(f"model.windows.size: found {self.size}, expected at most {LARGEST_WINDOW}")
        if self.size % self.patch:
            raise UserError(f"model.windows.patch: found {self.patch}, expected a divisor of size ({self.size})")
        if self.reach <= 0 or self.wide < 0:
            raise UserError(
                f"model.windows.reach {self.reach:g}, wide {self.wide:g}: expected a reach above 0 and a wide window "
                "of 0 (none) or more"
            )

    @property
    def views(self) -> int:
        """How many windows there are around a position: the window, and the wide one where there is one."""
        return 2 if self.wide else 1

    def pixel(self, sigma: Sigma) -> Sigma:
        """Network pixels that a window's pixel is wide at sigma."""
        return 2 * self.reach * sigma / self.size

    def pyramid(self, image: torch.Tensor, sigma_max: float) -> list[torch.Tensor]:
        """Halve images (B,1,H,W) as often as windows up to ``sigma_max``, in network pixels, ask for."""
        widest = self.pixel(sigma_max) * max(1.0, self.wide)
        return image_pyramid(image, 1 + max(0, math.ceil(math.log2(widest))))

    def cut(self, pyramid: list[torch.Tensor], positions: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Cut the windows around positions (B,N,2) at sigma (B,), in network pixels: (B,N,views,P,P)."""
        pixel = self.pixel(sigma)
        windows = [cut_windows(pyramid, positions, pixel, self.size)]
        if self.wide:
            windows.append(cut_windows(pyramid, positions, pixel * self.wide, self.size))
        return torch.cat(windows, 2)

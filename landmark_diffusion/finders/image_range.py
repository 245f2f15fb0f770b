"""The grey levels that a network is given: [0, 1] mapped to another range."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from landmark_diffusion.core.errors import UserError


def check_range(image_range: Sequence[float]) -> tuple[float, float]:
    """Return (low, high) as floats; raises UserError unless low < high."""
    low, high = (float(value) for value in image_range)
    if not low < high:
        raise UserError(f"model.image_range: found {[low, high]}, expected a lower and a higher number")
    return low, high


def scale_image(image: torch.Tensor, image_range: tuple[float, float]) -> torch.Tensor:
    """Map grey levels (B,1,H,W) in [0, 1] linearly to ``image_range``."""
    low, high = image_range
    return image * (high - low) + low

"""The exact map between original and network pixels: one convention, written once.

A point is (x, y) in pixels with pixel centres at integers, so resizing by s maps x to (x + 0.5) s - 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

from landmark_diffusion.core.errors import UserError

Points = TypeVar("Points", np.ndarray, torch.Tensor)
ResizeMode = Literal["stretch", "pad"]


@dataclass(frozen=True)
class Frame:
    """How one image lies in the network's grid: an axis-aligned affine map in both directions.

    Args:
        scale: network pixels per original pixel, (x, y).
        offset: network pixels added after scaling, (x, y); zero for both resize modes (padding is right and bottom).
        original_size: (width, height) of the image on disk.
        network_size: (width, height) of the network's input.
        content_size: (width, height) of the resized image inside the network's input, before padding.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    original_size: tuple[int, int]
    network_size: tuple[int, int]
    content_size: tuple[int, int]

    @classmethod
    def fit(cls, original_size: tuple[int, int], network_size: tuple[int, int], mode: ResizeMode = "stretch") -> Frame:
        """Fit an image of ``original_size`` into ``network_size``, both (width, height) in pixels.

        ``stretch`` scales each axis by its own factor; ``pad`` keeps the aspect (to the nearest whole pixel, whose
        exact factor the frame holds) and pads right and bottom. Raises UserError on an unknown mode or an empty size.
        """
        if min(*original_size, *network_size) < 1:
            raise UserError(f"sizes must be at least 1 pixel, found {original_size} and {network_size}")
        if mode == "stretch":
            content = network_size
        elif mode == "pad":
            factor = min(n / o for n, o in zip(network_size, original_size, strict=True))
            content = (
                min(network_size[0], max(1, round(original_size[0] * factor))),
                min(network_size[1], max(1, round(original_size[1] * factor))),
            )
        else:
            raise UserError(f"resize: found {mode!r}, expected 'stretch' or 'pad'")
        scale = (content[0] / original_size[0], content[1] / original_size[1])
        (width, height), (net_width, net_height) = original_size, network_size
        return cls(scale, (0.0, 0.0), (width, height), (net_width, net_height), content)

    def to_network(self, points: Points) -> Points:
        """Map original pixels to network pixels; ``points`` is (..., 2), NaN stays NaN."""
        scale, offset = self._as(points)
        mapped: Points = (points + 0.5) * scale - 0.5 + offset
        return mapped

    def to_original(self, points: Points) -> Points:
        """Map network pixels to original pixels; ``points`` is (..., 2), NaN stays NaN."""
        scale, offset = self._as(points)
        mapped: Points = (points - offset + 0.5) / scale - 0.5
        return mapped

    def as_array(self) -> np.ndarray:
        """The frame as (2, 2) float64, rows scale and offset: the form that batches carry."""
        return np.array([self.scale, self.offset], dtype=np.float64)

    def _as(self, points: Points) -> tuple[Points, Points]:
        if isinstance(points, torch.Tensor):
            return points.new_tensor(self.scale), points.new_tensor(self.offset)
        return np.asarray(self.scale), np.asarray(self.offset)


def covariance_factors(scale: Points) -> Points:
    """What scaling points by ``scale`` (..., 2) multiplies their covariances (..., N, 2, 2) by: (..., 1, 2, 2).

    That is J C J^T of a diagonal J, element by element; dividing by it undoes the scaling.
    """
    factors: Points = (scale[..., :, None] * scale[..., None, :])[..., None, :, :]
    return factors


def frames_to_original(points: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Map a batch of network points (B, ..., 2) to original pixels in float64, by frames (B, 2, 2)."""
    frames = frames.to(torch.float64)
    shape = (frames.shape[0],) + (1,) * (points.ndim - 2) + (2,)
    scale, offset = frames[:, 0].reshape(shape), frames[:, 1].reshape(shape)
    return (points.to(torch.float64) - offset + 0.5) / scale - 0.5

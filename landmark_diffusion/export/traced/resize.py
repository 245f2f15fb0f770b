"""data/resize.py in a graph: images of any size to the network's, by weights that follow from the size alone.

A pixel of the result is a weighted sum over those of the image, along each axis by itself: parts of pixels where the
axis shrinks (OpenCV's INTER_AREA, which leaves out parts below a thousandth), the two neighbours where it grows. Where
both grow, OpenCV counts in whole numbers of 1/2048, and so does this.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from landmark_diffusion.data.geometry import ResizeMode

_LEAST_PART = 1e-3
"""Pixels: OpenCV counts no smaller part of one (computeResizeAreaTab)."""
_FIXED = 2048.0
"""What OpenCV's linear interpolation of bytes counts weights in (INTER_RESIZE_COEF_BITS)."""


class Resized(NamedTuple):
    """An image at the network's size, (H, W) float32 of whole grey levels, and network pixels a pixel (2,) float64."""

    grey: torch.Tensor
    scale: torch.Tensor


def resize(image: torch.Tensor, size: tuple[int, int], mode: ResizeMode) -> Resized:
    """Resize (h, w) uint8 as ``resize_image`` does in the frame of ``Frame.fit``; ``size`` is (width, height)."""
    lengths = [torch.arange(side, dtype=torch.float64, device=image.device) for side in image.shape]
    rows, columns = (each[-1] + 1 for each in lengths)
    height, width = _content(rows, columns, size, mode)
    grey = image.to(torch.float32)
    by_area = _weights(lengths[0], height, size[1]) @ (grey @ _weights(lengths[1], width, size[0]).T)
    halved = (rows == 2 * height) & (columns == 2 * width)  # OpenCV rounds a half up here, to even elsewhere
    shrunk = torch.where(halved, (by_area + 0.5).floor(), by_area.round())
    grown = _grown(grey, rows, columns, height, width, size)
    found = torch.where((rows < height) & (columns < width), grown, shrunk)
    return Resized(found.clamp(0, 255), torch.stack((width / columns, height / rows)))


def _content(
    rows: torch.Tensor, columns: torch.Tensor, size: tuple[int, int], mode: ResizeMode
) -> tuple[torch.Tensor, torch.Tensor]:
    """Height and width of the image within the network's, as ``Frame.fit`` has them; float64."""
    full = (torch.full_like(rows, size[1]), torch.full_like(columns, size[0]))
    if mode == "stretch":
        return full
    factor = torch.minimum(full[0] / rows, full[1] / columns)
    height, width = (torch.clamp((each * factor).round(), min=1) for each in (rows, columns))
    return torch.minimum(height, full[0]), torch.minimum(width, full[1])


def _weights(places: torch.Tensor, content: torch.Tensor, side: int) -> torch.Tensor:
    """Weights (side, n) float32 of an axis of n pixels, whose numbers are ``places``, in each of ``content`` pixels."""
    count = places[-1] + 1
    scale = count / content
    out = torch.arange(side, dtype=torch.float64, device=places.device)[:, None]
    start = out * scale
    parts = torch.minimum(places + 1, start + scale) - torch.maximum(places, start)
    parts = torch.where(parts > _LEAST_PART, parts, torch.zeros_like(parts))
    area = parts / torch.minimum(scale, count - start).clamp_min(_LEAST_PART)
    middle = _middles(out, scale, count)
    between = (1 - (middle - places).abs()).clamp_min(0)
    weights = torch.where(count >= content, area, between)
    return torch.where(out < content, weights, torch.zeros_like(weights)).to(torch.float32)


def _middles(out: torch.Tensor, scale: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Where the middles of the result's pixels lie in the image, not beyond the middles of its outermost ones."""
    return torch.minimum(((out + 0.5) * scale - 0.5).clamp_min(0), count - 1)


def _grown(
    grey: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, height: torch.Tensor, width: torch.Tensor,
    size: tuple[int, int],
) -> torch.Tensor:  # fmt: skip
    """Interpolate both axes in whole numbers, (H, W) float32, 0 beyond the content."""
    x, right, in_width = _neighbours(columns, width, size[0])
    y, below, in_height = _neighbours(rows, height, size[1])
    x1, y1 = torch.minimum(x + 1, columns.long() - 1), torch.minimum(y + 1, rows.long() - 1)

    def line(place: torch.Tensor) -> torch.Tensor:
        chosen = grey[place]
        return (chosen[:, x].double() * (_FIXED - right) + chosen[:, x1].double() * right).div(16).floor()

    upper, lower = ((line(place) * weight).div(2**16).floor() for place, weight in
                    ((y, (_FIXED - below)[:, None]), (y1, below[:, None])))  # fmt: skip
    found = ((upper + lower + 2) / 4).floor()
    return (found * in_height[:, None] * in_width).to(torch.float32)


def _neighbours(
    count: torch.Tensor, content: torch.Tensor, side: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each pixel of an axis: its left neighbour (side,) int64, the right one's weight, and 1 within the content."""
    out = torch.arange(side, dtype=torch.float64, device=count.device)
    middle = _middles(out, count / content, count)
    left = middle.floor()
    return left.long(), ((middle - left).to(torch.float32).to(torch.float64) * _FIXED).round(), (out < content).double()

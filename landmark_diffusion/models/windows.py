"""Windows cut out of an image around points, at any pixel size, without aliasing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F


def image_pyramid(image: torch.Tensor, levels: int) -> list[torch.Tensor]:
    """Halve images (B, C, H, W) by averaging 2x2 pixels: ``levels`` of them, the first the image itself, float32.

    Height and width are padded with zeros, right and bottom, to multiples of 2^(levels - 1), so that pixel (x, y) of
    level l always has its centre at ((x + 0.5) 2^l - 0.5, ...) of the image.
    """
    multiple = 2 ** (levels - 1)
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    pyramid = [F.pad(image.float(), (0, right, 0, bottom))]
    for _ in range(levels - 1):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid


def cut_windows(
    pyramid: list[torch.Tensor], centres: torch.Tensor, pixel_size: torch.Tensor, size: int
) -> torch.Tensor:
    """Cut windows of ``size`` x ``size`` pixels around centres (B, N, 2), in pixels of the pyramid's first level.

    ``pixel_size`` (B,) is the side of a window's pixel in those pixels. A window between two levels is the blend of
    both by the logarithm of its pixel size (trilinear filtering); outside the image it is 0. Returns (B, N, C, size,
    size): pixel (i, j) lies at centre + (i - (size - 1) / 2, j - (size - 1) / 2) pixel_size.
    """
    with torch.autocast(centres.device.type, enabled=False):
        grid = _grid(pyramid[0], centres.float(), pixel_size.float(), size)
        level = pixel_size.float().clamp_min(1).log2().clamp_max(len(pyramid) - 1)
        windows = grid.new_zeros(len(centres), pyramid[0].shape[1], centres.shape[1] * size, size)
        for number, image in enumerate(pyramid):
            weight = (1 - (level - number).abs()).clamp_min(0)[:, None, None, None]
            if weight.all():  # all windows take part of this level, as in sampling, where they share one pixel size
                windows = windows + weight * F.grid_sample(image, grid, align_corners=False)
            elif weight.any():
                chosen = weight.flatten().nonzero()[:, 0]
                windows[chosen] += weight[chosen] * F.grid_sample(image[chosen], grid[chosen], align_corners=False)
        cut: torch.Tensor = windows.unflatten(2, (-1, size)).transpose(1, 2)
        return cut


def cut_windows_of(
    levels: Sequence[torch.Tensor], centres: torch.Tensor, pixel_size: torch.Tensor, size: int
) -> torch.Tensor:
    """``cut_windows`` from the first levels of a pyramid, which have to be enough, without a look at values."""
    grid = _grid(levels[0], centres.float(), pixel_size.float(), size)
    level = pixel_size.float().clamp_min(1).log2().clamp_max(len(levels) - 1)
    weights = [(1 - (level - number).abs()).clamp_min(0)[:, None, None, None] for number in range(len(levels))]
    parts = [w * F.grid_sample(each, grid, align_corners=False) for w, each in zip(weights, levels, strict=True)]
    cut: torch.Tensor = sum(parts[1:], parts[0]).unflatten(2, (-1, size)).transpose(1, 2)
    return cut


def levels_of(pixel_size: float, levels: int) -> int:
    """How many levels of a pyramid of ``levels`` windows take of whose pixels are at most so wide."""
    return min(levels, 1 + math.ceil(math.log2(max(pixel_size, 1.0))))


def _grid(image: torch.Tensor, centres: torch.Tensor, pixel_size: torch.Tensor, size: int) -> torch.Tensor:
    """Places of all windows' pixels as grid_sample wants them: (B, N size, size, 2) in [-1, 1] over the image."""
    steps = torch.arange(size, device=centres.device, dtype=torch.float32) - (size - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    places = centres[:, :, None, None] + offsets * pixel_size[:, None, None, None, None]
    sides = centres.new_tensor([image.shape[-1], image.shape[-2]])
    return ((2 * places + 1) / sides - 1).flatten(1, 2)


def draw_windows(
    windows: torch.Tensor, centres: torch.Tensor, pixel_size: float, size: tuple[int, int]
) -> torch.Tensor:
    """Put windows (B, N, P, P) around centres (B, N, 2) back into maps (B, N, H, W), ``size`` is (H, W).

    Each window's pixel, ``pixel_size`` map pixels wide, gives its value to the four map pixels around it by distance,
    so that mass and centroid are kept; what falls outside the map is lost.
    """
    height, width = size
    maps = windows.new_zeros(*windows.shape[:2], height * width)
    steps = (torch.arange(windows.shape[-1], device=windows.device) - (windows.shape[-1] - 1) / 2) * pixel_size
    x = (centres[..., 0, None] + steps)[..., None, :].expand_as(windows)
    y = (centres[..., 1, None] + steps)[..., :, None].expand_as(windows)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = x.floor() + dx, y.floor() + dy
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * windows
            weight = weight * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            maps.scatter_add_(-1, place.flatten(-2).long(), weight.flatten(-2))
    return maps.view(*windows.shape[:2], height, width)

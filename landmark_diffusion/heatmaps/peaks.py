"""The highest places of maps, each with the mass around it: candidates for where a landmark is."""

from __future__ import annotations

import torch
from torch.nn import functional as F

REACH = 2
"""Pixels around a peak, in each direction, that its centroid and mass are of."""
APART = 3
"""Pixels around a peak, in each direction, in which nothing is higher."""
LEAST = 1e-12
"""The smallest mass that a peak is given: an empty place is a possible one, if hardly so."""


def find_peaks(maps: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` highest local maxima of maps (B, N, H, W), the highest first.

    Returns their centroids (B, N, K, 2) in pixels and masses (B, N, K), float64, both of the (2 REACH + 1)^2 pixels
    around the maximum. K is ``count``, or the number of blocks of (APART + 1)^2 pixels if that is less; a map with
    fewer maxima fills up with other pixels, of the mass LEAST.
    """
    width = maps.shape[-1]
    values = maps.detach().float()
    highest = _highest_around(_highest_around(values, -1), -2)
    peaks = torch.where(values == highest, values, values.new_tensor(-1.0))
    # two maxima are at least APART + 1 pixels apart: one block holds one of them
    blocks, pixels = F.max_pool2d(peaks, APART + 1, ceil_mode=True, return_indices=True)
    found, block = blocks.flatten(-2).topk(min(count, blocks.shape[-2] * blocks.shape[-1]), -1)
    flat = pixels.flatten(-2).gather(-1, block)
    row, column = torch.div(flat, width, rounding_mode="floor"), flat % width
    steps = torch.arange(2 * REACH + 1, device=maps.device)
    padded = F.pad(values, (REACH,) * 4)
    places = (row[..., None, None] + steps[:, None]) * (width + 2 * REACH) + column[..., None, None] + steps
    seen = padded.flatten(-2).gather(-1, places.flatten(-3)).view(places.shape).double()
    mass = seen.sum((-2, -1)) * (found >= 0)
    offsets = (steps - REACH).double()
    moved = torch.stack(((seen.sum(-2) * offsets).sum(-1), (seen.sum(-1) * offsets).sum(-1)), -1)
    centres = torch.stack((column, row), -1) + moved / mass.clamp_min(LEAST)[..., None] * (mass > 0)[..., None]
    return centres, mass.clamp_min(LEAST)


def _highest_around(values: torch.Tensor, dim: int) -> torch.Tensor:
    """The maximum of the 2 APART + 1 values around each along ``dim``; many times as fast as torch's max_pool2d."""
    length = values.shape[dim]
    padded = F.pad(values, (APART, APART) if dim == -1 else (0, 0, APART, APART), value=-torch.inf)
    found = padded.narrow(dim, 0, length)
    for step in range(1, 2 * APART + 1):
        found = torch.maximum(found, padded.narrow(dim, step, length))
    return found

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
    around the maximum. K is ``count``, or H W if that is less; a map with fewer maxima fills up with other pixels, of
    the mass LEAST.
    """
    height, width = maps.shape[-2:]
    values = maps.detach().float()
    highest = F.max_pool2d(values, (2 * APART + 1, 1), stride=1, padding=(APART, 0))
    highest = F.max_pool2d(highest, (1, 2 * APART + 1), stride=1, padding=(0, APART))
    peaks = torch.where(values == highest, values, values.new_tensor(-1.0))
    found, flat = peaks.flatten(-2).topk(min(count, height * width), -1)
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

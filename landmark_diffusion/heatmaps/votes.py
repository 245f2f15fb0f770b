"""Discs, offsets within them, and points that their pixels vote for."""

from __future__ import annotations

import torch

from landmark_diffusion.heatmaps.blur import gaussian_blur
from landmark_diffusion.heatmaps.losses import full_precision


def pixel_offsets(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """From each pixel of an (H, W) map to points (B, N, 2): (B, N, 2, H, W), x before y, px."""
    height, width = size
    x = torch.arange(width, device=points.device, dtype=points.dtype)
    y = torch.arange(height, device=points.device, dtype=points.dtype)
    dx = points[..., 0, None, None] - x
    dy = points[..., 1, None, None] - y[:, None]
    return torch.stack([dx.expand(*points.shape[:2], height, width), dy.expand(*points.shape[:2], height, width)], 2)


def offset_loss(output: torch.Tensor, offsets: torch.Tensor, disc: torch.Tensor, radius: float) -> torch.Tensor:
    """Mean absolute error of offsets in units of ``radius``, over the pixels of the discs and both axes.

    Args:
        output: (B, N, 2, H, W) of the network.
        offsets: (B, N, 2, H, W), ``pixel_offsets`` to the truth, px.
        disc: (B, N, H, W) bool.
        radius: of the discs, px.
    """
    with torch.autocast(output.device.type, enabled=False):
        error = (full_precision(output) - torch.nan_to_num(offsets) / radius).abs()
        inside = disc[:, :, None].expand_as(error)
        return (error * inside).sum() / inside.sum().clamp_min(1)


def cast_votes(
    disc: torch.Tensor, offsets: torch.Tensor, radius: float, voters: int, spread: float = 1.0
) -> torch.Tensor:
    """Let the best pixels of each disc vote for where its centre is: maps (B, N, H, W) of votes.

    Each votes with its probability for the point that its offsets say, shared by the four pixels around it; the votes
    are blurred by a Gaussian, so that those that nearly agree count together. A vote outside the map is lost.

    Args:
        disc: (B, N, H, W) probabilities of lying in the disc.
        offsets: (B, N, 2, H, W) in units of ``radius``.
        radius: of the discs, px.
        voters: how many pixels of a map vote.
        spread: standard deviation of that Gaussian, px.
    """
    with torch.autocast(disc.device.type, enabled=False):
        disc, offsets = full_precision(disc), full_precision(offsets)
        height, width = disc.shape[-2:]
        weight, chosen = disc.flatten(-2).topk(min(voters, height * width), -1)
        moved = [offsets[:, :, axis].flatten(-2).gather(-1, chosen) * radius for axis in (0, 1)]
        x, y = chosen % width + moved[0], torch.div(chosen, width, rounding_mode="floor") + moved[1]
        votes = torch.zeros_like(disc).flatten(-2)
        left, top = x.floor(), y.floor()
        for right in (0, 1):
            for down in (0, 1):
                share = (x - left if right else left + 1 - x) * (y - top if down else top + 1 - y)
                column, row = left + right, top + down
                known = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
                votes.scatter_add_(-1, place, weight * share * known)
        return gaussian_blur(votes.view_as(disc), spread, 2 * max(1, round(3 * spread)) + 1, border="constant")

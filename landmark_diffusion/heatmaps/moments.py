"""Second moments of maps: how far a map's mass lies from a point."""

from __future__ import annotations

import torch

PIXEL_VARIANCE = 1 / 12
"""Variance in x and in y of what lies anywhere in a pixel, in squared pixels: no map can be surer than that."""


def map_covariance(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Second moment of maps (B, N, H, W) about points (B, N, 2), both in the same pixels: (B, N, 2, 2), float32.

    The maps are non-negative and are divided by their mass, which lies evenly within each pixel. About the map's own
    mean it is the covariance; about another point it is larger by the square of the way there, which is what an error
    of that point is made of. A map without mass gives NaN.
    """
    maps = maps.detach().float()
    height, width = maps.shape[-2:]
    x = torch.arange(width, device=maps.device) - points[..., 0, None].float()
    y = torch.arange(height, device=maps.device) - points[..., 1, None].float()
    columns, rows = maps.sum(-2), maps.sum(-1)
    cross = ((maps * x[..., None, :]).sum(-1) * y).sum(-1)  # no matmul: autocast would round it to bfloat16
    xx, yy = (columns * x.square()).sum(-1), (rows * y.square()).sum(-1)
    moments: torch.Tensor = torch.stack((xx, cross, cross, yy), -1).unflatten(-1, (2, 2))
    return moments / rows.sum(-1)[..., None, None] + PIXEL_VARIANCE * torch.eye(2, device=maps.device)


def samples_covariance(points: torch.Tensor) -> torch.Tensor | None:
    """Covariance (B, N, 2, 2) of the points of K samples (K, B, N, 2); None for one sample."""
    if len(points) < 2:
        return None
    centred = points - points.mean(0)
    return (centred[..., :, None] * centred[..., None, :]).mean(0)

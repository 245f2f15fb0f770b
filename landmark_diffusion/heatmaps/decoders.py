"""Maps to points: every decoder takes non-negative maps (B, N, H, W) and gives (B, N, 2) network pixels (x, y)."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from landmark_diffusion.core.errors import unknown_choice

DecoderKind = Literal["argmax", "top_k", "half_max", "largest_region", "expectation", "local_centroid"]
DECODERS: tuple[str, ...] = get_args(DecoderKind)


def decode(maps: torch.Tensor, kind: DecoderKind = "local_centroid", radius: int = 2, top_k: int = 10) -> torch.Tensor:
    """Decode maps (B, N, H, W) to points (B, N, 2) in network pixels, float32 or better.

    ``argmax``: the hottest pixel (paper A). ``top_k``: value-weighted mean of the ``top_k`` hottest pixels (the
    authors' later code). ``half_max``: weighted centroid of the pixels at or above half the maximum (paper B).
    ``largest_region``: plain centroid of the largest connected region of those pixels (paper B's released code).
    ``expectation``: mean of the whole map. ``local_centroid``: weighted centroid of the (2 radius + 1)^2 window
    around the hottest pixel, cut where the window leaves the map. Raises UserError on an unknown kind.
    """
    maps = maps.detach() if maps.dtype == torch.float64 else maps.detach().float()
    if kind == "argmax":
        return _pixels(maps.flatten(-2).argmax(-1), maps.shape[-1]).to(maps.dtype)
    if kind == "top_k":
        return _top_k(maps, top_k)
    if kind == "half_max":
        return _centroid(maps * (maps >= 0.5 * maps.amax((-2, -1), keepdim=True)))
    if kind == "largest_region":
        return _centroid(_largest_region(maps >= 0.5 * maps.amax((-2, -1), keepdim=True)).to(maps.dtype))
    if kind == "expectation":
        return _centroid(maps)
    if kind == "local_centroid":
        return _local_centroid(maps, radius)
    raise unknown_choice("decoder", kind, DECODERS)


def _pixels(flat: torch.Tensor, width: int) -> torch.Tensor:
    return torch.stack((flat % width, torch.div(flat, width, rounding_mode="floor")), -1)


def _top_k(maps: torch.Tensor, k: int) -> torch.Tensor:
    values, places = maps.flatten(-2).topk(min(k, maps.shape[-2] * maps.shape[-1]), -1)
    weights = values / values.sum(-1, keepdim=True).clamp_min(1e-30)
    return (weights.unsqueeze(-1) * _pixels(places, maps.shape[-1])).sum(-2)


def _centroid(maps: torch.Tensor) -> torch.Tensor:
    height, width = maps.shape[-2:]
    mass = maps.sum((-2, -1)).clamp_min(1e-30)
    x = (maps.sum(-2) * torch.arange(width, device=maps.device, dtype=maps.dtype)).sum(-1) / mass
    y = (maps.sum(-1) * torch.arange(height, device=maps.device, dtype=maps.dtype)).sum(-1) / mass
    return torch.stack((x, y), -1)


def _largest_region(hot: torch.Tensor) -> torch.Tensor:
    """Keep the largest 8-connected region of each channel of (B, N, H, W); of equal ones the first from the top."""
    masks = hot.flatten(0, 1).cpu().numpy().astype(np.uint8)
    kept = np.zeros_like(masks)
    for i, mask in enumerate(masks):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        kept[i] = labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    return torch.from_numpy(kept).view(hot.shape).to(hot.device)


def _local_centroid(maps: torch.Tensor, radius: int) -> torch.Tensor:
    width = maps.shape[-1]
    peak = _pixels(maps.flatten(-2).argmax(-1), width)
    padded = F.pad(maps, (radius,) * 4)
    steps = torch.arange(2 * radius + 1, device=maps.device)
    rows = peak[..., 1, None, None] + steps[:, None]
    columns = peak[..., 0, None, None] + steps[None, :]
    window = padded.flatten(-2).gather(-1, (rows * (width + 2 * radius) + columns).flatten(-2))
    offset = _centroid(window.unflatten(-1, (2 * radius + 1, 2 * radius + 1))) - radius
    # the local maximum is positive unless the whole map is zero: then the window says nothing
    return peak.to(maps.dtype) + offset * (maps.amax((-2, -1)) > 0).unsqueeze(-1)

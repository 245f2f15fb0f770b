"""Points to target maps: one-hot or few-hot pixels, sub-pixel mass, Gaussians, discs.

All take target points (B, A', N, 2) in network pixels, NaN where absent, and give (B, N, H, W) float32 maps in [0, 1].
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from landmark_diffusion.core.errors import unknown_choice

TargetKind = Literal["one_hot", "subpixel", "gaussian", "disc", "disc_rounded"]
TARGETS: tuple[str, ...] = get_args(TargetKind)


def make_target(
    points: torch.Tensor, size: tuple[int, int], kind: TargetKind = "one_hot", sigma: float = 1.0
) -> torch.Tensor:
    """Draw target maps (B, N, H, W) for points (B, A', N, 2) in network pixels; ``size`` is (H, W).

    ``one_hot``: the pixel nearest to each annotator's point is 1 (few-hot with several; paper A section 3).
    ``subpixel``: bilinear mass on the four pixels around each point, so that the map's centroid is the point itself.
    ``gaussian``: exp(-r^2 / 2 sigma^2) with peak 1 at the sub-pixel place, ``sigma`` in network pixels.
    ``disc``: 1 where that Gaussian is above half its peak, r < sqrt(2 ln 2) sigma (paper B section 3: 5.89 px at sigma
    5); a disc too small to hold a pixel's centre takes the nearest pixel. ``disc_rounded``: the same around the point
    rounded to whole pixels, as paper B's released code draws it.
    With several annotators one_hot, gaussian and the discs take the maximum, subpixel the mean. A point outside the
    map, or NaN, draws nothing. Raises UserError on an unknown kind.
    """
    if kind == "one_hot":
        return _one_hot(points, size)
    if kind == "subpixel":
        return _subpixel(points, size)
    if kind == "gaussian":
        return _gaussian(points, size, sigma)
    if kind == "disc":
        return torch.maximum((_gaussian(points, size, sigma) > 0.5).float(), _one_hot(points, size))
    if kind == "disc_rounded":
        return (_gaussian(torch.floor(points + 0.5), size, sigma) > 0.5).float()
    raise unknown_choice("target", kind, TARGETS)


def to_distribution(maps: torch.Tensor) -> torch.Tensor:
    """Scale each channel of (B, N, H, W) to sum 1; an empty channel stays zero."""
    return maps / maps.sum((-2, -1), keepdim=True).clamp_min(1e-12)


def inside(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Whether each point (..., 2) falls on a pixel of an (H, W) map; NaN does not."""
    height, width = size
    x, y = points.unbind(-1)
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def _scatter(maps: torch.Tensor, x: torch.Tensor, y: torch.Tensor, value: torch.Tensor) -> None:
    """Add value (B, N) at integer pixels x, y (B, N) of maps (B, N, H, W), in place; outside the map adds nothing."""
    height, width = maps.shape[-2:]
    valid = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (value > 0)
    flat = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).unsqueeze(-1)
    maps.flatten(-2).scatter_add_(-1, flat, (value * valid).unsqueeze(-1).to(maps.dtype))


def _one_hot(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    maps = torch.zeros(points.shape[0], points.shape[2], *size, device=points.device)
    known = inside(points, size)
    pixels = torch.floor(torch.nan_to_num(points) + 0.5).long()
    for annotator in range(points.shape[1]):
        place, present = pixels[:, annotator], known[:, annotator]
        _scatter(maps, place[..., 0], place[..., 1], present.float())
    return maps.clamp_max_(1.0)


def _subpixel(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    maps = torch.zeros(points.shape[0], points.shape[2], *size, device=points.device)
    height, width = size
    known = inside(points, size)
    limit = points.new_tensor([width - 1, height - 1])
    # a point in the outer half pixel has its mass on the border pixel: there is none beyond to share it with
    place = torch.minimum(torch.nan_to_num(points).clamp_min(0), limit)
    corner = torch.floor(place)
    fraction = place - corner
    for annotator in range(points.shape[1]):
        present = known[:, annotator].float()
        for dx in (0, 1):
            for dy in (0, 1):
                fx, fy = fraction[:, annotator].unbind(-1)
                weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * present
                x, y = corner[:, annotator].long().unbind(-1)
                _scatter(maps, x + dx, y + dy, weight)
    return maps / known.sum(1).clamp_min(1)[..., None, None]


def _gaussian(points: torch.Tensor, size: tuple[int, int], sigma: float) -> torch.Tensor:
    height, width = size
    known = inside(points, size)
    place = torch.nan_to_num(points)
    xs = torch.arange(width, device=points.device, dtype=points.dtype)
    ys = torch.arange(height, device=points.device, dtype=points.dtype)
    gx = torch.exp(-((xs - place[..., :1]) ** 2) / (2 * sigma**2))
    gy = torch.exp(-((ys - place[..., 1:]) ** 2) / (2 * sigma**2))
    maps = gy.unsqueeze(-1) * gx.unsqueeze(-2) * known[..., None, None]
    return maps.amax(1).float()

"""Tiny PositionDiffusionModules and batches for its tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from landmark_diffusion import PositionDiffusionModule
from tests.options import nested

N, H, W = 3, 80, 64  # 64 wide: the options' pixels, meant for 640, are ten times as many as the network's
COARSE: dict[str, Any] = {
    "network.encoder_channels": (8, 16), "network.decoder_channels": (16, 8), "network.blocks_per_level": 1,
    "network.attention_factors": (),
}  # fmt: skip
TINY: dict[str, Any] = {
    **COARSE, "window_network.encoder_channels": (8,), "window_network.decoder_channels": (8,), "windows.size": 16,
    "noise.sigma_min": 8.0, "noise.sigma_max": 100.0, "noise.steps": 50,
    "sampling.start_sigma": 40.0, "sampling.end_sigma": 10.0, "sampling.steps": 5,
}  # fmt: skip


def fresh(options: Mapping[str, Any] | None = None, n: int = N) -> PositionDiffusionModule:
    """A new module, with dotted ``options``: its window network gives zero evidence."""
    torch.manual_seed(0)
    return PositionDiffusionModule(n, **nested({**TINY, **(options or {})})).eval()


def module(options: Mapping[str, Any] | None = None, n: int = N) -> PositionDiffusionModule:
    """A module whose zero-initialised parts are drawn at random, so that every branch acts."""
    made = fresh(options, n)
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return made


def batch(indices: tuple[int, ...] = (0, 1), annotators: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    chosen = list(indices)
    points = torch.from_numpy(rng.uniform((8, 8), (W - 8, H - 8), (4, N, 2))).float()
    target_points = points[:, None] + torch.from_numpy(rng.normal(0, 0.5, (4, annotators, N, 2))).float()
    return {
        "image": torch.from_numpy(rng.random((4, 1, H, W))).float()[chosen],
        "points": points[chosen],
        "target_points": target_points[chosen],
        "index": torch.tensor(chosen),
    }


LARGE = (96, 128)  # height and width: the options' pixels are five times the network's


class ReadsTheImage(nn.Module):
    """A window network whose evidence is the window itself: it has found what lies at a bright spot."""

    def forward(self, patches: torch.Tensor, t: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        return 40 * patches[:, :16]


class GuessesWrong(nn.Module):
    """A first network that is a pixel of its own off."""

    def __init__(self, places: torch.Tensor) -> None:
        super().__init__()
        self.places = places.long()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        logits = torch.zeros(*self.places.shape[:2], height * width)
        flat = self.places[..., 1] * width + self.places[..., 0]
        return logits.scatter(-1, flat[..., None], 30.0).unflatten(-1, (height, width))


def spots(points: torch.Tensor, size: tuple[int, int] = LARGE) -> torch.Tensor:
    """Images (B,1,H,W) with a bright spot of 1.5 px at each point (B,N,2)."""
    grid = torch.stack(torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="xy"), -1)
    squares = (grid - points[:, :, None, None]).square().sum(-1)
    return torch.exp(-squares / (2 * 1.5**2)).amax(1, keepdim=True)


def knowing(points: torch.Tensor, options: Mapping[str, Any] | None = None) -> PositionDiffusionModule:
    """A module whose first network is off by a pixel of its own, each image another way; its second sees the spots."""
    known = {
        "noise.sigma_min": 3.0, "noise.sigma_max": 50.0, "windows.size": 32, "sampling.start_sigma": 25.0,
        "sampling.end_sigma": 4.0, "sampling.prior_weight": 0.0,
    }  # fmt: skip
    made = fresh({**known, **(options or {})})
    made.window_network = ReadsTheImage()
    sides = torch.tensor([[1, -1], [-1, 1], [1, 1], [-1, -1]]).repeat(len(points) // 4 + 1, 1)[: len(points), None]
    made.network = GuessesWrong(((points + 0.5) / 4 - 0.5).round() + sides)
    return made

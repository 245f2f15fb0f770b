"""A method: one convolution network that gives a map a landmark."""

from __future__ import annotations

from inspect import currentframe
from typing import Any

import torch
from torch import nn

from landmark_diffusion import LandmarkModule
from landmark_diffusion.heatmaps.losses import spatial_nll, spatial_softmax
from landmark_diffusion.heatmaps.targets import make_target


class MyMethod(LandmarkModule):
    """Learn where each landmark is by the likelihood of its pixel.

    Args:
        num_landmarks: N; the data decides it.
        channels: of the network.
        kwargs: decoding and optimisation, the options of Finder and Method.
    """

    main_variant = "maps"

    def __init__(self, num_landmarks: int, channels: int = 8, **kwargs: Any) -> None:
        super().__init__(num_landmarks, **kwargs)
        self.keep_options(currentframe())  # so that checkpoints and model files have them
        self.network = nn.Sequential(
            nn.Conv2d(1, channels, 7, padding=3), nn.ReLU(), nn.Conv2d(channels, num_landmarks, 7, padding=3)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, H, W) in [0, 1] to logits (B, N, H, W)."""
        return self.network(image)

    def variants(self, in_fit: bool = False) -> tuple[str, ...]:
        return (self.main_variant,)

    def predict_maps(self, batch: dict[str, Any], in_fit: bool = False) -> dict[str, torch.Tensor]:
        return {self.main_variant: spatial_softmax(self(batch["image"]))}

    def losses(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        logits = self(batch["image"])
        return {"loss": spatial_nll(logits, make_target(batch["target_points"], logits.shape[-2:], "subpixel"))}

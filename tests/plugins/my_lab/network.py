"""A network: two convolutions, with the step t of a diffusion as a bias between them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn


class MyNetwork(nn.Module):
    """Map images (B, in_channels, H, W) to maps (B, out_channels, H, W).

    Args:
        in_channels, out_channels, time_embedding: the method decides them.
        channels: between the two convolutions.
        dropout: of these.
        extra: whatever else is to be kept with the network.
    """

    head, stem = "last", "first"  # what model.pretrained and keep_head ask for

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        time_embedding: bool = False,
        channels: int = 8,
        dropout: float = 0.25,
        extra: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 7, padding=3)
        self.time = nn.Linear(1, channels) if time_embedding else None
        self.extra = extra
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Conv2d(channels, out_channels, 7, padding=3)

    def forward(self, x: torch.Tensor, t: torch.Tensor | None = None) -> torch.Tensor:
        h = self.first(x)
        if self.time is not None and t is not None:
            h = h + self.time(t[:, None].to(h.dtype))[..., None, None]
        return self.last(self.dropout(torch.relu(h))).float()

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """What model.encoder_rate concerns."""
        return self.first.parameters()

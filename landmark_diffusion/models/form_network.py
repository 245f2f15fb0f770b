"""FormNetwork: which of the sixteen forms a radiograph is in, with the same certainty whichever it is."""

from __future__ import annotations

import torch
from torch import nn

from landmark_diffusion.data.forms import FORMS, Form
from landmark_diffusion.models.blocks import group_norm


class FormNetwork(nn.Module):
    """Tell the form of small square radiographs: one score of "upright and positive", of each form undone.

    The image is put right in all sixteen ways, and one small network says of each how upright it looks. So the answer
    turns with the image exactly: what is right for one form of an image is right for all of them, and nothing has to be
    learned sixteen times.

    Args:
        side: S, pixels of the image's side.
        channels: of the first convolution; each of the four halves the image and doubles them.
        hidden: of the layer behind them.
    """

    def __init__(self, side: int = 64, channels: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = []
        before, width = 1, channels
        for _ in range(4):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), group_norm(width, 4), nn.ReLU()]
            before, width = width, 2 * width
        positions = (side // 16) ** 2
        self.score = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(before * positions, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score images (B, 1, S, S), grey values symmetric about 0: logits (B, 16) in the order of ``FORMS``."""
        looks = torch.stack([undone(images, form) for form in FORMS], 1)
        logits: torch.Tensor = self.score(looks.flatten(0, 1)).unflatten(0, (len(images), len(FORMS))).squeeze(-1)
        return logits


def undone(images: torch.Tensor, form: Form) -> torch.Tensor:
    """Put images (..., S, S) of a form upright; their grey values are symmetric about 0, so that a negative is -1 x."""
    upright = torch.rot90(images, -form.turns, (-2, -1))
    upright = upright.flip(-1) if form.mirrored else upright
    return -upright if form.negative else upright

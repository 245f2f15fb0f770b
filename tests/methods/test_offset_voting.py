"""Discs and offsets: a network without error gives the truth, training moves to it, a model file finds the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from landmark_diffusion import UserError
from landmark_diffusion.finders.offset_voting import Voting
from landmark_diffusion.heatmaps.votes import pixel_offsets
from landmark_diffusion.methods.offset_voting import OffsetVotingModule

POINTS = torch.tensor([[[20.25, 11.5], [30.0, 33.75]]])
TINY: dict[str, Any] = {"class_path": "AFPF", "init_args": {"channels": [4, 4, 4, 4, 4]}}


class Perfect(nn.Module):
    """Gives the discs and offsets of ``POINTS``, whatever it is shown."""

    def __init__(self, in_channels: int, out_channels: int, radius: float = 1.0) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        offsets = pixel_offsets(POINTS.expand(len(x), -1, -1), (x.shape[-2], x.shape[-1]))
        disc = 40.0 * (offsets.square().sum(2) <= self.radius**2) - 20
        return torch.cat([disc, offsets[:, :, 0] / self.radius, offsets[:, :, 1] / self.radius], 1)


def batch(images: int = 2) -> dict[str, Any]:
    points = POINTS.expand(images, -1, -1)
    return {"image": torch.rand(images, 1, 40, 64), "target_points": points[:, None], "points": points}


def test_without_error_the_truth_is_found_and_the_loss_is_nothing() -> None:
    radius = 60 * 64 / 640
    network = {"class_path": f"{__name__}.Perfect", "init_args": {"radius": radius}}
    module = OffsetVotingModule(2, network=network, voting=Voting(radius=60))
    found = module.find(batch())["votes"].points
    assert torch.allclose(found, POINTS.expand(2, -1, -1), atol=0.02)
    losses = module.losses(batch())
    assert float(losses["disc"]) < 1e-6 and float(losses["offset"]) < 1e-6


def test_training_moves_to_the_truth() -> None:
    torch.manual_seed(0)
    module = OffsetVotingModule(2, network=TINY, voting=Voting(radius=60))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    image = batch()
    losses = []
    for _ in range(30):
        found = module.losses(image)["loss"]
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
        losses.append(float(found.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_a_missing_landmark_costs_nothing() -> None:
    module = OffsetVotingModule(2, network=TINY, voting=Voting(radius=60))
    missing = batch()
    missing["target_points"] = torch.full_like(missing["target_points"], float("nan"))
    assert float(module.losses(missing)["loss"].detach()) == 0


@pytest.mark.parametrize("name", ["radius", "voters", "spread", "disc_weight"])
def test_what_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"model\.voting\.{name}: found 0, expected a number above 0"):
        OffsetVotingModule(2, network=TINY, voting={name: 0})


def test_a_model_file_finds_the_same(tmp_path: Path) -> None:
    from landmark_diffusion.detection.model import build_module

    torch.manual_seed(0)
    module = OffsetVotingModule(2, network=TINY).eval()
    options = {name: value for name, value in module.hparams.items() if not name.startswith("_")}
    again = build_module("OffsetVotingModule", options, tmp_path / "x.ldx")
    again.load_state_dict(module.state_dict())
    image = batch()
    with torch.no_grad():
        assert torch.equal(again.eval().find(image)["votes"].points, module.find(image)["votes"].points)

"""The joint first guess within PositionDiffusion: which peak is taken, landmarks outside, what training teaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.finders.joint_guess import Joint
from tests.methods.tiny_positions import batch, fresh

SIZE = (160, 128)  # height and width; the first network's image is 40 x 32
N = 5
MEAN = torch.tensor([[40.0, 40.0], [80.0, 50.0], [60.0, 90.0], [30.0, 110.0], [90.0, 120.0]])


class Says(nn.Module):
    """A first network that gives what it was told."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(image), -1, -1, -1)


def peaks(*places: tuple[int, float, float, float], background: float = -9.0) -> torch.Tensor:
    """Logits (1, N, 40, 32) of spots (landmark, x, y, height) with x and y in network pixels."""
    logits = torch.full((1, N, SIZE[0] // 4, SIZE[1] // 4), background)
    grid = torch.stack(torch.meshgrid(torch.arange(32), torch.arange(40), indexing="xy"), -1) * 4 + 1.5
    for landmark, x, y, height in places:
        away = (grid - torch.tensor([x, y])).square().sum(-1) / (2 * 4.0**2)
        logits[0, landmark] = torch.maximum(logits[0, landmark], height - away)
    return logits


def knowing_shape(logits: torch.Tensor, options: dict[str, Any] | None = None) -> Any:
    made = fresh({"sampling.steps": 1, **(options or {})}, n=N)
    rng = np.random.default_rng(0)
    people = MEAN.numpy() + rng.normal(0, 4, (30, 1, 2)) + rng.normal(0, 1.0, (30, N, 2))
    made.joint.fit(made.shape_prior, torch.from_numpy(people), SIZE[1])
    made.network = Says(logits)
    return made


def look(made: Any) -> Any:
    return made.find({"image": torch.zeros(1, 1, *SIZE), "index": torch.tensor([0])})["single-step"]


def test_the_peak_that_fits_the_others_is_taken_and_not_the_highest():
    places = [(n, *MEAN[n].tolist(), 3.0) for n in range(N)]
    logits = peaks(*places, (2, 100.0, 20.0, 4.0))
    joint, alone = look(knowing_shape(logits)), look(knowing_shape(logits, {"joint.enabled": False}))
    assert torch.linalg.norm(alone.points[0, 2] - torch.tensor([100.0, 20.0])) < 2
    assert torch.linalg.norm(joint.points[0] - MEAN, dim=-1).max() < 2
    assert alone.missed is None and joint.missed.max() < 0.5
    assert joint.outside.max() < 0.01


def test_a_landmark_without_a_peak_that_fits_is_where_the_others_say_and_called_missed():
    moved = MEAN + torch.tensor([12.0, -8.0])
    places = [(n, *moved[n].tolist(), 3.0) for n in range(N) if n != 1]
    found = look(knowing_shape(peaks(*places, (1, 20.0, 140.0, 4.0))))
    assert torch.linalg.norm(found.points[0, 1] - moved[1]) < 8
    assert found.missed[0, 1] > 0.9 and found.missed[0, [0, 2, 3, 4]].max() < 0.2
    areas = found.within[0].det()
    assert areas[1] > 3 * areas[[0, 2, 3, 4]].max()


def test_a_landmark_beyond_the_image_is_given_there():
    moved = MEAN + torch.tensor([0.0, 60.0])  # the last two lie below the image's lower side, at 160
    places = [(n, *moved[n].tolist(), 3.0) for n in range(3)]
    options = {"joint.scale": 0.03, "joint.stretch": 0.03, "joint.shift": 0.3}
    found = look(knowing_shape(peaks(*places, background=-12.0), options))
    assert found.outside[0, 3:].min() > 0.9 and found.outside[0, :3].max() < 0.05
    assert torch.linalg.norm(found.points[0, 3:] - moved[3:], dim=-1).max() < 10


def test_a_network_that_was_taught_about_the_outside_is_heard():
    """By the shape alone both places of the fourth landmark are likely; the network's own word decides."""
    moved = MEAN + torch.tensor([0.0, 48.0])
    places = [(n, *moved[n].tolist(), 3.0) for n in (0, 1, 2, 4)]
    sure_of_absence = peaks(*places, background=-12.0)
    found = {outside: look(knowing_shape(sure_of_absence, {"outside": outside})) for outside in (False, True)}
    seen = look(knowing_shape(peaks(*places, (3, *moved[3].tolist(), 3.0), background=-12.0), {"outside": True}))
    assert found[True].outside[0, 3] > 0.9
    assert found[True].outside[0, 3] > found[False].outside[0, 3]
    assert seen.outside[0, 3] < 0.05


def test_the_chain_starts_at_the_joint_guess_and_keeps_its_doubts():
    places = [(n, *MEAN[n].tolist(), 3.0) for n in range(N)]
    made = knowing_shape(peaks(*places, (2, 100.0, 20.0, 4.0)), {"sampling.steps": 4})
    found = made.find({"image": torch.zeros(1, 1, *SIZE), "index": torch.tensor([0])})
    assert torch.linalg.norm(found["multi-step"].points[0, 2] - MEAN[2]) < 6
    assert torch.equal(found["multi-step"].missed, found["single-step"].missed)


def test_a_prior_that_is_unset_changes_nothing():
    logits = peaks(*[(n, *MEAN[n].tolist(), 3.0) for n in range(N)])
    made = fresh({"sampling.steps": 1}, n=N)
    made.network = Says(logits)
    without = fresh({"sampling.steps": 1, "joint.enabled": False}, n=N)
    without.network = Says(logits)
    assert torch.equal(look(made).points, look(without).points)
    assert look(made).outside is None


@pytest.mark.parametrize("teaches", [False, True])
def test_only_a_method_that_teaches_it_learns_from_a_landmark_outside(teaches):
    made, sample = fresh({"outside": teaches}), batch()
    sample["visible"] = torch.ones(2, 3, dtype=torch.bool)
    sample["points"][:, 1] = torch.tensor([-30.0, 20.0])
    sample["target_points"][:, :, 1] = torch.tensor([-30.0, 20.0])
    sample["visible"][:, 1] = False
    sample["points"][:, 2] = sample["target_points"][:, :, 2] = torch.nan
    sample["visible"][:, 2] = False
    made.losses(sample)["nll"].backward()
    head = made.network.conv_out.weight.grad
    assert [bool(head[n].any()) for n in range(3)] == [True, teaches, False]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"peaks": 0}, "model.joint.peaks"),
        ({"missed": 0.0}, "model.joint.missed: found 0"),
        ({"missed": 1.0}, "model.joint.missed: found 1"),
        ({"rotation": -1.0}, "model.joint.rotation: found -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, expected):
    with pytest.raises(UserError, match=expected):
        Joint(**options)

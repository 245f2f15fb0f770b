"""Votes meet where exact offsets point, wrong ones are outvoted, and the offsets' loss counts the discs alone."""

from __future__ import annotations

import pytest
import torch

from landmark_diffusion.heatmaps.decoders import decode
from landmark_diffusion.heatmaps.votes import cast_votes, offset_loss, pixel_offsets

SIZE, RADIUS = (40, 50), 6.0
POINTS = torch.tensor([[[20.25, 11.5], [30.0, 33.75]], [[8.5, 8.125], [41.75, 20.0]]], dtype=torch.double)


def exact() -> tuple[torch.Tensor, torch.Tensor]:
    """Discs and offsets as a network without error gives them."""
    offsets = pixel_offsets(POINTS, SIZE)
    return (offsets.square().sum(2) <= RADIUS**2).double(), offsets / RADIUS


def test_offsets_lead_from_a_pixel_to_the_point() -> None:
    offsets = pixel_offsets(POINTS, SIZE)
    assert offsets.shape == (2, 2, 2, *SIZE)
    assert offsets[1, 0, :, 3, 7].tolist() == [1.5, 5.125]  # the pixel in row 3, column 7


@pytest.mark.parametrize("voters", [1, 30, 80])
def test_exact_offsets_meet_in_the_point(voters: int) -> None:
    votes = cast_votes(*exact(), RADIUS, voters, spread=1.0)
    assert torch.allclose(votes.sum((-2, -1)), torch.tensor(float(voters), dtype=torch.double))
    assert torch.allclose(decode(votes, "local_centroid", 4), POINTS, atol=2e-3)


def test_a_far_disc_of_lower_probability_is_outvoted() -> None:
    disc, offsets = exact()
    far = pixel_offsets(POINTS.flip(1), SIZE)
    disc = torch.maximum(disc, 0.9 * (far.square().sum(2) <= RADIUS**2))
    assert torch.allclose(decode(cast_votes(disc, offsets, RADIUS, 60), "local_centroid", 4), POINTS, atol=0.05)


def test_votes_outside_the_map_are_lost_and_nothing_else() -> None:
    disc = torch.zeros(1, 1, 8, 8, dtype=torch.double)
    disc[0, 0, 0, 0], disc[0, 0, 4, 4] = 1, 0.5
    offsets = torch.zeros(1, 1, 2, 8, 8, dtype=torch.double)
    offsets[0, 0, 0, 0, 0] = -3  # to x = -3
    votes = cast_votes(disc, offsets, 1.0, 2, spread=0.01)
    assert float(votes.sum()) == pytest.approx(0.5) and float(votes[0, 0, 4, 4]) == pytest.approx(0.5)


def test_the_offsets_loss_counts_the_discs_alone() -> None:
    disc, offsets = exact()
    wanted = pixel_offsets(POINTS, SIZE)
    inside = disc.bool()
    wrong_outside = torch.where(inside[:, :, None], offsets, offsets + 5)
    assert float(offset_loss(wrong_outside, wanted, inside, RADIUS)) == pytest.approx(0, abs=1e-12)
    assert float(offset_loss(offsets + 0.25, wanted, inside, RADIUS)) == pytest.approx(0.25)
    missing = pixel_offsets(torch.full_like(POINTS, float("nan")), SIZE)
    none = missing.square().sum(2) <= RADIUS**2
    assert not none.any() and float(offset_loss(offsets, missing, none, RADIUS)) == 0

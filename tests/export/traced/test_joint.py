"""Expectation propagation in a graph gives what heatmaps/joint.py gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landmark_diffusion.export.traced import joint
from landmark_diffusion.finders.joint_guess import Joint, guess_jointly
from landmark_diffusion.heatmaps.shape_prior import ShapePrior


def _prior(count: int, rng: np.random.Generator) -> ShapePrior:
    prior = ShapePrior(count)
    points = rng.uniform(60, 580, (1, count, 2)) + rng.normal(0, 15, (30, count, 2))
    Joint().fit(prior, torch.from_numpy(points), 640)
    return prior


@pytest.mark.parametrize("count", [1, 3, 19])
@pytest.mark.parametrize("outside", [False, True])
def test_maps_and_places_are_those_of_the_package(count: int, outside: bool) -> None:
    rng = np.random.default_rng(count)
    prior = _prior(count, rng)
    logits = torch.from_numpy(rng.normal(0, 2, (2, count, 60, 48))).float()
    logits[:, :, 20, 30] += 9  # a peak that is the same for all: few of them can be right
    maps = logits.flatten(-2).softmax(-1).view_as(logits)
    gone = torch.from_numpy(rng.uniform(0, 0.9, (2, count))).float() if outside else None
    ours = guess_jointly(maps, prior, Joint(), gone)
    theirs = guess_jointly(maps, prior, Joint(), gone, joint.propagate, joint.joint_maps)
    assert torch.allclose(theirs.cavity.mean, ours.cavity.mean, atol=1e-4)
    assert torch.allclose(theirs.cavity.covariance, ours.cavity.covariance, rtol=1e-4)
    assert torch.allclose(theirs.maps.log_maps, ours.maps.log_maps, atol=1e-3)
    for name in ("outside", "missed"):
        assert torch.allclose(getattr(theirs.maps, name).double(), getattr(ours.maps, name).double(), atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 38])
def test_the_inverse_is_numpys(size: int) -> None:
    rng = np.random.default_rng(size)
    root = rng.normal(size=(2, size, size))
    matrices = root @ root.swapaxes(1, 2) + 1e-3 * np.eye(size)  # a prior's condition is about a million
    found = joint.inverse(torch.from_numpy(matrices)).numpy()
    assert np.allclose(found, np.linalg.inv(matrices), rtol=1e-8, atol=1e-9)

"""A model file gets what tells orientations, and nothing else of it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.export.orientation import with_orientation
from landmark_diffusion.finders.orientation import FORM_WEIGHTS, learn_forms
from landmark_diffusion.modelfile.model_file import read_model_file
from tests.detection.tiny_model import picture, write_positions

IMAGES = [picture(seed) for seed in range(2)]


def test_the_rest_of_the_file_stays_as_it_is(tmp_path: Path) -> None:
    model = write_positions(tmp_path / "before.ldx")
    made = with_orientation(model, iter(IMAGES), tmp_path / "after.ldx", steps=2)
    before, after = read_model_file(model), read_model_file(made)
    added = {name: value for name, value in after.weights.items() if name.startswith(FORM_WEIGHTS)}
    wanted = learn_forms(IMAGES, 2).state_dict()
    assert {name.removeprefix(FORM_WEIGHTS) for name in added} == wanted.keys()
    assert all(torch.equal(value, wanted[name.removeprefix(FORM_WEIGHTS)]) for name, value in added.items())
    assert after.weights.keys() - added.keys() == before.weights.keys()
    assert all(torch.equal(value, after.weights[name]) for name, value in before.weights.items())
    assert after.facts.model == {**before.facts.model, "orientation": {"learn": True, "steps": 2}}
    plain, found = Detector.load(model), Detector.load(made, orientation="as-is")
    np.testing.assert_array_equal(found(IMAGES[0]).points, plain(IMAGES[0]).points)
    assert Detector.load(made)(IMAGES[0]).orientation != ""


def test_done_again_it_is_replaced(tmp_path: Path) -> None:
    once = with_orientation(write_positions(tmp_path / "a.ldx"), IMAGES, tmp_path / "b.ldx", steps=1)
    twice = with_orientation(once, IMAGES, tmp_path / "c.ldx", steps=2, seed=1)
    first, second = read_model_file(once), read_model_file(twice)
    assert first.weights.keys() == second.weights.keys() and second.facts.model["orientation"]["steps"] == 2


def test_no_image_and_a_file_that_is_there_are_refused(tmp_path: Path) -> None:
    model = write_positions(tmp_path / "a.ldx")
    with pytest.raises(UserError, match="found no image to learn from"):
        with_orientation(model, [], tmp_path / "b.ldx")
    with pytest.raises(UserError, match="exist"):
        with_orientation(model, IMAGES, model)

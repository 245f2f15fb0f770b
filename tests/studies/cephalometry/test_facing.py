"""The side a face looks to: found where the points tell it, asked for where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.studies.cephalometry.facing import find_facing
from tests.studies.cephalometry.faces import in_image, make_face


@pytest.mark.parametrize("facing", ["right", "left"])
def test_a_face_is_seen_from_its_points(facing: str) -> None:
    assert find_facing(in_image(make_face(), facing=facing), LANDMARK_NAMES) == facing


def test_one_pair_is_enough_and_none_is_said() -> None:
    points = in_image(make_face())
    pair = [LANDMARK_NAMES.index(name) for name in ("sella", "nasion")]
    assert find_facing(points[pair], ("sella", "nasion")) == "right"
    incisors = ("lower incisal incision", "upper incisal incision")
    assert find_facing(points[[10, 11]], incisors) is None
    assert find_facing(points[[10, 11]], incisors, "left") == "left"


def test_points_that_contradict_each_other_are_a_question_that_the_option_answers() -> None:
    points = in_image(make_face())
    points[LANDMARK_NAMES.index("orbitale"), 0] = 0.0
    with pytest.raises(UserError, match=r"orbitale lies left of porion.*--facing"):
        find_facing(points, LANDMARK_NAMES)
    assert find_facing(points, LANDMARK_NAMES, "right") == "right"


def test_an_option_against_all_points_is_refused() -> None:
    with pytest.raises(UserError, match=r"--facing left.*nasion lies right of sella"):
        find_facing(in_image(make_face()), LANDMARK_NAMES, "left")


@pytest.mark.parametrize("turn", [1, -1])
def test_a_face_on_its_side_is_refused(turn: int) -> None:
    points = in_image(make_face()) @ np.array([[0, turn], [-turn, 0]])
    with pytest.raises(UserError, match=f"lies on its side: menton lies {'left' if turn == 1 else 'right'} of nasion"):
        find_facing(points, LANDMARK_NAMES)


def test_exchanged_landmarks_are_named_where_they_make_the_side_unclear() -> None:
    points = in_image(make_face())
    places = [LANDMARK_NAMES.index(name) for name in ("anterior nasal spine", "posterior nasal spine")]
    points[places] = points[places[::-1]]
    with pytest.raises(UserError, match="posterior nasal spine and anterior nasal spine are exchanged"):
        find_facing(points, LANDMARK_NAMES)


def test_a_face_upside_down_is_refused_since_its_angles_would_look_right() -> None:
    upside_down = np.array([1935.0, 2400.0]) - in_image(make_face())
    with pytest.raises(UserError, match="stands on its head"):
        find_facing(upside_down, LANDMARK_NAMES)

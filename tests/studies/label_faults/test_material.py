"""Landmarks of model and data are told apart by name: in another order, and where one side has more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.forms import FORMS, UPRIGHT, Form
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.studies.label_faults.material import ORIENTATIONS, own_doubt, shared_landmarks


def test_another_order_and_spelling() -> None:
    found = shared_landmarks(("sella", "nasion", "anterior nasal spine"), ("Anterior_nasal_spine", "sella", "nasion"))
    assert found.model == (0, 1, 2) and found.data == (1, 2, 0) and found.note == ""


@pytest.mark.parametrize("data", [("menton", "sella"), ("menton", "tragus", "sella")])
def test_a_subset_on_either_side(data: tuple[str, ...]) -> None:
    found = shared_landmarks(("sella", "nasion", "menton", "gonion"), data)
    assert [data[place] for place in found.data] == ["sella", "menton"] and found.model == (0, 2)
    assert ("tragus" in found.note) == (len(data) == 3)


def test_numbers_alone_are_taken_by_position() -> None:
    found = shared_landmarks(("sella", "nasion"), ("landmark 1", "landmark 2"))
    assert found.data == (0, 1) and "by position" in found.note


def test_no_name_in_common_is_refused() -> None:
    with pytest.raises(UserError, match=r"no landmark in common.*'sella'.*'thumb tip'"):
        shared_landmarks(("sella", "nasion"), ("thumb tip", "wrist", "elbow"))
    with pytest.raises(UserError, match="no labels to judge"):
        shared_landmarks(("sella",), ())


@pytest.mark.parametrize("form", ORIENTATIONS, ids=lambda form: form.name)
def test_points_follow_pixels(form: Form) -> None:
    image = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    back = form.undo(image)
    assert form.is_turned == (back.shape == (7, 5))
    for x, y in ((0, 0), (6, 0), (2, 3), (5, 4)):
        there = form.undo_points(np.array([[x, y]]), (7, 5)).astype(int)
        assert back[there[0, 1], there[0, 0]] == image[y, x]
        assert form.apply_points(there, (7, 5)).tolist() == [[x, y]]


def test_the_orientations_are_all_forms_that_keep_grey_values() -> None:
    image = np.arange(12).reshape(3, 4)
    assert len({form.undo(image).tobytes() for form in (UPRIGHT, *ORIENTATIONS)}) == 8
    assert set(ORIENTATIONS) == {form for form in FORMS if not form.negative} - {UPRIGHT}


def test_a_doubtful_or_absent_point_is_no_firm_word() -> None:
    firm = Detection("", "", (9, 9), ("a", "b", "c"), np.zeros((3, 2)))
    assert own_doubt(firm).tolist() == [False] * 3
    doubted = replace(firm, outside=np.array([0.1, 0.9, 0.1]), doubtful=np.array([False, False, True]))
    assert own_doubt(doubted).tolist() == [False, True, True]

"""Landmarks of model and data are told apart by name: in another order, and where one side has more."""

from __future__ import annotations

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.label_faults.material import shared_landmarks


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

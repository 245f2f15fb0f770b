"""What no head has is told by name, and no real head is told so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.measures import measure_points
from landmark_diffusion.studies.cephalometry.observers import read_doctors
from landmark_diffusion.studies.cephalometry.plausible import HUMAN, doubts, exchange, out_of_range, size_doubt
from tests.studies.cephalometry.faces import in_image, make_face, turned

MM = (0.1, 0.1)
NAMES = list(LANDMARK_NAMES)


def exchanged(first: str, second: str, facing: str = "right", degrees: float = 0.0) -> np.ndarray:
    face = turned(make_face(), degrees)
    face[first], face[second] = face[second], face[first]
    return in_image(face, facing=facing)


@pytest.mark.parametrize("degrees", [-20, 0, 20])
@pytest.mark.parametrize("facing", ["right", "left"])
def test_a_head_is_plausible_whatever_it_looks_to_and_when_it_nods(facing: str, degrees: float) -> None:
    points = in_image(turned(make_face(), degrees), facing=facing)
    assert doubts(points, LANDMARK_NAMES, facing, MM) == ("", frozenset())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second"),
    [("nasion", "menton"), ("orbitale", "subspinale"), ("porion", "gonion"), ("upper lip", "soft tissue pogonion")],
)
@pytest.mark.parametrize("facing", ["right", "left"])
def test_two_exchanged_landmarks_are_named(first: str, second: str, facing: str) -> None:
    told, concerned = doubts(exchanged(first, second, facing), LANDMARK_NAMES, facing, MM)  # type: ignore[arg-type]
    assert "are exchanged" in told and concerned == {first, second}


def test_a_point_far_off_is_told_by_the_orders_it_breaks() -> None:
    face = make_face()
    face["nasion"] = np.array([60.0, -130.0])
    told, concerned = doubts(in_image(face), LANDMARK_NAMES, "right", MM)
    assert "an order that no face has" in told and "above nasion" in told and "more" in told and "nasion" in concerned


def test_points_that_are_missing_or_of_another_kind_are_no_fault() -> None:
    points = in_image(make_face())
    points[::2] = np.nan
    assert doubts(points, LANDMARK_NAMES, "right", MM)[0] == ""
    assert doubts(np.full((19, 2), np.nan), LANDMARK_NAMES, "right")[0] == ""
    assert doubts(np.zeros((2, 2)), ("wrist", "thumb"), "right")[0] == "" and exchange(np.zeros((1, 2)), ("a",)) == ""


def test_a_size_that_no_face_has_is_told_with_the_spacing() -> None:
    points = in_image(make_face())
    assert size_doubt(points, NAMES, MM) == "" and size_doubt(points, NAMES, None) == ""
    assert "12 mm apart" in size_doubt(points, NAMES, (0.01, 0.01))


def test_every_class_has_values_within_the_range_of_a_head() -> None:
    assert set(HUMAN) == set(SCHEMES)
    for name, (low, high) in HUMAN.items():
        limits = [each.upper for each in SCHEMES[name].classes[:-1]]
        assert low < min(limits) and max(limits) < high
        assert out_of_range(name, np.nextafter(low, -np.inf)) and not out_of_range(name, high)
    assert not out_of_range("ANB", np.nan)


def test_no_doctors_points_are_doubted_and_the_ranges_leave_half_their_span(shared_data: Callable[[str], Path]) -> None:
    _, doctors = read_doctors(shared_data("isbi2015"))
    points = np.concatenate(list(doctors.points.values()))
    for name, values in measure_points(points, doctors.names, "right", doctors.spacing).items():
        half = np.ptp(values) / 2
        assert HUMAN[name][0] <= values.min() - half and values.max() + half <= HUMAN[name][1], name
    told = [doubts(each, doctors.names, "right", doctors.spacing)[0] for each in points[::10]]
    told += [size_doubt(each, list(doctors.names), doctors.spacing) for each in points]
    assert not any(told)

"""The eight measures against faces drawn by hand, and the one case that the challenge's archive settles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES, read_points
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.measures import MEASURES, Measure, measure_points
from tests.studies.cephalometry.faces import direction, in_image, make_face, turned

MM = (0.1, 0.1)


def values(face: dict[str, np.ndarray]) -> dict[str, float]:
    found = measure_points(in_image(face), LANDMARK_NAMES, "right", MM)
    return {name: float(each) for name, each in found.items()}


def test_angles_at_nasion_are_those_the_face_was_drawn_with() -> None:
    found = values(make_face(sna=82.5, snb=78.25))
    assert [found["SNA"], found["SNB"], found["ANB"]] == pytest.approx([82.5, 78.25, 4.25], abs=1e-9)


def test_a_mandible_ahead_of_the_maxilla_makes_anb_negative() -> None:
    assert values(make_face(sna=80.0, snb=84.0))["ANB"] == pytest.approx(-4.0, abs=1e-9)


def test_mandibular_plane_angle_is_the_fall_from_sella_nasion_to_gonion_gnathion() -> None:
    assert values(make_face(mandible=-33.0))["FHA"] == pytest.approx(33.0, abs=1e-9)


def test_facial_height_index_divides_posterior_by_anterior_height() -> None:
    # Sella-gonion 3-4-5: 50 mm; nasion-menton straight down 80 mm.
    face = make_face() | {"gonion": np.array([-30.0, -40.0]), "menton": np.array([70.0, -80.0])}
    assert values(face)["FHI"] == pytest.approx(50 / 80, abs=1e-12)


def test_odi_adds_the_palate_that_falls_forward() -> None:
    """Kim 1974: A-B plane to mandibular plane, plus the palate's fall to Frankfort, minus where it rises."""
    face = make_face(frankfort=0.0, palatal=0.0, mandible=-30.0)
    # A straight above B, the mandibular plane 30 degrees below the horizontal: 60 degrees between them, behind.
    face |= {"subspinale": np.array([62.0, -57.0]), "supramentale": np.array([62.0, -97.0])}
    level = values(face)["ODI"]
    falling = values(face | {"anterior nasal spine": face["posterior nasal spine"] + (50.0, -50 * np.tan(np.pi / 36))})
    rising = values(face | {"anterior nasal spine": face["posterior nasal spine"] + (50.0, 50 * np.tan(np.pi / 36))})
    assert [level, falling["ODI"], rising["ODI"]] == pytest.approx([60.0, 65.0, 55.0], abs=1e-9)


def test_apdi_is_the_sum_of_its_three_angles_with_kims_signs() -> None:
    """Kim and Vietas 1978: facial angle, A-B plane angle (negative where A lies ahead), palatal angle."""
    face = make_face(frankfort=0.0, palatal=0.0, facial=88.0)
    on_plane = {"subspinale": face["pogonion"] + 0.5 * (face["nasion"] - face["pogonion"]),
                "supramentale": face["pogonion"] + 0.1 * (face["nasion"] - face["pogonion"])}  # fmt: skip
    ahead = on_plane["supramentale"] + 40 * np.array([np.cos(np.deg2rad(84)), np.sin(np.deg2rad(84))])
    assert values(face | on_plane)["APDI"] == pytest.approx(88.0, abs=1e-9)
    assert values(face | on_plane | {"subspinale": ahead})["APDI"] == pytest.approx(84.0, abs=1e-9)
    falling = {"anterior nasal spine": face["posterior nasal spine"] + (50.0, -50 * np.tan(np.pi / 36))}
    assert values(face | on_plane | falling)["APDI"] == pytest.approx(93.0, abs=1e-9)


def test_apdi_and_odi_follow_from_the_directions_of_the_lines() -> None:
    """Worked out on paper: APDI is the turn from palatal to A-B plane, ODI that of A-B to mandible less the rest."""
    face = turned(make_face(sna=85, snb=77, frankfort=2.0, palatal=-4.0, mandible=-28.0, facial=86.0), 7.0)
    upwards = direction(face, "supramentale", "subspinale")
    palate = direction(face, "posterior nasal spine", "anterior nasal spine")
    found = values(face)
    assert found["APDI"] == pytest.approx(upwards - palate, abs=1e-9)
    assert found["ODI"] == pytest.approx((180 - 28 + 7 - upwards) + (2 - -4), abs=1e-9)


@pytest.mark.parametrize(
    ("ahead", "expected"), [((3.0, 0.0), 3.0), ((-1.2, 0.0), -1.2), ((3.0, -4.0), 5.0), ((-3.0, 4.0), -5.0)]
)
def test_modified_wits_is_a_distance_with_the_sign_of_the_step_forward(
    ahead: tuple[float, float], expected: float
) -> None:
    assert values(make_face(upper_ahead=ahead))["MW"] == pytest.approx(expected, abs=1e-9)


def test_a_nod_changes_nothing_and_neither_does_the_side_that_the_face_looks_to() -> None:
    face = make_face()
    expected = values(face)
    assert values(turned(face, 20.0)) == pytest.approx(expected, abs=1e-9)
    left = measure_points(in_image(face, facing="left"), LANDMARK_NAMES, "left", MM)
    assert {name: float(each) for name, each in left.items()} == pytest.approx(expected, abs=1e-9)


def test_a_face_taken_for_the_other_side_would_come_out_wrong() -> None:
    wrong = measure_points(in_image(make_face(), facing="left"), LANDMARK_NAMES, "right", MM)
    assert float(wrong["MW"]) == pytest.approx(-3.0)
    assert float(wrong["SNA"]) == pytest.approx(-82.0)


def test_unequal_spacing_is_taken_out_before_anything_is_measured() -> None:
    face = make_face()
    found = measure_points(in_image(face, (0.1, 0.25)), LANDMARK_NAMES, "right", (0.1, 0.25))
    assert {name: float(each) for name, each in found.items()} == pytest.approx(values(face), abs=1e-9)


def test_without_spacing_angles_stay_and_modified_wits_is_in_pixels() -> None:
    found = measure_points(in_image(make_face()), LANDMARK_NAMES)
    assert float(found["SNA"]) == pytest.approx(82.0, abs=1e-9)
    assert float(found["MW"]) == pytest.approx(30.0, abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda each: each.name)
def test_a_measure_needs_the_landmarks_it_names_and_no_other(measure: Measure) -> None:
    points, expected = in_image(make_face()), values(make_face())[measure.name]
    own = [LANDMARK_NAMES.index(name) for name in measure.landmarks]
    found = measure_points(points[own], measure.landmarks, "right", MM)
    assert float(found[measure.name]) == pytest.approx(expected)
    for left_out in own:
        kept = [index for index in range(len(LANDMARK_NAMES)) if index != left_out]
        names = [LANDMARK_NAMES[index] for index in kept]
        assert np.isnan(measure_points(points[kept], names, "right", MM)[measure.name])


def test_a_line_through_one_point_alone_has_no_direction() -> None:
    face = make_face()
    face["nasion"] = face["sella"]
    found = values(face)
    assert np.isnan([found["SNA"], found["SNB"], found["ANB"], found["FHA"]]).all()
    assert np.isfinite(found["ODI"])


def test_image_001_of_the_challenge_has_the_classes_of_its_archive(shared_data: Callable[[str], Path]) -> None:
    """../shared/cephalometry.md: values of the senior, and the class lines that are the same for both doctors."""
    root = shared_data("isbi2015")
    found = {}
    for folder in ("400_senior", "400_junior"):
        points, faults = read_points(root / folder / "001.txt")
        assert not faults
        found[folder] = measure_points(points, LANDMARK_NAMES, "right", MM)
        assert [int(SCHEMES[name].classify(each)) for name, each in found[folder].items()] == [3, 3, 2, 3, 3, 1, 2, 3]
    senior = found["400_senior"]
    printed = {"ANB": (-3.9, 0.05), "SNB": (87.9, 0.05), "SNA": (84.1, 0.051), "FHI": (0.65, 0.005),
               "FHA": (33.2, 0.05), "MW": (-1.2, 0.05)}  # fmt: skip
    for name, (value, half_a_digit) in printed.items():
        assert float(senior[name]) == pytest.approx(value, abs=half_a_digit), name

"""How sure a measure and its class are: sampling against error propagation worked out by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from rich.console import Console

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.studies.cephalometry.analysis import Analysis, MeasureFinding, analyse, draw_points
from landmark_diffusion.studies.cephalometry.measures import MEASURES, measure_points
from landmark_diffusion.studies.cephalometry.tables import counts_grid
from tests.studies.cephalometry.faces import in_image, make_face

MM = (0.1, 0.1)
MEASURE_NAMES = [each.name for each in MEASURES]


def isotropic(sigma: float) -> np.ndarray:
    return np.broadcast_to(np.eye(2) * sigma**2, (len(LANDMARK_NAMES), 2, 2)).copy()


def finding(analysis: Analysis, name: str) -> MeasureFinding:
    return analysis.findings[MEASURE_NAMES.index(name)]


def test_spread_of_snb_is_that_of_the_delta_method_by_hand() -> None:
    """The angle turns with each point by 1/length, across the line; nasion's turns of both lines are a difference."""
    face, sigma = make_face(snb=79.0), 1.0  # mm, 10 px
    to_s, to_b = face["sella"] - face["nasion"], face["supramentale"] - face["nasion"]
    across_s, across_b = (np.array([-v[1], v[0]]) / (v @ v) for v in (to_s, to_b))
    variance = sigma**2 * (across_s @ across_s + across_b @ across_b + (across_b - across_s) @ (across_b - across_s))
    by_hand = np.degrees(np.sqrt(variance))
    found = finding(analyse(in_image(face), LANDMARK_NAMES, MM, isotropic(10.0)), "SNB")
    assert found.spread == pytest.approx(by_hand, rel=0.05)
    assert found.high is not None and found.low is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.645 * by_hand, rel=0.06)


@pytest.mark.parametrize("name", MEASURE_NAMES)
def test_spread_agrees_with_first_order_propagation_for_ellipses_at_any_angle(name: str) -> None:
    points = in_image(make_face(upper_ahead=(6.0, 2.0)))
    rng = np.random.default_rng(1)
    mixing = rng.normal(0, 4.0, (len(points), 2, 2))
    covariance = mixing @ mixing.swapaxes(1, 2)
    step, gradient = 1e-3, np.zeros(points.shape)
    for place in np.ndindex(*points.shape):
        moved = [points.copy(), points.copy()]
        moved[0][place] -= step
        moved[1][place] += step
        low, high = (float(measure_points(each, LANDMARK_NAMES, "right", MM)[name]) for each in moved)
        gradient[place] = (high - low) / (2 * step)
    first_order = np.sqrt(np.einsum("ni,nij,nj->", gradient, covariance, gradient))
    found = finding(analyse(points, LANDMARK_NAMES, MM, covariance), name)
    assert found.spread == pytest.approx(first_order, rel=0.06)  # 2,000 draws know a deviation to 1.6 %


def test_class_probabilities_are_those_of_a_normal_value_between_its_limits() -> None:
    found = finding(analyse(in_image(make_face(snb=78.0)), LANDMARK_NAMES, MM, isotropic(8.0)), "SNB")
    assert found.spread is not None and found.probabilities is not None
    normal = NormalDist(78.0, found.spread)
    expected = {1: normal.cdf(78.7) - normal.cdf(74.6), 2: normal.cdf(74.6), 3: 1 - normal.cdf(78.7)}
    assert found.probabilities == pytest.approx(expected, abs=0.03)
    assert sum(found.probabilities.values()) == pytest.approx(1.0)


def test_a_class_is_uncertain_near_a_limit_and_certain_far_from_it() -> None:
    near = finding(analyse(in_image(make_face(snb=78.6)), LANDMARK_NAMES, MM, isotropic(8.0)), "SNB")
    far = finding(analyse(in_image(make_face(snb=90.0)), LANDMARK_NAMES, MM, isotropic(8.0)), "SNB")
    assert near.uncertain and near.probability is not None and near.probability < 0.8
    assert not far.uncertain and (far.class_number, far.probability) == (3, 1.0)


def test_incisors_above_one_another_are_as_likely_a_crossbite_as_an_overjet() -> None:
    """The distance cannot tell; only the sampling shows it, since a linear spread around 3 mm would say class 1."""
    points = in_image(make_face(upper_ahead=(0.001, 3.0)))
    found = finding(analyse(points, LANDMARK_NAMES, MM, isotropic(2.0)), "MW")
    assert found.value == pytest.approx(3.0, abs=1e-6)
    assert found.probabilities is not None
    assert [found.probabilities[1], found.probabilities[3]] == pytest.approx([0.5, 0.5], abs=0.04)
    assert found.uncertain


def test_the_most_probable_class_is_told_where_the_value_lies_in_another() -> None:
    points = in_image(make_face(snb=78.69))
    covariance = isotropic(0.5)
    covariance[LANDMARK_NAMES.index("nasion")] *= 1e4  # a wide, lopsided spread
    found = [each for each in analyse(points, LANDMARK_NAMES, MM, covariance).findings if each.note]
    assert found, "no class of this face differs from that of its value; choose another face"
    for each in found:
        assert each.probabilities is not None and each.class_number is not None
        assert each.probability == max(each.probabilities.values())
        assert "the value itself lies in class" in each.note


def test_the_same_image_gives_the_same_figures_again() -> None:
    points = in_image(make_face())
    first, second = (analyse(points, LANDMARK_NAMES, MM, isotropic(5.0)).findings for _ in range(2))
    assert first == second


def test_draws_have_the_covariance_they_were_asked_for_and_landmarks_are_independent() -> None:
    covariance = np.array([[[9.0, 4.0], [4.0, 4.0]], [[1.0, 0.0], [0.0, 25.0]]])
    draws = draw_points(np.zeros((2, 2)), covariance, 20_000)
    found = np.cov(draws.reshape(len(draws), 4).T)
    expected = np.zeros((4, 4))
    expected[:2, :2], expected[2:, 2:] = covariance
    assert found == pytest.approx(expected, abs=0.4)


def test_a_lacking_landmark_is_told_by_name_and_the_other_measures_stay() -> None:
    points = in_image(make_face())
    points[LANDMARK_NAMES.index("menton")] = np.nan
    analysis = analyse(points, LANDMARK_NAMES, MM, isotropic(5.0))
    lacking = {each.measure.name for each in analysis.findings if "menton" in each.note}
    assert lacking == {"ODI", "FHI"}
    assert all(np.isnan(each.value) == (each.measure.name in lacking) for each in analysis.findings)
    assert all((each.class_number is None) == (each.measure.name in lacking) for each in analysis.findings)


def test_points_of_another_region_give_eight_reasons_and_no_crash() -> None:
    analysis = analyse(np.ones((2, 2)), ("wrist", "thumb"), MM)
    assert all(each.note.startswith("needs ") and each.class_number is None for each in analysis.findings)
    assert analysis.facing is None


def test_without_spacing_modified_wits_is_in_pixels_and_has_no_class() -> None:
    analysis = analyse(in_image(make_face()), LANDMARK_NAMES, None, isotropic(5.0))
    wits = finding(analysis, "MW")
    assert (wits.unit, wits.class_number) == ("px", None)
    assert wits.value == pytest.approx(30.0)
    assert "spacing" in wits.note and wits.spread is not None
    assert [each.class_number is None for each in analysis.findings] == [False] * 7 + [True]
    assert "square" in analysis.notes[0]


def test_without_a_covariance_there_is_a_class_and_no_word_on_how_sure_it_is() -> None:
    found = finding(analyse(in_image(make_face(snb=90.0)), LANDMARK_NAMES, MM), "SNB")
    assert found.class_number == 3
    assert (found.spread, found.low, found.probability, found.uncertain) == (None, None, None, None)


def test_a_landmark_without_spread_leaves_its_measures_without_interval() -> None:
    covariance = isotropic(5.0)
    covariance[LANDMARK_NAMES.index("supramentale")] = np.nan
    analysis = analyse(in_image(make_face()), LANDMARK_NAMES, MM, covariance)
    assert finding(analysis, "SNB").spread is None and finding(analysis, "SNB").class_number is not None
    assert finding(analysis, "SNA").spread is not None


def test_incisors_alone_need_the_side_that_the_face_looks_to() -> None:
    incisors = ("lower incisal incision", "upper incisal incision")
    points = in_image(make_face())[[10, 11]]
    assert "--facing" in finding(analyse(points, incisors, MM), "MW").note
    assert finding(analyse(points, incisors, MM, facing="left"), "MW").value == pytest.approx(-3.0)


def test_what_is_no_covariance_is_refused() -> None:
    covariance = isotropic(5.0)
    covariance[3] = [[1.0, 5.0], [5.0, 1.0]]
    with pytest.raises(UserError, match="landmark 4 has a negative eigenvalue"):
        analyse(in_image(make_face()), LANDMARK_NAMES, MM, covariance)


def test_the_side_is_said_with_its_source() -> None:
    left = analyse(in_image(make_face(), facing="left"), LANDMARK_NAMES, MM)
    right = analyse(in_image(make_face()), LANDMARK_NAMES, MM, facing="right")
    assert (left.facing, left.facing_source, right.facing_source) == ("left", "points", "option")
    plain = [replace(each, note="") for each in left.findings]
    assert [each.value for each in plain] == pytest.approx([each.value for each in right.findings])


def test_classes_of_many_images_are_counted_with_the_measure_s_name_in_a_narrow_terminal() -> None:
    faces = [in_image(make_face()) for _ in range(4)]
    found = {str(n): analyse(points, LANDMARK_NAMES, MM, isotropic(3.0)) for n, points in enumerate(faces)}
    console = Console(width=80, file=io.StringIO())
    console.print(counts_grid(found).to_rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for name in MEASURE_NAMES:
        counts = [int(line.split()[-2]) for line in text.splitlines() if line.startswith(f"{name}: ")]
        assert sum(counts) == 4, name


def test_the_spelling_of_names_makes_no_difference() -> None:
    """A model made of one's own table may call them Anterior_Nasal_Spine: its measures must not be empty."""
    points = in_image(make_face())
    written = [name.title().replace(" ", "_") for name in LANDMARK_NAMES]
    ours, theirs = (analyse(points, names, (0.1, 0.1)) for names in (LANDMARK_NAMES, written))
    assert theirs == ours and all(np.isfinite(each.value) for each in theirs.findings)

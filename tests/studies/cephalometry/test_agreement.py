"""Agreement of two observers against tables that were counted by hand, and the doctors of the challenge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.studies.cephalometry.agreement import ALL, agreement
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.observers import MEAN, MODEL, Observers, pairs, read_doctors, with_model
from tests.studies.cephalometry.faces import in_image, make_face

NORMAL = {name: sum(scheme.normal) / 2 for name, scheme in SCHEMES.items()}


def observed(**changed: list[float]) -> dict[str, np.ndarray]:
    count = len(next(iter(changed.values())))
    return {name: np.array(changed.get(name, [value] * count)) for name, value in NORMAL.items()}


def test_share_and_kappa_of_a_table_counted_by_hand() -> None:
    """Cohen's example form: 20 both normal, 15 both beyond, 10 and 5 crossed: 0.7 observed, 0.5 by chance, 0.4."""
    first = observed(SNB=[76.0] * 25 + [80.0] * 25)
    second = observed(SNB=[76.0] * 20 + [80.0] * 5 + [76.0] * 10 + [80.0] * 15)
    row = agreement(("a", first), ("b", second))[1]
    assert (row.first, row.second, row.measure, row.same.images) == ("a", "b", "SNB", 50)
    assert row.same.mean == pytest.approx(0.7)
    assert row.kappa is not None and row.kappa.mean == pytest.approx(0.4)
    assert row.difference is not None and row.difference.mean == pytest.approx(15 * 4 / 50)
    assert row.shift is not None and row.shift.mean == pytest.approx((5 - 10) * 4 / 50)


def test_interval_of_the_share_is_that_of_a_binomial() -> None:
    first = observed(SNB=[76.0] * 100)
    second = observed(SNB=[76.0] * 70 + [80.0] * 30)
    same = agreement(("a", first), ("b", second))[1].same
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100)
    assert [same.low, same.high] == pytest.approx([0.7 - half, 0.7 + half], abs=0.012)


def test_all_eight_is_the_mean_over_measures_of_each_image() -> None:
    rows = agreement(("a", observed(SNB=[76.0, 76.0])), ("b", observed(SNB=[80.0, 76.0])))
    assert rows[-1].measure == ALL
    assert rows[-1].same.mean == pytest.approx((7 / 8 + 1) / 2)


def test_an_image_that_one_could_not_measure_counts_for_neither() -> None:
    row = agreement(("a", observed(SNB=[76.0, np.nan, 76.0])), ("b", observed(SNB=[76.0, 80.0, 80.0])))[1]
    assert (row.same.images, row.same.mean) == (2, 0.5)


def test_where_both_always_say_the_same_one_class_kappa_has_no_value() -> None:
    row = agreement(("a", observed(SNB=[76.0] * 5)), ("b", observed(SNB=[76.0] * 5)))[1]
    assert row.same.mean == 1.0
    assert row.kappa is not None and np.isnan(row.kappa.mean)


def face_sample(number: str) -> LandmarkSample:
    points = np.stack([in_image(make_face(snb=77.0)), in_image(make_face(snb=83.0))])
    return LandmarkSample(number, (1935, 2400), points, (0.1, 0.1), None, "made up")


def doctors(samples: list[LandmarkSample]) -> Observers:
    points = np.stack([each.annotations for each in samples])
    names = {"senior": points[:, 0], "junior": points[:, 1]}
    return Observers(tuple(each.image_id for each in samples), LANDMARK_NAMES, names, (0.1, 0.1))


def detection(name: str, points: np.ndarray, path: str = "") -> Detection:
    return Detection(name, path or f"{name}.png", (1935, 2400), LANDMARK_NAMES, points, spacing=(0.1, 0.1))


def test_a_model_is_compared_on_its_own_images_by_landmark_name() -> None:
    samples = [face_sample("151"), face_sample("152")]
    points = in_image(make_face(snb=77.0))
    backwards = Detection("b", "x/152.png", (1935, 2400), LANDMARK_NAMES[::-1], points[::-1])
    observers = with_model(doctors(samples), samples, [backwards])
    assert observers.image_ids == ("152",)
    assert observers.points[MODEL] == pytest.approx(points[None])
    rows = observers.compare(pairs(observers))
    compared = list(dict.fromkeys((row.first, row.second) for row in rows))
    assert compared == [("senior", "junior"), ("senior", MODEL), ("junior", MODEL), (MEAN, MODEL)]
    snb = [row.same.mean for row in rows if row.measure == "SNB"]
    assert snb == [0.0, 1.0, 0.0, 0.0]  # the model has the senior's 77; the junior's 83 and the mean are prognathic


def test_a_model_that_turns_a_face_round_is_not_excused() -> None:
    """The doctors settle the side, so a mirrored answer counts as wrong measures and not as a face looking left."""
    samples = [face_sample("151")]
    mirrored = in_image(make_face(), facing="left")
    observers = with_model(doctors(samples), samples, [detection("151", mirrored)])
    row = next(each for each in observers.compare([("senior", MODEL)]) if each.measure == "SNA")
    assert row.difference is not None and row.difference.mean == pytest.approx(164.0)


def test_points_that_belong_to_other_images_are_refused() -> None:
    samples = [face_sample("151")]
    with pytest.raises(UserError, match="none of the 1 images"):
        with_model(doctors(samples), samples, [detection("abc", in_image(make_face()))])
    small = replace(detection("151", in_image(make_face())), size=(640, 800))
    with pytest.raises(UserError, match="640x800 px, the annotated one has 1935x2400"):
        with_model(doctors(samples), samples, [small])
    twice = [detection("151", in_image(make_face()))] * 2
    with pytest.raises(UserError, match="2 times"):
        with_model(doctors(samples), samples, twice)


def test_the_doctors_of_the_challenge_agree_as_often_as_an_independent_count_says(
    shared_data: Callable[[str], Path],
) -> None:
    """SNB by the cosine rule and MW by its definition, classed by plain comparisons, from the annotation files."""
    _, observers = read_doctors(shared_data("isbi2015"), "train")
    rows = {row.measure: row for row in observers.compare(pairs(observers))}
    classes = []
    for points in (observers.points["senior"], observers.points["junior"]):
        sella, nasion, b, lower, upper = (points[:, index] for index in (0, 1, 5, 10, 11))
        one, two, three = (np.linalg.norm(each, axis=-1) for each in (sella - nasion, b - nasion, sella - b))
        snb = np.degrees(np.arccos((one**2 + two**2 - three**2) / (2 * one * two)))
        wits = 0.1 * np.linalg.norm(upper - lower, axis=-1) * np.where(upper[:, 0] < lower[:, 0], -1, 1)
        classes.append([np.digitize(snb, [74.6, 78.7], right=True), np.digitize(wits, [0, 2, 4.5])])
    counted = 100 * (np.array(classes[0]) == np.array(classes[1])).mean(1)
    assert len(observers.image_ids) == 150
    assert [100 * rows[name].same.mean for name in ("SNB", "MW")] == pytest.approx(counted)

"""Doubted points: slips and swaps are found, and ordinary anatomy is left in peace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from landmark_diffusion.data.checks.outliers import MIN_IMAGES, find_outliers
from landmark_diffusion.data.checks.slips import Cause
from landmark_diffusion.data.sample import LandmarkSample

SHAPE = np.random.default_rng(5).uniform(100, 500, (8, 2))


def _samples(count: int = 60, seed: int = 0, annotators: int = 1) -> list[LandmarkSample]:
    """Shapes that vary by place, scale and turn, far more than the 3 px by which each point varies alone."""
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        angle, scale = rng.normal(0, 0.05), rng.normal(1, 0.05)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (SHAPE - 300) @ turn.T + 300 + rng.normal(0, 20, 2)
        marks = points + rng.normal(0, 3, (annotators, 8, 2))
        samples.append(LandmarkSample(str(index), (600, 600), marks))
    return samples


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_shapes_are_left_in_peace(seed: int) -> None:
    assert find_outliers(_samples(seed=seed)) == []


def test_slipped_point_is_found_in_its_image_and_annotator() -> None:
    samples = _samples(annotators=2)
    samples[17].annotations[1, 3] += (35, 20)  # within the usual range of places, wrong for this image
    found = [(o.sample, o.annotator, o.landmark, o.kind) for o in find_outliers(samples)]
    assert found == [(17, 1, 3, "prediction")]


def test_swapped_points_are_found() -> None:
    samples = _samples()
    samples[5].annotations[0, [1, 2]] = samples[5].annotations[0, [2, 1]]
    found = find_outliers(samples)
    assert {(o.sample, o.landmark) for o in found} >= {(5, 1), (5, 2)} and {o.sample for o in found} == {5}


def test_image_that_lies_elsewhere_is_found_and_its_distance_told() -> None:
    samples = _samples()
    samples[9].annotations[0] += 300
    found = find_outliers(samples)
    assert {o.sample for o in found} == {9} and {o.landmark for o in found} == set(range(8))
    median = np.median(np.stack([s.annotations[0] for s in samples]), axis=0)
    for outlier in found:
        expected = np.linalg.norm(samples[9].annotations[0, outlier.landmark] - median[outlier.landmark])
        assert outlier.kind == "prediction" or outlier.distance == pytest.approx(expected)


def test_missing_points_are_never_doubted_and_do_no_harm() -> None:
    samples = _samples()
    for index in range(0, 60, 4):
        samples[index].annotations[0, index % 8] = np.nan
    samples[17].annotations[0, 3] += (60, 60)
    assert [(o.sample, o.landmark) for o in find_outliers(samples)] == [(17, 3)]


def test_sizes_are_divided_out() -> None:
    samples = _samples()
    doubled = [
        LandmarkSample(s.image_id, (1200, 1200), (s.annotations + 0.5) * 2 - 0.5) if index % 3 == 0 else s
        for index, s in enumerate(samples)
    ]
    assert find_outliers(doubled) == []


def test_few_images_one_landmark_and_a_landmark_nobody_marked() -> None:
    few = _samples(MIN_IMAGES - 1)
    few[0].annotations[0, 0] += 500
    assert [(o.sample, o.landmark, o.kind) for o in find_outliers(few)] == [(0, 0, "shape")]
    single = [LandmarkSample(s.image_id, s.size, s.annotations[:, :1].copy()) for s in _samples()]
    single[4].annotations[0, 0] += 300
    assert [(o.sample, o.kind) for o in find_outliers(single)] == [(4, "position")]
    for sample in single:
        sample.annotations[:] = np.nan
    assert find_outliers(single) == []


def _exchange(points: np.ndarray) -> None:
    points[[1, 6]] = points[[6, 1]]


def _mirror(points: np.ndarray) -> None:
    points[:, 0] = 599 - points[:, 0]


def _turn_over(points: np.ndarray) -> None:
    points[:, 1] = 599 - points[:, 1]


def _swap_axes(points: np.ndarray) -> None:
    points[:] = points[:, ::-1].copy()


def _lose_a_digit(points: np.ndarray) -> None:
    points[4, 1] = points[4, 1] // 10


def _lose_the_point(points: np.ndarray) -> None:
    points[4, 0] *= 10


def _swap_one(points: np.ndarray) -> None:
    points[7] = points[7, ::-1].copy()


@pytest.mark.parametrize("count", [6, 10, MIN_IMAGES - 1, 60])
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (_exchange, {1: Cause(partner=6), 6: Cause(partner=1)}),
        (_mirror, Cause(row="mirrored")),
        (_turn_over, Cause(row="upside down")),
        (_swap_axes, Cause(row="transposed")),
        (_lose_a_digit, {4: "its y 10 times too small"}),
        (_lose_the_point, {4: "its x 10 times too large"}),
        (_swap_one, {7: "its x and y exchanged"}),
    ],
)
def test_a_slip_is_found_and_its_cause_told_in_few_and_in_many_images(
    spoil: Callable[[np.ndarray], None], cause: Cause | dict[int, Cause | str], count: int
) -> None:
    samples = _samples(count)
    spoil(samples[2].annotations[0])
    found = find_outliers(samples)
    assert {o.sample for o in found} == {2}
    told = {o.landmark: o.cause for o in found if o.cause is not None}
    if isinstance(cause, Cause):  # of the whole row: said of each of its doubted points
        assert len(found) >= 2 and set(told.values()) == {cause} and len(told) == len(found)
    else:
        assert told.keys() == cause.keys()
        for landmark, expected in cause.items():
            found_cause = told[landmark]
            assert found_cause == expected if isinstance(expected, Cause) else found_cause.text.startswith(expected)


@pytest.mark.parametrize("count", [10, 60])
def test_no_cause_is_told_where_none_explains_the_point(count: int) -> None:
    samples = _samples(count)
    samples[2].annotations[0, 3] += (150, -130)
    (doubt,) = [each for each in find_outliers(samples) if each.landmark == 3]
    assert doubt.sample == 2 and doubt.cause is None


def test_causes_hold_for_images_of_other_sizes_and_with_missing_points() -> None:
    """x and y are exchanged in px of the image, and not in those of the usual size."""
    samples = [
        LandmarkSample(s.image_id, (1200, 300), s.annotations * (2, 0.5)) if index % 3 == 0 else s
        for index, s in enumerate(_samples(18))
    ]
    samples[3].annotations[0, 5] = np.nan
    samples[3].annotations[0, 7] = samples[3].annotations[0, 7, ::-1].copy()
    found = find_outliers(samples)
    assert [(o.sample, o.landmark) for o in found] == [(3, 7)]
    assert found[0].cause is not None and found[0].cause.text == "its x and y exchanged?"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [3, 5, 10, MIN_IMAGES - 1])
def test_few_ordinary_shapes_are_left_in_peace(seed: int, count: int) -> None:
    assert find_outliers(_samples(count, seed)) == []

"""Human rows: by hand, on made-up doctors whose habits are known, and on the real annotations of ISBI 2015."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.metrics.annotators import (
    against_each,
    between_annotators,
    distance_ratio,
    each_against_mean,
    nearer_annotator,
    offset_shift,
    split_disagreement,
)
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Prediction

ISBI = Path(__file__).parents[3] / "shared" / "data" / "isbi2015"
SPACING = (0.1, 0.1)


def doctors(*pair: tuple[float, float]) -> np.ndarray:
    """One image, one landmark, any number of annotators: (1, A, 1, 2)."""
    return np.array(pair)[None, :, None, :]


def test_by_hand() -> None:
    annotations = doctors((0.0, 0.0), (6.0, 8.0))
    assert between_annotators(annotations).item() == 10.0
    assert each_against_mean(annotations).tolist() == [[[5.0], [5.0]]]
    point = np.array([[[6.0, 0.0]]])
    assert against_each(point, annotations).tolist() == [[[6.0], [8.0]]]
    assert nearer_annotator(point, annotations).item() == 6.0
    assert distance_ratio(point, annotations).item() == pytest.approx(10 / 14, rel=1e-15)
    # spacing 0.5 x 0.25 mm, for all images or by image
    for spacing in ((0.5, 0.25), np.array([[0.5, 0.25]])):
        assert between_annotators(annotations, spacing).item() == pytest.approx(math.hypot(3, 2), rel=1e-15)
        assert nearer_annotator(point, annotations, spacing).item() == 2.0


def test_ratio_is_one_between_the_doctors_and_falls_with_distance() -> None:
    annotations = doctors((0.0, 0.0), (3.0, 4.0))
    for share in (0.0, 0.2, 0.7, 1.0):
        assert distance_ratio(np.array([[[3.0 * share, 4.0 * share]]]), annotations).item() == pytest.approx(1.0)
    assert distance_ratio(np.array([[[500.0, 0.0]]]), annotations).item() < 0.01
    agreed = doctors((1.0, 1.0), (1.0, 1.0))
    assert distance_ratio(np.array([[[4.0, 5.0]]]), agreed).item() == 0.0
    assert math.isnan(distance_ratio(np.array([[[1.0, 1.0]]]), agreed).item())


def test_split_finds_the_habit_of_one_doctor_and_the_scatter_of_both() -> None:
    # Every sign of (a, b) comes equally often, so the scatter is exactly orthogonal to the offset (3, -4).
    scatter = np.array([[a, b] for a in (-2.0, 2.0) for b in (-1.0, 1.0)])
    first = np.random.default_rng(0).uniform(0, 100, (4, 2, 2))
    second = first + np.stack([scatter + np.array([3.0, -4.0]), np.zeros((4, 2))], axis=1)
    split = split_disagreement(np.stack([first, second], axis=1))
    np.testing.assert_allclose(split.offset, [[3.0, -4.0], [0.0, 0.0]], atol=1e-13)
    np.testing.assert_allclose(split.constant, [5.0, 0.0], atol=1e-13)
    np.testing.assert_allclose(split.rest, [math.sqrt(5), 0.0], atol=1e-13)
    np.testing.assert_allclose(split.rms**2, split.constant**2 + split.rest**2, atol=1e-12)
    np.testing.assert_allclose(split.constant_share[0], 25 / 30, rtol=1e-13)
    assert split.count.tolist() == [4, 4]
    one_way = np.array([math.hypot(3 + a, -4 + b) for a, b in scatter])
    np.testing.assert_allclose(split.distance[0], one_way.mean(), rtol=1e-13)


def test_missing_points_are_left_out() -> None:
    annotations = np.stack([doctors((0.0, 0.0), (3.0, 4.0)), doctors((0.0, 0.0), (math.nan, math.nan))])[:, 0]
    assert between_annotators(annotations)[0].item() == 5.0
    assert math.isnan(between_annotators(annotations)[1].item())
    split = split_disagreement(annotations)
    assert split.count.tolist() == [1]
    assert split.constant.tolist() == [5.0]
    points = np.array([[[0.0, 1.0]], [[0.0, 2.0]]])
    assert nearer_annotator(points, annotations).tolist() == [[1.0], [2.0]]
    nobody = np.full((1, 2, 1, 2), math.nan)
    assert math.isnan(nearer_annotator(np.full((1, 1, 2), math.nan), nobody).item())
    assert math.isnan(split_disagreement(nobody).distance.item())


def test_wrong_input_is_refused() -> None:
    annotations = doctors((0.0, 0.0), (3.0, 4.0))
    with pytest.raises(MetricError, match="annotators 0 and 1 wanted, found 1"):
        between_annotators(annotations[:, :1])
    with pytest.raises(MetricError, match="found points"):
        against_each(np.zeros((2, 1, 2)), annotations)
    with pytest.raises(MetricError, match="image 0, landmark 0 is not finite"):
        nearer_annotator(np.full((1, 1, 2), math.nan), annotations)
    with pytest.raises(MetricError, match="spacing"):
        between_annotators(annotations, (0.1, 0.0))
    with pytest.raises(MetricError, match="annotations: found shape"):
        each_against_mean(annotations[0])


def test_predictions_are_stacked_in_dataset_order() -> None:
    cases = [Prediction(str(i), i, np.full((1, 2), i), np.zeros((2, 1, 2)), (0.1, 0.2)) for i in (1, 0, 1)]
    found = evaluate({"a": cases})
    assert found.points["a"][:, 0, 0].tolist() == [0.0, 1.0] and found.indices == (0, 1)
    assert found.annotations.shape == (2, 2, 1, 2)
    np.testing.assert_array_equal(found.scale, [[0.1, 0.2]] * 2)
    cases[1].spacing = None
    with pytest.raises(MetricError, match=r"others none \(0\)"):
        evaluate({"a": cases}).scale  # noqa: B018


def test_shift_of_the_offset_has_the_interval_of_two_independent_means() -> None:
    rng = np.random.default_rng(0)
    before, after = np.zeros((200, 2, 2, 2)), np.zeros((300, 2, 2, 2))
    before[:, 1], after[:, 1] = rng.normal(1.0, 4.0, (200, 2, 2)), rng.normal((3.0, 1.0), 6.0, (300, 2, 2))
    before[0, 1, 1] = np.nan  # one image says nothing about the second landmark
    found = offset_shift(before, after, (0.5, 1.0))
    assert [x.images for x, _ in found] == [500, 499]
    for landmark in range(2):
        for axis, scale in enumerate((0.5, 1.0)):
            a, b = (scale * each[:, 1, landmark, axis] for each in (before, after))
            a, interval = a[~np.isnan(a)], found[landmark][axis]
            error = math.sqrt(a.var() / len(a) + b.var() / len(b))  # of independent samples, large enough to be normal
            assert interval.mean == pytest.approx(b.mean() - a.mean(), abs=1e-12)
            # 10,000 draws fix a 2.5 % quantile to about 0.03 standard errors.
            assert interval.low == pytest.approx(interval.mean - 1.96 * error, abs=0.1 * error)
            assert interval.high == pytest.approx(interval.mean + 1.96 * error, abs=0.1 * error)
    with pytest.raises(MetricError, match="2 landmarks before and 1 after"):
        offset_shift(before, after[:, :, :1])


def isbi(first: int, last: int) -> np.ndarray:
    """Senior and junior of images ``first`` to ``last``, (I, 2, 19, 2), read without the package."""
    if not ISBI.is_dir():
        pytest.skip(f"the ISBI 2015 annotations are not at {ISBI}")
    files = [[ISBI / f"400_{who}" / f"{i:03}.txt" for who in ("senior", "junior")] for i in range(first, last + 1)]
    return np.array([[np.loadtxt(file, delimiter=",", max_rows=19) for file in pair] for pair in files])


def test_isbi_doctors_on_test_1() -> None:
    annotations = isbi(151, 300)
    between = between_annotators(annotations, SPACING)
    assert between.mean() == pytest.approx(2.36, abs=0.005)
    each = each_against_mean(annotations, SPACING)
    assert each.mean() == pytest.approx(1.18, abs=0.005)
    assert 100 * (each < 2.0).mean() == pytest.approx(81.4, abs=0.05)
    assert between[:, 15].mean() == pytest.approx(6.5, abs=0.05)  # landmark 16, soft tissue pogonion


def test_isbi_doctors_on_training_and_their_constant_offset() -> None:
    train, test = (split_disagreement(isbi(*span), SPACING) for span in ((1, 150), (151, 300)))
    assert train.distance.mean() == pytest.approx(2.35, abs=0.005)
    assert train.distance[15] == pytest.approx(9.2, abs=0.05)
    for landmark in (16, 10):
        assert train.constant_share[landmark - 1] > 0.5  # mostly a habit, not scatter
    moved = np.linalg.norm(train.offset - test.offset, axis=-1)
    assert moved[9] > 2.0  # and on Test 1 another habit: what training says about landmark 10 does not carry over
    assert test.constant_share[9] < 0.1
    shift = offset_shift(isbi(1, 150), isbi(151, 300), SPACING)
    for landmark in (16, 10):  # docs/conventions.md, "Protocols"
        assert all(abs(axis.mean) > 1.0 and axis.low * axis.high > 0 for axis in shift[landmark - 1])

"""From distances and a model's answers to a ranked list."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from landmark_diffusion.studies.suggest.belief import Belief, shape_distances
from landmark_diffusion.studies.suggest.choice import distances
from landmark_diffusion.studies.suggest.suggestion import MOST_WEIGHT, expected_weights, suggest


def belief(errors: np.ndarray, **changes: np.ndarray) -> Belief:
    """A model that expects these errors, the same of two landmarks."""
    count = len(errors)
    given = {
        "points": np.zeros((count, 2, 2)), "expected": np.stack([errors, errors + 0.1], 1) - 0.05,
        "spread": np.ones(count), "moved": np.ones(count), "missed": np.ones(count), "score": np.full(count, np.nan),
    }  # fmt: skip
    return Belief(**(given | changes))


def test_shapes_are_as_far_apart_as_the_best_laying_on_leaves() -> None:
    shapes = np.random.default_rng(0).normal(size=(4, 6, 2))

    def left(parameters: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> float:
        a, b, x, y = parameters
        laid = moving @ np.array([[a, b], [-b, a]]) + [x, y]
        return float(np.square(laid - fixed).sum())

    found = shape_distances(shapes)
    for first in range(4):
        for second in range(4):
            fixed = shapes[second] - shapes[second].mean(0)
            fixed = fixed / np.linalg.norm(fixed)
            least = minimize(left, [1, 0, 0, 0], (shapes[first], fixed), tol=1e-12).fun
            assert found[first, second] == pytest.approx(np.sqrt(least), abs=1e-4)


def test_place_size_and_turning_of_a_shape_count_nothing() -> None:
    shape = np.random.default_rng(1).normal(size=(1, 5, 2))
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    assert shape_distances(np.concatenate([shape, 7 * shape @ turn + [30, -2]]))[0, 1] == pytest.approx(0, abs=1e-7)
    assert shape_distances(np.concatenate([shape, shape * [-1, 1]]))[0, 1] > 0.1


def test_one_that_the_model_errs_on_goes_before_a_larger_cluster() -> None:
    line = np.concatenate([np.linspace(0, 1, 8), np.linspace(50, 51, 4), [200.0]])[:, None]
    distance = distances(line, line)
    assert suggest(distance, 1)[0].place < 8
    unsure = belief(np.array([1.0] * 8 + [9.0] * 4 + [1.0]))
    assert 8 <= suggest(distance, 1, (), unsure)[0].place < 12
    told = suggest(distance, 2, [9], unsure, ("sella", "nasion"))
    assert 9 not in [each.place for each in told]
    assert all("least sure of nasion, sella" in each.reason for each in told)


def test_no_image_counts_more_than_a_few() -> None:
    weights = expected_weights(belief(np.array([4.0, 9.0, 1e9, 1.0, 0.0])))
    assert weights == pytest.approx([1.0, 1.5, MOST_WEIGHT, 0.5, 0.0])
    assert expected_weights(belief(np.full(3, 0.0))).tolist() == [1, 1, 1]


def test_reasons_say_what_disagrees() -> None:
    line = np.arange(5.0)[:, None]
    ones = np.ones(5)
    moved, score = ones.copy(), np.full(5, 0.5)
    moved[2], score[2] = 3.0, 0.005
    told = suggest(distances(line, line), 5, (), belief(ones, moved=moved, score=score, missed=np.full(5, np.nan)))
    by_place = {each.place: each for each in told}
    assert "first guess and final points disagree" in by_place[2].reason
    assert by_place[2].reason.startswith("unlike the images that the model was calibrated on")
    assert not any("disagree" in each.reason or "unlike the" in each.reason for p, each in by_place.items() if p != 2)
    assert [each.rank for each in told] == [1, 2, 3, 4, 5]
    assert np.isnan(told[0].distance) and all(each.distance > 0 for each in told[1:])

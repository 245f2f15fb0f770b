"""The table "as it was / adapted": points that are the start's own, accepted by somebody, count for neither."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.studies.adapt.outcome import compare
from landmark_diffusion.studies.calibrate.collect import Collected

IMAGES, N = 6, 4
RIGHT, DOWN = np.array([4.0, 0.0]), np.array([0.0, 2.0])


def collected(points: np.ndarray, truth: np.ndarray) -> Collected:
    covariance = np.broadcast_to(np.eye(2), (*points.shape[:2], 2, 2)).copy()
    return Collected(Answers(points, covariance), truth, np.full((len(points), 2), 0.5), "mm")


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(10, 90, (IMAGES, N, 2))


def test_errors_are_those_of_the_points_that_were_marked_otherwise(truth: np.ndarray) -> None:
    """By hand: 4 px off before, 2 px after, half a mm a pixel; three points of the first two images are accepted."""
    before, after = truth + RIGHT, truth + DOWN
    before[:2, 1:] = truth[:2, 1:] + 1e-4
    found = compare(collected(before, truth), collected(after, truth), [0, 1, 2, 3], 3)
    (row,) = found.rows
    assert found.accepted == 6 and row.before is not None and row.difference is not None
    assert (row.before.mean, row.after.mean, row.difference.mean) == pytest.approx((2, 1, -1))
    assert found.helped and "adapting helped" in found.verdict
    assert "6 points whose labels are the model's own" in found.grid().notes[1]
    assert found.to_dict()["accepted"] == 6
    without = compare(collected(truth + RIGHT, truth), collected(after, truth), [0, 1, 2, 3], 3)
    assert without.accepted == 0 and len(without.grid().notes) == 1


def test_an_image_of_accepted_points_alone_counts_nothing(truth: np.ndarray) -> None:
    before = truth + RIGHT
    before[0] = truth[0]
    (row,) = compare(collected(before, truth), collected(truth + 1.0, truth), [0, 1, 2, 3], 3).rows
    assert row.before is not None and row.before.images == IMAGES - 1 and row.before.mean == pytest.approx(2)


def test_where_all_are_accepted_nothing_is_compared(truth: np.ndarray) -> None:
    found = compare(collected(truth, truth), collected(truth + 5.0, truth), [0, 1, 2, 3], 3)
    assert not found.rows and "accepted as they were" in found.verdict
    mixed = compare(collected(truth, truth), collected(truth + 5.0, truth), [0, 1, 2, None], 3)
    (row,) = mixed.rows
    assert row.label == "new, 1 of 4" and row.before is None and "correct points" in mixed.verdict
    assert mixed.accepted == 3 * IMAGES  # of the new landmark the start has no point of its own

"""Points go where their pixels go."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.detection.reasons import TURNS
from landmark_diffusion.studies.label_faults.orientations import (
    ORIENTATIONS,
    is_quarter,
    redo_points,
    undo_pixels,
    undo_points,
)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_follow_pixels(orientation: str) -> None:
    image = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    back = undo_pixels(orientation, image)
    assert is_quarter(orientation) == (back.shape == (7, 5))
    for x, y in ((0, 0), (6, 0), (2, 3), (5, 4)):
        there = undo_points(orientation, np.array([[x, y]]), (7, 5)).astype(int)
        assert back[there[0, 1], there[0, 0]] == image[y, x]
        assert redo_points(orientation, there, (7, 5)).tolist() == [[x, y]]


def test_all_seven_differ_and_are_those_that_detection_names() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert len({undo_pixels(each, image).tobytes() for each in ORIENTATIONS}) == 7
    assert set(ORIENTATIONS) == set(TURNS) - {"negative"}

"""Detection: what it says of landmarks that are doubtful or not in the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from tests.detection.detections import make_detection, make_doubted


def test_what_is_not_in_the_image_goes_before_doubt() -> None:
    detection = make_doubted()
    assert detection.absent.tolist() == [False, True, False, False, False], "0.5 is not more likely than not"
    assert detection.in_doubt.tolist() == [False, False, True, False, True]
    assert detection.marks == ("", "not in the image", "doubtful", "", "doubtful")


def test_where_a_landmark_is_that_is_not_in_the_image_is_not_stated() -> None:
    detection = make_doubted()
    shown = detection.without_absent()
    for name in ("points", "covariance", "regions", "expected_error"):
        values, before = getattr(shown, name), getattr(detection, name)
        assert np.isnan(values[1]).all() and np.isfinite(before).all()
        np.testing.assert_array_equal(np.delete(values, 1, 0), np.delete(before, 1, 0))
    assert shown.marks == detection.marks


@pytest.mark.parametrize("change", [{}, {"outside": np.zeros(5)}])
def test_where_nothing_is_outside_it_is_the_same_detection(change: dict[str, np.ndarray]) -> None:
    detection = replace(make_detection(), **change)
    assert detection.without_absent() is detection
    assert detection.marks == ("",) * 5 and not detection.in_doubt.any()


def test_a_detection_without_regions_can_have_landmarks_outside() -> None:
    bare = replace(make_detection(regions=False), outside=np.array([0.9, 0, 0, 0, 0]))
    shown = bare.without_absent()
    assert np.isnan(shown.points[0]).all() and shown.regions is shown.covariance is None


@pytest.mark.parametrize("name", ["outside", "far", "doubtful"])
def test_fields_of_another_length_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"found {name} of shape \(4,\), expected \(5,\)"):
        replace(make_detection(), **{name: np.zeros(4)})

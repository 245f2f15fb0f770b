"""The tally: how many doubtful points and absent landmarks ``ldx detect`` ends with, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.tally import Tally
from tests.detection.detections import make_detection, make_doubted


def tally(*detections: Detection) -> Tally:
    counted = Tally(Path())
    for each in detections:
        counted.add(each)
    return counted


def test_doubtful_points_and_absent_landmarks_are_counted_with_their_images() -> None:
    quiet = replace(make_doubted("quiet"), outside=np.zeros(5), doubtful=np.zeros(5, bool))
    found = tally(make_doubted("a"), make_doubted("b"), quiet)
    assert found.summary(1) == (
        "4 files: 3 read, 1 refused; none unlike those that the model was calibrated on; 4 doubtful points in 2 "
        "images; 2 absent landmarks in 2 images"
    )
    (warning,) = found.warnings()
    assert warning == (
        "look at 4 doubtful points before you use them (column doubtful); do not use the point of 2 absent landmarks "
        "(outside_probability above 0.5)"
    )
    alone = tally(quiet)
    assert alone.summary(0).endswith("; no doubtful point; no absent landmark") and alone.warnings() == []


def test_points_of_images_that_are_unlike_are_not_counted_again() -> None:
    found = tally(replace(make_doubted("a"), unlike=True), make_doubted("b"))
    assert found.summary(0).endswith(
        "; 1 unlike those that the model was calibrated on; of the others 2 doubtful points in 1 image; 1 absent "
        "landmark in 1 image"
    )
    points, images = found.warnings()
    assert points.startswith("look at 2 doubtful points") and images.startswith("1 of 2 images is unlike")


def test_images_that_were_put_right_are_counted() -> None:
    turned = replace(make_detection(), orientation="mirrored")
    assert "2 read, 0 refused; 1 recognised as mirrored, turned or negative (column orientation); none" in tally(
        turned, replace(make_detection(), orientation="upright")
    ).summary(0)


def test_a_spacing_that_no_radiograph_has_is_told() -> None:
    wrong, right = make_detection(spacing=(100.0, 100.0)), make_detection()
    (said,) = tally(right, wrong).warnings()
    assert said == (
        "a spacing of 100 mm a pixel makes an image of 300x400 px 30 m wide and 40 m high (is the spacing in "
        "micrometres?): all mm may be wrong; --spacing says how many mm a pixel has"
    )
    assert ", and likewise 2 of 3 images: all mm" in tally(wrong, right, wrong).warnings()[0]
    assert tally(right, make_detection(spacing=None)).warnings() == []


def test_where_no_model_told_nothing_is_said() -> None:
    assert tally(make_detection()).summary(0) == (
        "1 file: 1 read, 0 refused; none unlike those that the model was calibrated on"
    )
    assert tally(replace(make_detection(), unlike=True)).summary(0).endswith("was calibrated on")
    assert tally(make_detection(regions=False)).summary(0).endswith("without a calibration that can tell")
    assert tally().summary(2) == "2 files: 0 read, 2 refused"


def test_a_model_without_calibration_that_can_tell_of_outside_counts_these() -> None:
    bare = replace(make_detection(regions=False), outside=np.array([0.9, 0, 0, 0, 0.6]))
    assert tally(bare).summary(0).endswith("that can tell; 2 absent landmarks in 1 image")

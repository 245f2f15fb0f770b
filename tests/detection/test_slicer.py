"""Markups and .nrrd for 3D Slicer: an independent reader (ITK) finds each point on the pixel it was found at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.forms import make_writers
from landmark_diffusion.detection.writers.slicer import write_slicer
from tests.detection.detections import BRIGHT, make_detection, make_doubted

STATUSES = ("undefined", "preview", "defined")
"""What Slicer's markups schema 1.0.3 allows as positionStatus."""


def write(tmp_path: Path, detection: Detection) -> tuple[dict[str, Any], SimpleITK.Image]:
    """Write a detection as ``ldx detect --to slicer`` does and read it back: its one markup, and ITK's volume."""
    (writer,) = make_writers(["slicer"], tmp_path)
    writer.add(detection)
    assert writer.close() == [tmp_path / "slicer"]
    points, image = writer.targets([detection.name])
    content = json.loads(points.read_text(), parse_constant=pytest.fail)
    # Slicer reads a file only where its schema's name has this form.
    assert content["@schema"].lower().endswith("/markups-schema-v1.0.3.json#")
    (markup,) = content["markups"]
    return markup, SimpleITK.ReadImage(str(image))


@pytest.mark.parametrize("spacing", [(0.1, 0.1), (0.1, 0.25), (0.143, 0.139), None])
def test_a_point_meets_its_pixel(spacing: tuple[float, float] | None, tmp_path: Path) -> None:
    detection = make_detection(spacing=spacing, count=8, size=(301, 400))
    markup, image = write(tmp_path, detection)
    assert (markup["coordinateSystem"], markup["coordinateUnits"]) == ("LPS", "mm")  # ITK's physical space is LPS
    assert image.GetSize() == (301, 400, 1)
    assert image.GetSpacing() == pytest.approx((*(spacing or (1, 1)), 1))
    for point, control in zip(detection.points, markup["controlPoints"], strict=True):
        index = image.TransformPhysicalPointToContinuousIndex(control["position"])
        assert index == pytest.approx((*point, 0), abs=0.01)
        assert control["positionStatus"] == "defined"
        assert image[tuple(map(round, index))] == BRIGHT


def test_the_whole_picture_comes_through_unturned(tmp_path: Path) -> None:
    detection = make_detection()
    _, image = write(tmp_path, detection)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image)[0], detection.pixels)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)  # upright in Slicer's axial view
    assert image.GetOrigin() == (0, 0, 0)


def test_without_a_spacing_both_files_say_that_units_are_pixels(tmp_path: Path) -> None:
    markup, _ = write(tmp_path, make_detection("a", spacing=None))
    words = "no spacing is known: 1 mm stands for 1 pixel"
    header = (tmp_path / "slicer" / "a.nrrd").read_bytes().partition(b"\n\n")[0].decode("ascii")
    assert words in markup["description"]
    assert f"content: radiograph a, {words}" in header.splitlines()
    assert " px" in markup["controlPoints"][0]["description"]
    assert " mm" not in markup["controlPoints"][0]["description"]


def test_a_point_says_how_sure_it_is(tmp_path: Path) -> None:
    detection = replace(
        make_detection(count=1, spacing=(0.1, 0.2)),
        regions=np.array([[[16.0, 0.0], [0.0, 25.0]]]),
        expected_error=np.array([5.0]),
        unlike=True,
    )
    markup, _ = write(tmp_path, detection)
    (control,) = markup["controlPoints"]
    assert (control["id"], control["label"]) == ("1", "landmark 1")
    assert control["description"] == (
        "expected error 0.71 mm; 90% region: semi-axes 1.00 and 0.40 mm at 90 degrees"  # 5 sqrt(0.1 0.2); 5 0.2, 4 0.1
    )
    assert "unlike the training images" in markup["description"]
    assert "Not a medical device" in markup["description"]


def test_a_landmark_that_was_not_found_has_no_position(tmp_path: Path) -> None:
    detection = make_detection(count=2)
    points = detection.points.copy()
    points[0] = np.nan
    markup, _ = write(tmp_path, replace(detection, points=points))
    absent, found = markup["controlPoints"]
    assert absent["positionStatus"] == "undefined" in STATUSES
    assert "position" not in absent
    assert absent["description"].startswith("not found")
    assert found["positionStatus"] == "defined"


def test_doubtful_points_say_so_and_landmarks_outside_have_no_position(tmp_path: Path) -> None:
    markup, _ = write(tmp_path, make_doubted())
    controls = markup["controlPoints"]
    assert [each["positionStatus"] for each in controls] == ["defined", "undefined", "defined", "defined", "defined"]
    assert "position" not in controls[1] and controls[1]["description"] == "not in the image"
    first = [each["description"].split("; ")[0] for each in controls]
    assert first[2] == first[4] == "doubtful" and first[0].startswith("expected error")


def test_without_pixels_the_points_are_written_alone(tmp_path: Path) -> None:
    write_slicer(tmp_path / "a.mrk.json", make_detection(pixels=False, regions=False))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mrk.json"]


def test_a_name_outside_ascii_gives_a_readable_volume(tmp_path: Path) -> None:
    markup, image = write(tmp_path, make_detection("Zoë"))
    assert markup["name"] == "Zoë"
    assert image.GetSize() == (300, 400, 1)

"""points.json: it is what its schema says, comes back exactly, and a damaged one is named in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.forms import make_writers
from landmark_diffusion.detection.writers.points_json import PointsJsonWriter, points_schema, read_points_json
from tests.detection.detections import make_detection, make_doubted


def write_points_json(path: Path, detection: Detection) -> Path:
    PointsJsonWriter.save(path, detection)
    return path


def with_gaps() -> Detection:
    """A detection without anything for its first landmark, and awkward texts."""
    full = make_detection("gaps", spacing=(0.1, 1 / 3), seed=2)
    values = {key: getattr(full, key).copy() for key in ("points", "covariance", "regions", "expected_error")}
    for value in values.values():
        value[0] = np.nan
    path = b'r\xf6ntgen "1".png'.decode("utf-8", "surrogateescape")
    return replace(
        full, path=path, notes=("Größe: \u2028 x\n",), unlike=True, unlike_reason="mirrored", image_score=1e-7, **values
    )


CASES = {
    "full": make_detection(),
    "no spacing": make_detection(spacing=None),
    "anisotropic": make_detection(spacing=(0.1, 0.25), seed=5),
    "no calibration": make_detection(regions=False),
    "minimal": Detection("m", "m", (1, 1), ("only",), np.array([[0.0, 0.0]])),
    "no landmarks": Detection("m", "m", (1, 1), (), np.zeros((0, 2))),
    "gaps": with_gaps(),
    "doubted": make_doubted(),
    "outside alone": replace(make_doubted(), far=None, doubtful=None),
}


def assert_same(found: Detection, wanted: Detection) -> None:
    for each in fields(Detection):
        if each.name != "pixels":
            left, right = getattr(found, each.name), getattr(wanted, each.name)
            assert type(left) is type(right), each.name
            np.testing.assert_equal(left, right, each.name)
    assert found.pixels is None


@pytest.mark.parametrize("case", CASES)
def test_a_file_is_valid_by_the_published_schema_and_comes_back_exactly(case: str, tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", CASES[case])
    jsonschema.Draft202012Validator(points_schema()).validate(json.loads(path.read_text(), parse_constant=pytest.fail))
    (found,) = read_points_json(path)
    assert_same(found, CASES[case])


def test_many_images_keep_their_order(tmp_path: Path) -> None:
    (writer,) = make_writers(["json"], tmp_path / "out")
    detections = [make_detection(name, seed=seed) for seed, name in enumerate("ba")]
    for detection in detections:
        writer.add(detection)
    assert writer.close() == [tmp_path / "out" / "points.json"]
    for found, wanted in zip(read_points_json(tmp_path / "out" / "points.json"), detections, strict=True):
        assert_same(found, wanted)


def test_every_field_says_what_it_is_and_no_other_is_allowed() -> None:
    jsonschema.Draft202012Validator.check_schema(points_schema())
    for entry in objects(points_schema()):
        assert entry["additionalProperties"] is False or entry["title"] == "Settings"
        assert set(entry.get("required", ())) == set(entry.get("properties", ()))
        for name, field in entry.get("properties", {}).items():
            assert field["title"], name
            assert field["description"].endswith("."), name
            if name.endswith(("_mm", "_mm2", "_px2")) and "error" not in name and "covariance" not in name:
                assert "mm" in field["description"] or "pixels" in field["description"]


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield {"additionalProperties": None, **schema}
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_the_schema_refuses_what_is_not_documented(tmp_path: Path) -> None:
    content = json.loads(write_points_json(tmp_path / "points.json", make_detection()).read_text())
    for entry in (content, content["images"][0], content["images"][0]["landmarks"][0]):
        entry["extra"] = 1
        with pytest.raises(jsonschema.ValidationError, match="extra"):
            jsonschema.validate(content, points_schema())
        del entry["extra"]


def test_mm_and_ellipses_in_the_file_are_those_of_the_detection(tmp_path: Path) -> None:
    detection = make_detection(spacing=(0.1, 0.2), count=1)
    landmark = json.loads(write_points_json(tmp_path / "p.json", detection).read_text())["images"][0]["landmarks"][0]
    assert landmark["point_mm"] == [detection.points[0, 0] * 0.1, detection.points[0, 1] * 0.2]
    ellipse = landmark["ellipse_mm"]
    assert ellipse["semi_major"] * ellipse["semi_minor"] * np.pi == pytest.approx(landmark["region_area_mm2"])
    # The area of an ellipse is pi sqrt(det R), and scales by both spacings.
    area = np.pi * np.sqrt(np.linalg.det(landmark["region_px2"])) * 0.1 * 0.2
    assert landmark["region_area_mm2"] == pytest.approx(area, rel=1e-12)


def test_two_models_do_not_get_into_one_file(tmp_path: Path) -> None:
    (writer,) = make_writers(["json"], tmp_path)
    writer.add(make_detection("a"))
    with pytest.raises(UserError, match=r"b\.png: found by the model 'other\.ldx'.*'ceph_small\.ldx'"):
        writer.add(replace(make_detection("b"), model="other.ldx"))


def set_image(key: str, value: Any) -> Any:
    return lambda content: content["images"][0].update({key: value})


def set_landmark(key: str, value: Any) -> Any:
    return lambda content: content["images"][0]["landmarks"][1].update({key: value})


DAMAGE = {
    "schema: found None, expected 'urn": lambda content: content.pop("schema"),
    r"written by landmark_diffusion 9\.0 in format 2; this .* reads up to format 1: upgrade": lambda content: (
        content.update(format_version=2, package_version="9.0")
    ),
    "format_version: found True, expected a whole number": lambda content: content.update(format_version=True),
    "images is missing, expected a list": lambda content: content.pop("images"),
    r"images\[0\]: found 3, expected an object": lambda content: content.update(images=[3]),
    r"images\[0\]\.size: found \[0, 5\]": set_image("size", [0, 5]),
    r"images\[0\]\.spacing: found \[0\.1, -1\]": set_image("spacing", [0.1, -1]),
    r"images\[0\]\.level: found 90": set_image("level", 90),
    r"images\[0\]\.unlike: found 'no'": set_image("unlike", "no"),
    r"images\[0\]\.notes: found 'x'": set_image("notes", "x"),
    r"images\[0\]\.landmarks\[1\]\.name: found None": set_landmark("name", None),
    r"images\[0\]\.landmarks\[1\]\.point_px: found \['1', 2\], expected null or two numbers": set_landmark(
        "point_px", ["1", 2]
    ),
    r"images\[0\]\.landmarks\[1\]\.point_px: found \[1000": set_landmark("point_px", [10**400, 2]),
    r"images\[0\]\.landmarks\[1\]\.covariance_px2: found \[1, 2\]": set_landmark("covariance_px2", [1, 2]),
    r"images\[0\]\.landmarks\[1\]\.expected_error_px: found -1": set_landmark("expected_error_px", -1),
    r"images\[0\]\.landmarks\[1\]\.outside_probability: found 1\.5": set_landmark("outside_probability", 1.5),
    r"images\[0\]\.landmarks\[1\]\.far_probability: found 'x'": set_landmark("far_probability", "x"),
    r"images\[0\]\.landmarks\[1\]\.doubtful: found 1, expected null, true or false": set_landmark("doubtful", 1),
    r"images\[0\]\.landmarks\[1\]\.region_px2 is missing": lambda c: c["images"][0]["landmarks"][1].pop("region_px2"),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_file_is_named_with_the_field(message: str, tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", make_detection())
    content = json.loads(path.read_text())
    DAMAGE[message](content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"points\.json: " + message) as caught:
        read_points_json(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such file; `ldx detect"),
        (b"", "no valid JSON"),
        (b'{"schema"', "no valid JSON"),
        (b"\xff\xfe\x00", "no valid JSON"),
        (b'{"images": [NaN]}', "no valid JSON .*NaN"),
        (b"[" * 100_000, "no valid JSON"),
        (b"[]", "the file: found \\[\\], expected an object"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(data: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_points_json(path)


@pytest.mark.parametrize(
    ("where", "key", "expected"),
    [
        ("image", "name", "a text without control characters"),
        ("image", "spacing_source", "a text without control characters"),
        ("image", "path", "a text without control characters other than tabs"),
        ("file", "model", "a text without control characters"),
        ("landmark", "name", "a text without control characters"),
    ],
)
@pytest.mark.parametrize("letter", ["\x1b", "\x07", "\r", "\x7f", "\x9b"])
def test_texts_that_would_steer_the_terminal_are_refused(
    where: str, key: str, expected: str, letter: str, tmp_path: Path
) -> None:
    """A stranger's file is printed: ESC clears the screen, or asks the terminal to type."""
    path = write_points_json(tmp_path / "points.json", make_detection())
    content = json.loads(path.read_text())
    image = content["images"][0]
    {"file": content, "image": image, "landmark": image["landmarks"][0]}[where][key] = f"a{letter}[2Jb"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{key}: found 'a.*b', expected {expected}") as caught:
        read_points_json(path)
    assert str(caught.value).isprintable()


NEWER = ("outside_probability", "far_probability", "doubtful")


def test_doubt_is_written_for_each_landmark(tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", make_doubted())
    landmarks = json.loads(path.read_text())["images"][0]["landmarks"]
    assert [[each[key] for key in NEWER] for each in landmarks] == [
        [0.01, 0.02, False], [0.9, 0.7, True], [0.02, 0.4, True], [0.5, 0.01, False], [0.03, 0.25, True]
    ]  # fmt: skip


def test_a_file_of_an_earlier_version_has_nothing_on_doubt(tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", make_doubted())
    content = json.loads(path.read_text())
    for landmark in content["images"][0]["landmarks"]:
        for key in NEWER:
            del landmark[key]
    path.write_text(json.dumps(content))
    assert_same(read_points_json(path)[0], make_detection())


def test_fields_of_a_later_package_are_passed_over(tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", make_detection())
    content = json.loads(path.read_text())
    content["images"][0]["landmarks"][0]["added_later"] = 1
    path.write_text(json.dumps(content))
    assert_same(read_points_json(path)[0], make_detection())


def _again(content: Any) -> None:
    content["images"].append(content["images"][0])


def _shorter(content: Any) -> None:
    content["images"].append({**content["images"][0], "name": "b", "landmarks": content["images"][0]["landmarks"][:-1]})


def _landmark_again(content: Any) -> None:
    content["images"][0]["landmarks"].append(content["images"][0]["landmarks"][0])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_again, "found two images of the name 'a', expected names of their own"),
        (_shorter, r"images\[1\]\.landmarks: found 4 landmarks that are not the 5 of images\[0\]"),
        (_landmark_again, r"images\[0\]\.landmarks: found two landmarks of the name 'landmark 1'"),
    ],
)
def test_what_is_there_twice_or_missing_is_refused(spoil: Any, said: str, tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", make_detection())
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        read_points_json(path)


def test_a_field_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_points_json(tmp_path / "points.json", make_detection())
    path.write_text(path.read_text().replace('"point_px"', '"point_px": [1, 2], "point_px"', 1))
    with pytest.raises(DataError, match=r"no valid JSON \(found the field 'point_px' twice in one object\)"):
        read_points_json(path)

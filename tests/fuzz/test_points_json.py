"""points.json: the detections are those in the file, or it is refused by the field that is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark_diffusion.detection.writers.points_json import PointsJsonWriter
from landmark_diffusion.detection.writers.points_json_reader import read_points_json
from tests.detection.detections import make_detection
from tests.fuzz.harness import inputs, judge
from tests.fuzz.json_mutations import spoilt_json, strict
from tests.fuzz.strategies import spoilt_bytes


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of two images, with all that a calibration gives and without."""
    found = {}
    for regions in (True, False):
        writer = PointsJsonWriter(tmp_path_factory.mktemp("written"))
        for seed, name in enumerate(("a", "b")):
            spacing = (0.1, 0.2) if regions else None
            writer.add(make_detection(name, spacing, regions=regions, count=3, seed=seed, pixels=False))
        found[str(regions)] = writer.close()[0].read_bytes()
    return found


def a_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def shaped(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether it is null, or numbers in nested lists of ``shape``."""
    if value is None:
        return True
    if not shape:
        return a_number(value)
    if not isinstance(value, list) or len(value) != shape[0]:
        return False
    return all(each is not None and shaped(each, shape[1:]) for each in value)


def columns_in(image: Any) -> dict[str, np.ndarray] | None:
    """What one image says: names, points, covariances, regions and errors; None where anything is not as described."""
    shapes = {"point_px": (2,), "covariance_px2": (2, 2), "region_px2": (2, 2), "expected_error_px": ()}
    if not isinstance(image, dict) or not isinstance(image.get("landmarks"), list):
        return None
    found: dict[str, list] = {key: [] for key in shapes}
    for entry in image["landmarks"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            return None
        for key, shape in shapes.items():
            if key not in entry or not shaped(entry[key], shape):
                return None
            found[key].append(np.full(shape, math.nan) if entry[key] is None else entry[key])
    names = [entry["name"] for entry in image["landmarks"]]
    spacing, size = image.get("spacing"), image.get("size")
    usable = len(set(names)) == len(names) and (spacing is None or (shaped(spacing, (2,)) and min(spacing) > 0))
    usable = usable and shaped(size, (2,)) and size is not None and all(type(v) is int and v > 0 for v in size)
    if not usable or not isinstance(image.get("name"), str):
        return None
    arrays = {key: np.array(found[key], dtype=float).reshape(len(names), *shapes[key]) for key in shapes}
    return {"names": np.array(names, dtype=object), **arrays}


def images_in(data: bytes) -> list[dict[str, np.ndarray]] | None:
    try:
        content = strict(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return None
    images = [columns_in(image) for image in content["images"]]
    if any(image is None for image in images):
        return None
    whole = [image for image in images if image is not None]
    alone = len({image["name"] for image in content["images"]}) == len(images)
    same = all(list(image["names"]) == list(whole[0]["names"]) for image in whole)
    return whole if alone and same else None


@inputs(80, 1500)
@given(data=st.data(), regions=st.sampled_from(("True", "False")))
def test_no_file_gives_other_points_than_it_says(
    written: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, regions: str
) -> None:
    content = data.draw(st.one_of(spoilt_json(json.loads(written[regions])), spoilt_bytes(written[regions])))
    path = tmp_path_factory.getbasetemp() / "points.json"
    path.write_bytes(content)
    found = judge("points.json", lambda: read_points_json(path), path)
    if content == written[regions]:
        assert found is not None
    if found is None:
        return
    expected = images_in(content)
    assert expected is not None and len(found) == len(expected)
    for detection, said in zip(found, expected, strict=True):
        assert list(detection.landmark_names) == list(said["names"])
        assert not np.isinf(detection.points).any()
        np.testing.assert_array_equal(detection.points, said["point_px"])
        for value, key in ((detection.covariance, "covariance_px2"), (detection.regions, "region_px2"),
                           (detection.expected_error, "expected_error_px")):  # fmt: skip
            np.testing.assert_array_equal(np.full_like(said[key], np.nan) if value is None else value, said[key])


def test_what_is_written_is_accepted(written: dict[str, bytes], tmp_path: Path) -> None:
    for content in written.values():
        (tmp_path / "points.json").write_bytes(content)
        assert images_in(content) is not None and len(read_points_json(tmp_path / "points.json")) == 2

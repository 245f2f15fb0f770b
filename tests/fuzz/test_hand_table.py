"""The hands' table: each row is read to the point or refused by its line; what is left out is told."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.sources.hand import HandDataset
from tests.fuzz.harness import inputs, judge, lines_of, number, on_image, text_of
from tests.fuzz.strategies import Rows, mostly, spoilt_rows, text_files, valid_pairs

SIZE = (60, 80)
IMAGES = ("1", "20", "3142")
HEADER = ["id", *(f"{axis}{n}" for n in range(1, 38) for axis in "xy")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hand")
    (folder / "jpg").mkdir()
    for name in IMAGES:
        Image.new("L", SIZE).save(folder / "jpg" / f"{name}.jpg")
    return folder


def table_in(data: bytes) -> dict[str, np.ndarray] | None:
    """What the table says: (37, 2) by name; None where any row is wrong."""
    text = text_of(data)
    rows = [[cell.strip() for cell in line.split(",")] for line in (text or "").split("\n")]
    rows = [row for row in rows if any(row)]
    if rows and rows[0][0].lower() in ("id", "image"):
        del rows[0]
    found: dict[str, np.ndarray] = {}
    for name, *cells in rows:
        values = [number(cell) for cell in cells]
        if not name or name in found or len(values) != 74 or None in values:
            return None
        found[name] = np.array(values, dtype=float).reshape(37, 2)
        if math.dist(*found[name][[0, 4]]) < 1:
            return None
        if name in IMAGES and not all(on_image(x, y, SIZE) for x, y in found[name]):
            return None
    return found or None


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    seed = draw(st.integers(0, 999))
    rows: Rows = [HEADER] if draw(st.booleans()) else []
    for index, name in enumerate(draw(st.sampled_from((IMAGES, IMAGES, IMAGES[::-1], IMAGES[:2], (*IMAGES, "77"))))):
        points = valid_pairs(seed + index, 37, SIZE)
        points[4] = [points[0][0], "20" if float(points[0][1]) > 40 else "60"]  # the wrist has a width
        rows.append([name, *(value for point in points for value in point)])
    return draw(text_files(draw(spoilt_rows(rows)), draw(mostly(",", ", ", ";", "\t", ",,"))))


@inputs(50, 1200)
@given(data=tables(), split=st.sampled_from(("all_train", "paper_b")), require_all=st.booleans())
def test_no_row_gives_other_points_than_it_says_and_none_is_left_out_in_silence(
    root: Path, data: bytes, split: str, require_all: bool
) -> None:
    path = root / "all.csv"
    path.write_bytes(data)
    told: list[str] = []

    def read() -> list:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            samples = HandDataset(root, split, require_all=require_all).samples("train")
        told.extend(str(warning.message) for warning in caught if not issubclass(warning.category, RuntimeWarning))
        assert not [warning for warning in caught if issubclass(warning.category, RuntimeWarning)]
        return samples

    found, expected = judge("hand: all.csv", read, root, lines=lines_of(data)), table_in(data)
    absent = set(expected or ()) - set(IMAGES)
    refused = expected is None or (split == "paper_b" and require_all and absent)
    refused = refused or (split == "all_train" and not set(expected or ()) & set(IMAGES))
    assert (found is None) == bool(refused)
    if found is not None and expected is not None:
        assert [sample.image_id for sample in found] == sorted(set(IMAGES) & set(expected))
        for sample in found:
            np.testing.assert_array_equal(sample.annotations[0], expected[sample.image_id])
            assert sample.spacing is not None and 0 < sample.spacing[0] <= 50
        if set(IMAGES) - set(expected):
            assert any("without annotation" in message for message in told), told
        if absent:
            assert any("not there" in message for message in told), told

"""ISBI 2015: a doctor's file is read to the point or refused by its line, whatever lies in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.sources.isbi2015 import Isbi2015Dataset
from tests.fuzz.harness import inputs, judge, lines_of, number, on_image, text_of
from tests.fuzz.strategies import mostly, spoilt_rows, text_files, valid_pairs

SIZE = (64, 80)
NUMBERS = (1, 2, 150)
DOCTORS = ("senior", "junior")
VALID = "\n".join(f"{n},{2 * n}" for n in range(19)) + "\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("isbi")
    (folder / "cepha400").mkdir()
    for number_ in NUMBERS:
        Image.new("L", SIZE).save(folder / "cepha400" / f"{number_:03d}.png")
    for doctor in DOCTORS:
        (folder / f"400_{doctor}").mkdir()
    return folder


def restore(root: Path) -> None:
    for doctor in DOCTORS:
        for number_ in NUMBERS:
            (root / f"400_{doctor}" / f"{number_:03d}.txt").write_text(VALID)


def points_in(data: bytes) -> np.ndarray | None:
    """What the file says, (19, 2): 19 lines ``x,y`` (or with a space), then nothing or 8 whole numbers."""
    text = text_of(data)
    lines = [line.strip() for line in (text or "").split("\n") if line.strip()]
    if len(lines) not in (19, 27) or not all(re.fullmatch("[+-]?[0-9]+", line) for line in lines[19:]):
        return None
    pairs = [line.split(",") if "," in line else line.split() for line in lines[:19]]
    if any(len(pair) != 2 for pair in pairs):
        return None
    values = [[number(part) for part in pair] for pair in pairs]
    if any(x is None or y is None or not on_image(x, y, SIZE) for x, y in values):
        return None
    return np.array(values, dtype=float)


@st.composite
def doctors_files(draw: st.DrawFn) -> bytes:
    rows = valid_pairs(draw(st.integers(0, 999)), 19, SIZE) + ([[n] for n in "12345678"] if draw(st.booleans()) else [])
    return draw(text_files(draw(spoilt_rows(rows)), draw(mostly(",", " ", ", ", "\t", ";", ",,"))))


@inputs(60, 1500)
@given(data=doctors_files(), doctor=st.sampled_from(DOCTORS))
def test_no_doctors_file_gives_other_points_than_it_says(root: Path, data: bytes, doctor: str) -> None:
    restore(root)
    path = root / f"400_{doctor}" / "002.txt"
    path.write_bytes(data)
    dataset = Isbi2015Dataset(root)
    found = judge("ISBI 2015: points", lambda: dataset.samples("train"), path, lines=lines_of(data))
    expected = points_in(data)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert [sample.image_id for sample in found] == ["001", "002", "150"]
        annotations = found[1].annotations
        np.testing.assert_array_equal(annotations[DOCTORS.index(doctor)], expected)
        np.testing.assert_array_equal(annotations[1 - DOCTORS.index(doctor)], points_in(VALID.encode()))


FILES = [f"{folder}400_{doctor}/{name}.txt" for folder in ("", "AnnotationsByMD/") for doctor in DOCTORS
         for name in ("001", "1", "002", "2", "150", "151")]  # fmt: skip


@inputs(40, 700)
@given(images=st.sets(st.sampled_from((*NUMBERS, 3, 151))), files=st.sets(st.sampled_from(FILES)), whole=st.booleans())
def test_an_image_has_one_file_of_each_doctor_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, images: set[int], files: set[str], whole: bool
) -> None:
    root = tmp_path_factory.mktemp("tree")
    present = files | ({f"400_{doctor}/{n:03d}.txt" for doctor in DOCTORS for n in images} if whole else set())
    for index, name in enumerate(sorted(present)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(VALID.replace("0,0", f"{index},0", 1))
    for number_ in images:
        Image.new("L", SIZE).save(root / f"{number_:03d}.png")
    found = judge("ISBI 2015: folders", lambda: Isbi2015Dataset(root).samples("train"), root)
    train = sorted(images - {151})
    counts = [sum(Path(name).name in (f"{n:03d}.txt", f"{n}.txt") and doctor in name for name in present)
              for n in train for doctor in DOCTORS]  # fmt: skip
    assert (found is not None) == (bool(images) and all(count == 1 for count in counts))
    if found is not None:
        assert [sample.image_id for sample in found] == [f"{n:03d}" for n in train]

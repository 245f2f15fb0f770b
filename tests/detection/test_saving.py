"""Saving one detection: the suffix says the form, and nothing that is there is lost by accident."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.saving import SAVERS, save_detection
from landmark_diffusion.detection.writers.points_json import read_points_json
from tests.detection.detections import make_detection

BEGINNINGS = {
    ".csv": b"image,landmark,", ".json": b'{\n"schema"', ".mrk.json": b'{\n "@schema"', ".png": b"\x89PNG",
    ".html": b"<!",
}  # fmt: skip


@pytest.mark.parametrize("suffix", SAVERS)
def test_each_suffix_gives_its_form_and_no_file_left_over(suffix: str, tmp_path: Path) -> None:
    path = save_detection(make_detection(), tmp_path / "new" / f"found{suffix}")
    assert path.read_bytes().startswith(BEGINNINGS[suffix])
    beside = {"found.nrrd"} if suffix == ".mrk.json" else set()
    assert {each.name for each in path.parent.iterdir()} == {path.name, *beside}


def test_capitals_and_texts_are_taken(tmp_path: Path) -> None:
    path = save_detection(make_detection(), str(tmp_path / "A.JSON"))
    assert read_points_json(path)[0].name == "a"


@pytest.mark.parametrize("name", ["a.xml", "a", "mrk.json.txt", ".csv/"])
def test_another_suffix_names_those_there_are(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected one of \.csv, \.mrk\.json, \.json, \.png, \.html|exists already"):
        (tmp_path / ".csv").mkdir()
        save_detection(make_detection(), tmp_path / name)


@pytest.mark.parametrize("there", ["a.mrk.json", "a.nrrd"])
def test_what_is_there_stays_unless_it_may_go(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(UserError, match=rf"{there} exists already.*overwrite=True"):
        save_detection(make_detection(), tmp_path / "a.mrk.json")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]
    save_detection(make_detection(), tmp_path / "a.mrk.json", overwrite=True)
    assert (tmp_path / there).read_bytes() != b"mine"


def test_a_saved_detection_replaces_an_older_one(tmp_path: Path) -> None:
    path = save_detection(make_detection(), tmp_path / "a.json")
    save_detection(replace(make_detection(), name="b"), path, overwrite=True)
    assert read_points_json(path)[0].name == "b"


@pytest.mark.parametrize("suffix", SAVERS)
def test_a_place_that_cannot_be_written_to_is_one_clear_line(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_detection(make_detection(), tmp_path / "file" / f"a{suffix}")

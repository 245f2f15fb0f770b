"""points.csv: what a spreadsheet or a statistics program reads is what was found, with nothing invented."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.forms import WRITERS, make_writers
from landmark_diffusion.detection.writers.points_csv import COLUMNS, write_points_csv
from tests.detection.detections import make_detection, make_doubted


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(tmp_path: Path, *detections: Detection) -> list[dict[str, str]]:
    (writer,) = make_writers(["csv"], tmp_path / "out")
    for detection in detections:
        writer.add(detection)
    assert writer.close() == writer.targets([each.name for each in detections]) == [tmp_path / "out" / "points.csv"]
    return rows(tmp_path / "out" / "points.csv")


def test_each_landmark_of_each_image_is_a_row_in_the_order_given(tmp_path: Path) -> None:
    found = write(tmp_path, make_detection("b", count=2), make_detection("a", count=2, seed=1))
    assert list(found[0]) == list(COLUMNS)
    assert [(row["image"], row["landmark"]) for row in found] == [
        ("images/b.png", "landmark 1"), ("images/b.png", "landmark 2"),
        ("images/a.png", "landmark 1"), ("images/a.png", "landmark 2"),
    ]  # fmt: skip


def test_a_case_worked_by_hand(tmp_path: Path) -> None:
    """Semi-axes 5 px along y and 4 px along x, with 0.1 mm in x and 0.2 mm in y: 1.0 and 0.4 mm, area 0.4 pi."""
    detection = replace(
        make_detection(count=1, spacing=(0.1, 0.2)),
        points=np.array([[10.25, 20.5]]),
        regions=np.array([[[16.0, 0.0], [0.0, 25.0]]]),
        expected_error=np.array([3.0]),
    )
    (row,) = write(tmp_path, detection)
    assert row == {
        "image": "images/a.png", "landmark": "landmark 1", "x": "10.250000", "y": "20.500000", "x_mm": "1.025000",
        "y_mm": "4.100000", "spacing_source": "option", "region_level": "0.900000", "region_semi_major": "5.000000",
        "region_semi_minor": "4.000000", "region_angle": "90.000000", "region_area_mm2": f"{0.4 * np.pi:.6f}",
        "expected_error_mm": f"{3 * np.sqrt(0.02):.6f}", "expected_error_px": "3.000000", "image_score": "0.400000",
        "unlike": "false", "unlike_reason": "", "name": "a", "orientation": "",
        "orientation_probability": "", "outside_probability": "", "far_probability": "", "doubtful": "",
    }  # fmt: skip


def test_what_is_not_known_is_empty_not_zero(tmp_path: Path) -> None:
    detection = make_detection(count=2, spacing=None, regions=False)
    points = detection.points.copy()
    points[1] = np.nan
    first, second = write(tmp_path, replace(detection, points=points))
    assert first["x"] == f"{points[0, 0]:.6f}"
    assert second["x"] == second["y"] == ""
    for row in (first, second):
        empty = set(COLUMNS) - {"image", "landmark", "x", "y", "spacing_source", "name"}
        assert {row[name] for name in empty} == {""}
        assert row["spacing_source"] == "unknown"


def test_doubt_and_what_is_not_in_the_image_have_columns_of_their_own(tmp_path: Path) -> None:
    detection = make_doubted()
    found = write(tmp_path, detection)
    assert [row["outside_probability"] for row in found] == [f"{each:.6f}" for each in (0.01, 0.9, 0.02, 0.5, 0.03)]
    assert [row["far_probability"] for row in found] == [f"{each:.6f}" for each in (0.02, 0.7, 0.4, 0.01, 0.25)]
    assert [row["doubtful"] for row in found] == ["false", "true", "true", "false", "true"]
    assert [float(row["x"]) for row in found] == pytest.approx(detection.points[:, 0], abs=1e-6), "all points are kept"
    for row in write(tmp_path, replace(detection, far=None, doubtful=None)):
        assert row["far_probability"] == row["doubtful"] == "" != row["outside_probability"]


def test_names_cannot_run_as_formulas_or_break_the_table(tmp_path: Path) -> None:
    names = ('=HYPERLINK("http://x")', "sella, the\nmiddle")
    detection = replace(make_detection(count=2), landmark_names=names, path="-1.png")
    first, second = write(tmp_path, detection)
    assert first["landmark"] == "'" + names[0]
    assert first["image"] == "'-1.png"
    assert second["landmark"] == names[1]


def test_a_file_name_that_is_no_unicode_still_gives_a_table(tmp_path: Path) -> None:
    path = b"r\xf6ntgen.png".decode("utf-8", "surrogateescape")
    (row,) = write(tmp_path, replace(make_detection(count=1), path=path))
    assert row["image"] == "r\\udcf6ntgen.png"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/points\.csv: the file cannot be written"):
        write_points_csv(tmp_path / "file" / "points.csv", [make_detection()])


def test_without_images_there_is_no_empty_table(tmp_path: Path) -> None:
    for writer in make_writers(["csv", "json", "slicer"], tmp_path / "out"):
        assert writer.close() == []
    assert not (tmp_path / "out").exists()


def test_every_form_that_is_offered_can_be_made_under_its_name(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    writers = make_writers([*WRITERS.names(), "csv"], tmp_path)
    assert [writer.name for writer in writers] == WRITERS.names()


def test_an_unknown_form_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown output 'xml'\. Known: csv, .*overlay, slicer, html, dicom-sr"):
        make_writers(["csv", "xml"], tmp_path)


def test_a_missing_extra_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)  # importing it now fails
    monkeypatch.delitem(sys.modules, "landmark_diffusion.detection.writers.dicom_sr", raising=False)
    with pytest.raises(UserError, match=r"needs highdicom.*pip install 'landmark_diffusion\[dicom-sr\]'"):
        make_writers(["dicom-sr"], tmp_path)

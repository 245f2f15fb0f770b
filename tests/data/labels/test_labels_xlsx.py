"""Excel: what openpyxl writes is read, and it reads what is written."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.labels.label_set import ABSENT
from landmark_diffusion.data.sources.folder.table import read_table

LABELS = LabelSet(
    ("N", "=S"), ("anna", "bo"),
    (
        LabelledImage("x/a.png", (300, 400), (0.1, 0.2), {
            ("anna", "N"): Mark(1.25, 2, Flag.HIDDEN, "corrected", "2026-01-01T10:00:00", 0.25),
            ("anna", "=S"): ABSENT, ("bo", "N"): Mark(3, 4),
        }),
        LabelledImage("b.png", (10, 20)),
    ),
)  # fmt: skip


def test_an_independent_program_reads_what_is_written(tmp_path: Path) -> None:
    assert label_format("xlsx").write(LABELS, tmp_path / "labels.xlsx", ImageFolder()) == []
    sheet = openpyxl.load_workbook(tmp_path / "labels.xlsx").active
    header, first, absent, *_ = sheet.iter_rows(values_only=True)
    row = dict(zip(header, first, strict=True))
    assert row["x"] == 1.25 and row["width"] == 300 and row["spacing_y"] == 0.2  # numbers, and no texts
    assert (row["image"], row["annotator"], row["flag"], row["time"]) == (
        "x/a.png", "anna", "hidden", "2026-01-01T10:00:00",
    )  # fmt: skip
    assert dict(zip(header, absent, strict=True))["landmark"] == "'=S"  # no formula
    assert sheet.max_row == 1 + 2 * 2 * 2


def test_it_is_read_again_and_by_the_folder_data_set(tmp_path: Path) -> None:
    label_format("xlsx").write(LABELS, tmp_path / "labels.xlsx", ImageFolder())
    form, labels = read_labels(tmp_path / "labels.xlsx")
    assert form.name == "xlsx" and labels.images == LABELS.images and labels.landmark_names == LABELS.landmark_names
    table = read_table(tmp_path / "labels.xlsx", "split")
    assert not table.faults and table.rows["x/a.png"].marks["anna", "N"][:2] == (1.25, 2)


def test_a_workbook_of_another_program(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Image", "nasion_x", "nasion_y", "sella x", "sella y"])
    book.active.append(["a.png", 101.5, 52, None, None])
    book.save(tmp_path / "points.xlsx")
    form, labels = read_labels(tmp_path / "points.xlsx")
    assert form.name == "xlsx" and labels.images[0].marks == {("annotator", "nasion"): Mark(101.5, 52)}
    book.active["C2"] = "far"
    book.save(tmp_path / "points.xlsx")
    with pytest.raises(DataError, match=r"points\.xlsx:2: "):
        read_labels(tmp_path / "points.xlsx")


def test_without_the_package_that_writes_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    with pytest.raises(UserError, match=r"landmark_diffusion\[excel\]"):
        label_format("xlsx").write(LABELS, tmp_path / "labels.xlsx", ImageFolder())
    assert not (tmp_path / "labels.xlsx").exists()


@pytest.mark.parametrize("name", ["'tis", "=1", "'=1", "''+1"])
def test_names_like_formulas_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    marks = {(name, "N"): Mark(1, 2), (name, name): ABSENT}
    given = LabelSet(("N", name), (name,), (LabelledImage(f"{name}.png", (30, 40), None, marks),))
    label_format("csv").write(given, tmp_path / "labels.csv", ImageFolder())
    _, again = read_labels(tmp_path / "labels.csv")
    assert (again.images, again.landmark_names, again.annotator_names) == (given.images, given.landmark_names, (name,))

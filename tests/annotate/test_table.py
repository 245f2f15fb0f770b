"""The table of ``ldx annotate``: the folder data set reads it as it is, and what others wrote in it stays."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.annotate.marks import mark_json, read_mark
from landmark_diffusion.annotate.table import COLUMNS, ImageCells, Key, MarksTable, OtherFormError, number_text
from landmark_diffusion.core.cells import plain_name, safe_name
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels.label_set import Flag, Mark
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.data.sources.folder.table import read_table

ORDER = {"nasion": 0, "sella": 1, "gonion": 2}
ABOUT = ImageCells((300, 400))


TIME = "2026-11-29T12:00:00Z"
ABSENT = Mark(math.nan, math.nan, Flag.ABSENT, "by hand", TIME)


def hand(x: float, y: float) -> Mark:
    return Mark(x, y, origin="by hand", time=TIME)


def put(table: MarksTable, image: str, annotator: str, landmark: str, mark: Mark | None) -> None:
    table.put(Key(image, annotator, landmark), mark, ORDER, ABOUT)


def cells(text: str, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter=separator))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_folder_data_set_reads_it_as_it_is(tmp_path: Path) -> None:
    """Two annotators, one point missing, one absent, one image with nothing but an absence."""
    for name in ("a.png", "b.png", "c.png"):
        pixels = np.random.default_rng(ord(name[0])).integers(0, 255, (400, 300), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    table = MarksTable.empty()
    put(table, "a.png", "anna", "sella", hand(140, 71.25))
    put(table, "a.png", "anna", "nasion", hand(101.5, 52))
    put(table, "a.png", "bo", "nasion", hand(102, 53))
    put(table, "b.png", "anna", "nasion", Mark(99, 48.25, Flag.UNSURE, "model", TIME))
    put(table, "b.png", "anna", "sella", ABSENT)
    put(table, "c.png", "anna", "nasion", ABSENT)
    (tmp_path / "annotations.csv").write_text(table.text(), encoding="utf-8")
    dataset = FolderDataset(tmp_path, split="all")
    samples = dataset.samples("train")
    assert dataset.landmark_names == ("nasion", "sella") and dataset.annotator_names == ("anna", "bo")
    found = {each.image_id: each.annotations for each in samples}
    assert set(found) == {"a.png", "b.png"}
    nan = np.nan
    np.testing.assert_array_equal(found["a.png"], [[[101.5, 52], [140, 71.25]], [[102, 53], [nan, nan]]])
    np.testing.assert_array_equal(found["b.png"], [[[99, 48.25], [nan, nan]], [[nan, nan], [nan, nan]]])
    assert {each.level for each in dataset.check()} <= {"note"}


def test_rows_stand_by_image_annotator_and_landmark() -> None:
    table = MarksTable.empty()
    for image, annotator, landmark in (
        ("a", "anna", "gonion"), ("b", "anna", "sella"), ("a", "bo", "sella"), ("a", "anna", "nasion"),
        ("b", "anna", "nasion"), ("a", "anna", "sella"),
    ):  # fmt: skip
        put(table, image, annotator, landmark, hand(1, 2))
    rows = cells(table.text())
    assert rows[0] == list(COLUMNS)
    assert [row[:3] for row in rows[1:]] == [
        ["a", "anna", "nasion"], ["a", "anna", "sella"], ["a", "anna", "gonion"], ["a", "bo", "sella"],
        ["b", "anna", "nasion"], ["b", "anna", "sella"],
    ]  # fmt: skip


def test_rows_and_columns_of_others_stay(tmp_path: Path) -> None:
    """A table of somebody's own: another order, columns that mean something else, a name with commas and quotes."""
    text = (
        "comment,image,landmark,x,y,spacing,device,annotator\n"
        '"blurred, ""old""",b.png,sella,140.123456,71,0.1,Sirona,"Dr. O""Neil, MD"\n'
        ",a.png,nasion,101.5,52.000,0.1,,anna\n"
        ",gone.png,nasion,1e2,52,0.1,,anna\n"
    )
    table = MarksTable.read(written(tmp_path, text))
    put(table, "a.png", "anna", "nasion", hand(7.25, 8))
    put(table, "b.png", "anna", "gonion", hand(1, 2))
    rows = cells(table.text())
    before = cells(text)
    assert rows[0] == [*before[0], "flag", "origin", "time"]
    assert rows[1] == [*before[1], "", "", ""] and rows[4] == [*before[3], "", "", ""]
    stamp = ["visible", "by hand", TIME]
    assert rows[2] == ["", "b.png", "gonion", "1", "2", "0.1", "", "anna", *stamp]
    assert rows[3] == ["", "a.png", "nasion", "7.25", "8", "0.1", "", "anna", *stamp]


def test_nothing_changed_is_the_same_file(tmp_path: Path) -> None:
    text = "image,landmark,x,y,annotator\nb.png,sella,140.123456,71,anna\na.png,nasion,101.5,52.000,anna\n"
    assert MarksTable.read(written(tmp_path, text)).text() == text


@pytest.mark.parametrize("before", ["", "\ufeff", "sep=;\n", "\ufeffsep=;\n"])
def test_a_table_of_a_german_spreadsheet_stays_one(tmp_path: Path, before: str) -> None:
    text = before + "image;landmark;x;y\na.png;nasion;101,5;52\n"
    path = written(tmp_path, text)
    table = MarksTable.read(path)
    put(table, "a.png", "annotator", "sella", hand(140.125, 71))
    assert table.text().startswith(before + "image;landmark;x;y;annotator;flag;origin;time\n")
    path.write_text(table.text(), encoding="utf-8")
    read = read_table(path, "split")
    assert read.faults == [] and read.rows["a.png"].marks["annotator", "sella"][:2] == (140.125, 71)
    assert MarksTable.read(path).marks()[Key("a.png", "annotator", "nasion")].x == 101.5


def test_a_point_taken_away_leaves_what_others_wrote(tmp_path: Path) -> None:
    text = "image,annotator,landmark,x,y,comment\na.png,anna,nasion,1,2,look again\na.png,anna,sella,3,4,\n"
    table = MarksTable.read(written(tmp_path, text))
    put(table, "a.png", "anna", "nasion", None)
    put(table, "a.png", "anna", "sella", None)
    assert cells(table.text())[1:] == [["a.png", "anna", "nasion", "", "", "look again", "", "", ""]]
    assert table.marks() == {}


def test_an_image_without_row_gets_what_the_columns_ask_for(tmp_path: Path) -> None:
    """Else the folder data set would refuse the table: no part, no size, no spacing."""
    text = (
        "image,landmark,x,y,set,width,height,spacing\n"
        "a.png,nasion,1,2,train,300,400,0.1\nb.png,nasion,1,2,test,300,400,0.1\n"
    )
    table = MarksTable.read(written(tmp_path, text))
    table.put(Key("c.png", "annotator", "nasion"), hand(5, 6), ORDER, ImageCells((30, 40), (0.125, 0.125)))
    table.put(Key("b.png", "annotator", "sella"), hand(5, 6), ORDER, ImageCells((300, 400)))
    rows = {(row[0], row[1]): row[4:8] for row in cells(table.text())[1:]}
    assert rows["c.png", "nasion"] == ["train", "30", "40", "0.125"]
    assert rows["b.png", "sella"] == ["test", "300", "400", "0.1"]


def test_points_of_a_wide_table_are_copied(tmp_path: Path) -> None:
    text = (
        "image,nasion_x,nasion_y,sella_x,sella_y,spacing,split\n"
        "a.png,101.5000001,52,140,71,0.1,train\nb.png,99,48,,,0.1,test\n"
    )
    path = written(tmp_path, text)
    with pytest.raises(OtherFormError, match="wide"):
        MarksTable.read(path)
    copied = MarksTable.copied(read_table(path, "split"))
    path.write_text(copied.text(), encoding="utf-8")
    again = read_table(path, "split")
    assert again.faults == [] and again.landmark_names == ("nasion", "sella")
    assert again.rows["a.png"].marks["annotator", "nasion"][:2] == (101.5000001, 52)
    assert again.rows["b.png"].marked == [("annotator", "nasion")]
    assert again.rows["b.png"].part == "test" and again.rows["b.png"].spacing == (0.1, 0.1)


def test_a_table_with_faults_is_refused_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels.csv:3: .*twice"):
        MarksTable.read(written(tmp_path, "image,landmark,x,y\na.png,nasion,1,2\na.png,nasion,3,4\n"))


@pytest.mark.parametrize(("column", "cell"), [("time", "3 s"), ("origin", "Berlin"), ("flag", "12")])
def test_a_column_that_means_something_else_is_not_written_to(tmp_path: Path, column: str, cell: str) -> None:
    with pytest.raises(OtherFormError, match=column):
        MarksTable.read(written(tmp_path, f"image,landmark,x,y,{column}\na.png,nasion,1,2,{cell}\n"))


def test_a_table_is_read_again_while_two_names_alike_are_half_marked(tmp_path: Path) -> None:
    """N and n of a cephalogram, or Anna who forgot her capital letter: what was marked must not lock itself out."""
    text = "image,annotator,landmark,x,y\na.png,anna,N,1,2\nb.png,Anna,n,1,2\n"
    assert len(MarksTable.read(written(tmp_path, text)).marks()) == 2


@pytest.mark.parametrize("name", ["=1+1", "+a", "-5", "@x", "'quoted", "plain"])
def test_a_name_that_a_spreadsheet_would_run_is_escaped_and_read_back(tmp_path: Path, name: str) -> None:
    table = MarksTable.empty()
    put(table, f"{name}.png", name, name, hand(1, 2))
    path = written(tmp_path, table.text())
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in cells(table.text()) for cell in row)
    assert list(MarksTable.read(path).marks()) == [Key(f"{name}.png", name, name)]
    read = read_table(path, "split")
    assert list(read.rows) == [f"{name}.png"] and read.landmark_names == (name,) and read.annotator_names == (name,)


def test_a_header_alone_is_a_beginning(tmp_path: Path) -> None:
    assert MarksTable.read(written(tmp_path, ",".join(COLUMNS) + "\n")).marks() == {}


_names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
_marks = st.one_of(
    st.builds(hand, *[st.floats(-0.5, 299).map(lambda v: round(v, 3) + 0.0)] * 2),
    st.just(ABSENT),
    st.none(),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_names, _names, st.sampled_from(list(ORDER)), _marks), max_size=12))
def test_what_was_put_last_is_read_again(tmp_path_factory: pytest.TempPathFactory, changes) -> None:
    table, expected = MarksTable.empty(), {}
    for image, annotator, landmark, mark in changes:
        put(table, image, annotator, landmark, mark)
        expected[Key(image, annotator, landmark)] = mark
    expected = {key: mark for key, mark in expected.items() if mark is not None}
    assert {k: mark_json(m) for k, m in table.marks().items()} == {k: mark_json(m) for k, m in expected.items()}
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    path.write_text(table.text(), encoding="utf-8")
    try:
        again = MarksTable.read(path).marks()
    except DataError as error:  # names that the reader itself doubts, such as two that differ in case alone
        assert "is written" in str(error) or not expected
        return
    assert {k: mark_json(m) for k, m in again.items()} == {k: mark_json(m) for k, m in expected.items()}


@pytest.mark.parametrize(
    ("value", "comma", "text"),
    [(1.0, False, "1"), (-0.0001, False, "0"), (10.25, False, "10.25"), (1.2345, False, "1.234"), (100, False, "100"),
     (1.5, True, "1,5"), (1.125, True, "1,1250"), (12.0, True, "12")],
)  # fmt: skip
def test_numbers_have_as_many_decimals_as_they_need(value: float, comma: bool, text: str) -> None:
    assert number_text(value, comma) == text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"x": 1}, "y: found None"), ({"x": 299.5, "y": 0}, "outside the image"), ({"x": -0.6, "y": 0}, "outside"),
        ({"x": float("nan"), "y": 0}, "expected a number"), ({"x": True, "y": 0}, "expected a number"),
        ({"x": 1, "y": 2, "flag": "absent"}, "one of them"), ({"x": 1, "y": 2, "origin": "moon"}, "expected one of"),
        ({"x": 1, "y": 2, "flag": 1}, "expected one of"), ([1, 2], "or null"), ({"z": 3}, "or null"),
    ],
)  # fmt: skip
def test_what_is_no_mark_is_refused(value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_mark(value, (300, 400), "nasion")


def test_a_mark_is_read() -> None:
    assert read_mark({"x": 1.23456, "y": -0.5, "origin": "model"}, (300, 400), "n") == Mark(1.235, -0.5, origin="model")
    assert read_mark({"x": None, "y": None, "flag": "absent"}, (3, 4), "n").flag is Flag.ABSENT
    assert read_mark(None, (300, 400), "nasion") is None


@pytest.mark.parametrize(
    ("name", "written"),
    [("=1", "'=1"), ("'=1", "''=1"), ("''@", "'''@"), ("'tis", "'tis"), ("'", "'"), ("a=1", "a=1"), ("\tx", "'\tx")],
)
def test_a_name_for_a_spreadsheet_is_read_as_it_was(name: str, written: str) -> None:
    assert safe_name(name) == written
    assert plain_name(written) == name

"""What the columns of a user's table mean: nothing is dropped without a word, nothing is said twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.folder.table import LabelTable, read_table

POINTS = {"a": ("1.5,2", "3,4"), "b": ("5,6", "7,8"), "c": ("9,10", "11,12")}


def table(
    folder: Path, columns: str, *more: str, header: str = "image,nasion_x,nasion_y,sella_x,sella_y"
) -> LabelTable:
    """Read a table of three images with further ``columns`` and their cells in each row."""
    rows = [",".join([image, *POINTS[image], *more[place : place + 1]]) for place, image in enumerate(POINTS)]
    path = folder / "points.csv"
    path.write_text("\n".join([f"{header},{columns}" if columns else header, *rows]), encoding="utf-8")
    return read_table(path, "split")


def points(found: LabelTable) -> dict[str, list[list[float]]]:
    return {image: found.annotations(row)[0].tolist() for image, row in found.rows.items()}


EXPECTED = {"a": [[1.5, 2], [3, 4]], "b": [[5, 6], [7, 8]], "c": [[9, 10], [11, 12]]}


@pytest.mark.parametrize(
    "name",
    [
        "spacing", "spacing(mm)", "spacing (mm)", "Spacing [mm]", "spacing_mm", "pixel_spacing", "Pixel Spacing (mm)",
        "PixelSpacing", "mm_per_pixel", "mm/px", "pixel size mm", "spacing (mm/px)",
    ],
)  # fmt: skip
def test_a_spacing_is_read_however_it_is_spelt(tmp_path: Path, name: str) -> None:
    found = table(tmp_path, name, "0.1", "0.2", "0.3")
    assert [row.spacing for row in found.rows.values()] == [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]
    assert points(found) == EXPECTED and found.notes == []


@pytest.mark.parametrize("names", ["spacing_x,spacing_y", "Spacing X (mm),Spacing Y (mm)", "y_spacing,pixel_spacing_x"])
def test_a_spacing_for_each_axis(tmp_path: Path, names: str) -> None:
    found = table(tmp_path, names, *["0.1,0.2"] * 3)
    swapped = names.startswith("y")
    assert {row.spacing for row in found.rows.values()} == {(0.2, 0.1) if swapped else (0.1, 0.2)}


@pytest.mark.parametrize(
    "name", ["dpi", "px_per_mm", "resolution", "spacing (um)", "spacing_cm", "pixel pitch", "scale", "spacing_z"]
)
def test_what_looks_like_a_spacing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"points\.csv:1: the column '.*' looks like a spacing, which is read from"):
        table(tmp_path, name, "1", "1", "1")


@pytest.mark.parametrize(
    "header",
    [
        "nasion x,nasion y,sella_x,sella_y", "x_nasion,y_nasion,x_sella,y_sella", "nasion-X,nasion-Y,sella.x,sella.y",
        "nasion (x),nasion (y),sella[x],sella[y]", "nasionX,nasionY,sellax,sellay", "nasion_x,y_nasion,sella X,Y sella",
        "nasion_x_px,nasion_y_px,sella x (px),sella y (px)", "Nasion_x,nasion_y,Sella_X,sella y",
    ],
)  # fmt: skip
def test_a_landmark_is_read_however_it_is_spelt(tmp_path: Path, header: str) -> None:
    """``nasion x`` beside ``sella_x`` gave sella alone."""
    found = table(tmp_path, "", header="image," + header)
    assert [name.lower() for name in found.landmark_names] == ["nasion", "sella"] and points(found) == EXPECTED


@pytest.mark.parametrize("header", ["x1,y1,x2,y2", "x 1,y 1,x 2,y 2", "X-1,Y-1,X_02,y2", "x1_px,y1_px,x2 (px),y2 (px)"])
def test_numbered_landmarks(tmp_path: Path, header: str) -> None:
    found = table(tmp_path, "", header="image," + header)
    assert found.landmark_names == ("1", "2") and points(found) == EXPECTED


def test_names_that_differ_in_more_than_form_stay_apart(tmp_path: Path) -> None:
    found = table(tmp_path, "", header="image,p1_1_x,p1_1_y,p11_x,p11_y")
    assert found.landmark_names == ("p1_1", "p11")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("nasion_x,nasion_y,sella_x,sella_z", "the column 'sella_x' has no partner"),
        ("nasion_x,nasion_y,sella X,other", "the column 'sella X' has no partner"),
        ("nasion_x,nasion_y,x,y", "the column 'x' names no landmark"),
        ("x,y,x.1,y.1", "the column 'x' names no landmark"),  # what pandas makes of x,y,x,y
        ("nasion_x,nasion_y,sella_x_mm,sella_y_mm", "the column 'sella_x_mm' looks like a coordinate in another unit"),
        ("x1 (%),y1 (%),x2 (%),y2 (%)", r"the column 'x1 \(%\)' looks like a coordinate in another unit"),
        ("nasion_x,nasion_y,Nasion x,nasion-y", "the columns 'nasion_x' and 'Nasion x' are the same coordinate"),
        ("x1,y1,x_1,y_1", "the columns 'x1' and 'x_1' are the same coordinate"),
        ("landmark,x,y,x1", "the column 'x1' looks like a coordinate beside the columns 'landmark', x and y"),
        ("landmark,x,y,sella x", "the column 'sella x' looks like a coordinate beside"),
        ("landmark,x,y,x_px", "the columns 'x' and 'x_px' both say x"),
    ],
)
def test_what_looks_like_a_coordinate_is_refused(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"points\.csv:1: {said}"):
        table(tmp_path, "", header="image," + header)


@pytest.mark.parametrize("names", ["spacing,pixel_spacing", "spacing(mm),spacing_mm", "spacing_x,x_spacing"])
def test_two_spacings_are_refused(tmp_path: Path, names: str) -> None:
    with pytest.raises(DataError, match=r"both say the spacing; remove one of them"):
        table(tmp_path, names, *["0.1,0.2"] * 3)


def test_unused_columns_are_named_in_one_line(tmp_path: Path) -> None:
    columns = "age,x-ray date,nasion_z,x_min,y_min,Unnamed: 0,,"
    found = table(tmp_path, columns, "3,2019,0,1,1,0,,", "4,2020,0,1,1,1,,", "5,2021,0,1,1,2,7,")
    assert found.landmark_names == ("nasion", "sella") and found.notes == [
        "not used: the columns age, x-ray date, nasion_z, x_min, y_min, Unnamed: 0, (column 12, without a name)"
    ]


def test_the_words_of_the_long_form(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("File,Observer,Point,x (px),Y_px,x_mm,y_mm\na,anna,N,1,2,9,9\na,anna,n,3,4,9,9\na,bo,N,5,6,9,9\n")
    found = read_table(path, "split")
    assert found.landmark_names == ("N", "n") and found.annotator_names == ("anna", "bo")
    assert found.rows["a"].marks == {("anna", "N"): (1, 2, 2), ("anna", "n"): (3, 4, 3), ("bo", "N"): (5, 6, 4)}
    assert found.notes == ["not used: the columns x_mm, y_mm"] and found.faults == []


@pytest.mark.parametrize(("first", "second"), [("Nasion", "nasion"), ("A point", "A_point"), ("Ü", "U\u0308")])
def test_a_landmark_in_two_spellings_is_a_fault_once(tmp_path: Path, first: str, second: str) -> None:
    path = tmp_path / "points.csv"
    rows = [f"{image},{name},1,2" for image, name in (("a", first), ("b", second), ("c", second))]
    path.write_text("\n".join(["image,landmark,x,y", *rows]), encoding="utf-8")
    (fault,) = read_table(path, "split").faults
    assert fault.line == 3 and f"the landmark {second!r} is written {first!r} in line 2" in str(fault)


PARTS = ("train", "Val", "TEST")


@pytest.mark.parametrize("name", ["set", "subset", "fold", "author_split", "phase", "Partition"])
def test_a_column_that_divides_the_images_is_the_split(tmp_path: Path, name: str) -> None:
    found = table(tmp_path, name, *PARTS)
    assert found.split_column == name and [row.part for row in found.rows.values()] == list(PARTS)
    assert found.notes == [] and found.split_doubt is None


@pytest.mark.parametrize(
    ("name", "cells", "said"),
    [
        ("fold", ("0", "1", "2"), "the column 'fold' looks like a split, but holds '0', '1', '2'; expected train"),
        ("cv_fold", ("0", "1", "1"), "the column 'cv_fold' looks like a split"),
        ("set", ("train", "holdout", "test"), "the column 'set' looks like a split, but holds 'holdout', 'test'"),
        ("set", ("train", "", "test"), "the column 'set' looks like a split, but holds '', 'test', 'train'"),
        ("is_train", ("1", "1", "0"), "the column 'is_train' looks like a split"),
        ("a,b", ("train,test", "train,val", "test,train"), "the columns 'a' and 'b' divide the images in different"),
    ],
)
def test_what_looks_like_a_split_and_is_none(tmp_path: Path, name: str, cells: tuple[str, ...], said: str) -> None:
    found = table(tmp_path, name, *cells)
    assert found.split_column is None and said in str(found.split_doubt)


@pytest.mark.parametrize(("name", "cells"), [("set", "abc"), ("age", "345"), ("subset", "aaa"), ("latest", "012")])
def test_other_columns_are_no_split(tmp_path: Path, name: str, cells: str) -> None:
    found = table(tmp_path, name, *cells)
    assert found.split_doubt is None and found.notes == [f"not used: the column {name}"]


def test_a_column_split_counts_before_another_that_divides_the_images(tmp_path: Path) -> None:
    found = table(tmp_path, "set,split", "test,train", "train,train", "train,test")
    assert found.split_column == "split" and found.notes == ["not used: the column set"]


@pytest.mark.parametrize("name", ["patient", "Patient ID", "subject", "PatientID", "group"])
def test_the_patient(tmp_path: Path, name: str) -> None:
    found = table(tmp_path, name, "P1", "NA", "P1")
    assert found.patient_column == name and [row.patient for row in found.rows.values()] == ["P1", "", "P1"]

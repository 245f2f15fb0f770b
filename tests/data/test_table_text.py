"""Tables as programs write them: encodings, delimiters, decimal commas, missing values, files that are no CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.folder.numbers import number_parser
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.data.sources.folder.table import LabelTable, read_table

TEXT = "image,Müller_x,Müller_y,tip_x,tip_y\na,1.5,2,3,4\nb,5.25,6,7,8\n"
EXPECTED = {"a": [[1.5, 2], [3, 4]], "b": [[5.25, 6], [7, 8]]}


def read(folder: Path, content: str | bytes) -> LabelTable:
    path = folder / "points.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, "split")


def points(found: LabelTable) -> dict[str, list[list[float]]]:
    assert found.faults == []
    return {image: found.annotations(row)[0].tolist() for image, row in found.rows.items()}


SEMICOLONS = TEXT.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (TEXT.encode("utf-8-sig"), []), (TEXT.encode("utf-16"), []), (TEXT.encode("utf-16-le"), []),
        (TEXT.encode("utf-16-be"), []), (b"\xfe\xff" + TEXT.encode("utf-16-be"), []),
        (TEXT.replace(",", "\t").encode("utf-16"), []),  # Unicode text of Excel
        (TEXT.encode("cp1252"), ["the file is not UTF-8; it was read as Windows-1252 (Western European)"]),
        (TEXT.replace(",", "|"), []), (TEXT.replace("\n", "\r"), []), ("\n\n" + TEXT, []),
        (SEMICOLONS, ["decimal comma in 2 cells, such as 1,5 in line 2"]),
        ("sep=;\n" + SEMICOLONS, ["decimal comma in 2 cells, such as 1,5 in line 3"]),
        ('"sep=,"\r\n' + TEXT, []), ("sep=\t\n" + TEXT.replace(",", "\t"), []),
        (TEXT.replace("1.5", '"1,5"').replace("5.25", '"5,25"'), ["decimal comma in 2 cells, such as 1,5 in line 2"]),
        (TEXT.replace("\n", ",,\n") + ",,,,,,\n", []), (TEXT.replace("4\n", "4,,,\n"), []),
        (TEXT.replace("tip_y", '"tip_y"').replace("1.5", '"1.5"'), []),
    ],
)  # fmt: skip
def test_a_table_is_read_whatever_wrote_it(tmp_path: Path, content: str | bytes, notes: list[str]) -> None:
    found = read(tmp_path, content)
    assert found.landmark_names == ("Müller", "tip") and points(found) == EXPECTED and found.notes == notes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "the file is no whole Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"the file is an Excel workbook \(\.xls\)"),
        ("<html><body><table>", "the file is a web page or XML and no CSV"),
        ("\n <!DOCTYPE html>", "the file is a web page or XML and no CSV"),
        (b"%PDF-1.7", "the file is a PDF"),
        ("sep=x\n" + TEXT, "sep=x: expected a comma, semicolon, tab or |"),
        (TEXT.split("\n", 1)[1], r"csv:1: the header line is missing: found a, 1\.5, 2, 3, 4; expected"),
        ("a;1,5;2;3;4\n", "csv:1: the header line is missing"),
        ("My study\n2019\n" + TEXT, r"csv:1: the header seems to stand in line 3; remove what is above it"),
        (TEXT.replace(",", " "), "found image Müller_x .*, cells separated by commas"),
        (TEXT.encode("utf-16")[:-1], "damaged UTF-16"),
        (TEXT.encode() + "ö".encode("cp1252"), "neither UTF-8 nor Windows-1252"),
        (b"image,x1,y1\n\x81,1,2\n", "neither UTF-8 nor Windows-1252"),
        (
            SEMICOLONS.replace("5,25", "5.25"),
            r"csv:2: decimal comma in 1 cell \('1,5'\) beside decimal points in 1 cell \('5\.25' in line 3\)",
        ),
        (SEMICOLONS.replace("1,5", "1,512").replace("5,25", "2,048"), r"the comma in 2 cells \('1,512'\) can be"),
    ],
)
def test_what_is_no_table_or_ambiguous_is_refused_by_name(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, content)


def test_decimal_commas_between_commas_are_one_fault(tmp_path: Path) -> None:
    rows = "".join(f"{image},1,5,2,5\n" for image in "abcdefgh")
    (fault,) = read(tmp_path, "image,x1,y1\n" + rows).faults
    assert fault.line == 2 and "found 5 cells in all 8 rows, expected 3 as in the header: decimal commas" in str(fault)


def test_words_for_a_missing_point_are_counted(tmp_path: Path) -> None:
    words = ("NA", "nan", "NaN", "None", "null", "N/A", "#N/A", "-")
    rows = "".join(f"{number},{word},{word},3,4\n" for number, word in enumerate(words)) + "8,,NA,3,4\n"
    found = read(tmp_path, "image,x1,y1,x2,y2\n" + rows)
    assert all(points(found)[str(number)][1] == [3, 4] for number in range(9))
    assert all(np.isnan(points(found)[str(number)][0]).all() for number in range(9))
    assert found.notes[0].startswith("read as missing: 'NA' in 3 cells, 'nan' in 2 cells")


def test_half_a_point_and_infinity_stay_faults(tmp_path: Path) -> None:
    found = read(tmp_path, "image,x1,y1\na,NA,4\nb,inf,4\nc,1,2\n")
    half, infinite = map(str, found.faults)
    assert "only one of x and y" in half and "expected a finite number" in infinite


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1,234.5", "12.5"], [1234.5, 12.5]), (["1.234,5", "12,5"], [1234.5, 12.5]),
        (["1 234", "1'234.5", "1\u202f234", "-7"], [1234, 1234.5, 1234, -7]),
        (["1 234,5", ",5", "7"], [1234.5, 0.5, 7]),
        (["1,234,567"], [1234567]), (["0,123", "1,234"], [0.123, 1.234]), (["1,5e2"], [150]),
    ],
)  # fmt: skip
def test_thousands_and_decimals(texts: list[str], values: list[float]) -> None:
    parse, _ = number_parser(list(enumerate([[text] for text in texts])), [0], Path("points.csv"))
    assert [parse(text) for text in texts] == values


@pytest.mark.parametrize("text", ["12 13", "1 23", "1,2,3", "1_000", "", "7px", "1.2.3", "nan"])
def test_no_numbers(text: str) -> None:
    for others in (["1.5"], ["1,5"]):
        parse, _ = number_parser([(1, others)], [0], Path("points.csv"))
        with pytest.raises(ValueError, match="found"):
            parse(text)


def test_which_file_of_a_folder_is_the_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no CSV file in this folder; expected the one with the landmarks"):
        FolderDataset(tmp_path)
    (tmp_path / "points.txt").write_text(TEXT)
    with pytest.raises(DataError, match=r"if it is points\.txt, name it by --data\.dataset_options\.csv NAME"):
        FolderDataset(tmp_path)
    (tmp_path / "points.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DataError, match=r"no CSV file in this folder, but the workbook points\.xls; save it as CSV"):
        FolderDataset(tmp_path)
    (tmp_path / "POINTS.CSV").write_text(TEXT)
    assert FolderDataset(tmp_path).table.path.name == "POINTS.CSV"
    (tmp_path / "more.tsv").write_text(TEXT)
    with pytest.raises(DataError, match=r"2 CSV files in this folder \(POINTS\.CSV, more\.tsv\)"):
        FolderDataset(tmp_path)

"""``ldx data convert``: what it says of what it read, left out and could not write; nothing is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image

from landmark_diffusion.cli.entry import main
from tests.detection.bad_inputs import write_dicom

TWO = """image,annotator,landmark,x,y,flag
sub/a.png,anna,N,1.5,2,hidden
sub/a.png,anna,S,,,absent
sub/a.png,bo,N,2.5,4,
sub/a.png,bo,S,7,8,
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(tmp_path / "images" / "sub" / "a.png")
    (tmp_path / "two.csv").write_text(TWO)
    return tmp_path


def convert(line: str) -> int:
    return main(["data", "convert", *line.split()])


def test_it_says_what_it_read_and_what_is_not_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("two.csv --to labelme --annotator anna --images images --output out") == 0
    assert capsys.readouterr().out.splitlines() == [
        "read our CSV: 1 image, 2 landmarks (N, S), 3 points (1 hidden, 1 absent)",
        "annotators: anna, bo",
        "wrote out (LabelMe)",
        "not kept: LabelMe keeps no annotator's name",
    ]
    assert json.loads((folder / "out" / "sub" / "a.json").read_text())["imageWidth"] == 30
    assert convert("out --to csv --output back.csv --images images") == 0
    assert (folder / "back.csv").read_text().splitlines()[1:] == [
        "sub/a.png,annotator,N,1.5,2.0,hidden,30,40",
        "sub/a.png,annotator,S,,,absent,30,40",
    ]


def test_a_mean_is_never_taken_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("two.csv --to coco --output out.json") == 1
    said = capsys.readouterr().err
    assert "COCO keypoints holds one annotator, and 2 marked: anna, bo; choose one by --annotator NAME" in said
    assert not (folder / "out.json").exists()
    assert convert("two.csv --to coco --output out.json --annotator mean") == 0
    (entry,) = json.loads((folder / "out.json").read_text())["annotations"]
    assert entry["keypoints"] == [2.0, 3.0, 1, 7.0, 8.0, 2]
    assert convert("two.csv --to coco --output other.json --annotator ana") == 1
    assert "found 'ana', which nobody is called. Did you mean anna?" in capsys.readouterr().err


def test_nothing_is_overwritten_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("two.csv --to label-studio --images images --output out.json") == 0
    before = (folder / "out.json").read_bytes()
    assert convert("two.csv --to label-studio --images images --annotator bo --output out.json") == 1
    assert "out.json exists already and was left as it is" in " ".join(capsys.readouterr().err.split())
    assert (folder / "out.json").read_bytes() == before
    assert convert("two.csv --to label-studio --images images --annotator bo --output out.json --overwrite") == 0
    assert (folder / "out.json").read_bytes() != before
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine")
    assert convert("two.csv --to labelme --annotator bo --output full") == 1
    assert convert("two.csv --to labelme --annotator bo --output full --overwrite") == 0
    assert (folder / "full" / "mine.txt").read_text() == "mine" and (folder / "full" / "sub" / "a.json").is_file()
    assert not list(folder.glob(".tmp-*"))


def test_a_size_of_another_copy_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = TWO.replace("flag\n", "flag,width,height\n").replace("hidden\n", "hidden,60,80\n")
    (folder / "two.csv").write_text(rows.replace("absent\n", "absent,60,80\n").replace(",\n", ",,60,80\n"))
    assert convert("two.csv --to csv --output out.csv --images images") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "sub/a.png: the labels say 60x80 px, the file images/sub/a.png has 30x40" in said


def test_sizes_and_spacing_of_dicom_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dicom(folder / "images" / "x.dcm", np.zeros((40, 30), np.uint8), ImagerPixelSpacing=[0.2, 0.1])
    (folder / "x.csv").write_text("image,N_x,N_y\nx.dcm,3,4\n")
    assert convert("x.csv --to csv --output out.csv --images images") == 0
    assert (folder / "out.csv").read_text().splitlines()[1] == "x.dcm,annotator,N,3.0,4.0,30,40,0.1,0.2"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("none.csv --to csv --output out.csv", "none.csv: there is no file and no folder of this name"),
        ("two.csv --to cocoa --output out", "Did you mean coco"),
        ("images/sub/a.png --to csv --output out.csv", "found labels of no form that is known"),
        ("empty.json --to csv --output out.csv", "empty.json: the file is empty"),
        ("empty.json --from coco --to csv --output out.csv", "empty.json: the file is empty"),
        (
            "two.csv --from cvat --to coco --output out.csv",
            "the file is no whole XML (syntax error); by its content it is csv: leave out --from cvat",
        ),
        ("images --to csv --output out.csv", "found no labels of a form that is known here"),
        ("two.csv --from coco --to csv --output out.csv", "two.csv:1: the file is no whole JSON"),
        ("two.csv --to csv --output out.csv --images none", "none: --images: there is no folder of this name"),
        ("two.csv --to csv", "the following arguments are required: --output"),
    ],
)
def test_what_cannot_be_done_is_said(line: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty.json").write_text("\n")
    assert convert(line) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (folder / "out.csv").exists()


def test_of_two_files_in_a_folder_one_has_to_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(". --to coco --annotator bo --output labels.json") == 0
    capsys.readouterr()
    assert convert(". --to csv --output out.csv") == 1
    assert "found 2 files with labels, labels.json (coco), two.csv (csv)" in " ".join(capsys.readouterr().err.split())


def _labelme(path: Path, image: str, *points: tuple[str, float, float]) -> None:
    shapes = [{"label": name, "points": [[x, y]], "shape_type": "point"} for name, x, y in points]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"shapes": shapes, "imagePath": image, "imageWidth": 30, "imageHeight": 40}))


def test_points_outside_and_names_that_are_nearly_one_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        _labelme(folder / "lm" / f"{number}.json", f"{number}.png", ("Pog'", 3, 4), ("N", 31 if number == 2 else 5, 6))
    _labelme(folder / "lm" / "4.json", "4.png", ("pog'", 3, 4), ("N", 5, 6))
    assert convert("lm --to csv --output out.csv") == 0
    said = capsys.readouterr().out
    assert "warning: 1 point lies outside the image: 'N' of 2.png at (30.5, 5.5) of 30x40 px" in said
    assert """warning: landmark "pog'" is marked in 1 of 5 images; did you mean "Pog'"?""" in said
    (folder / "lm" / "3.json").unlink()
    _labelme(folder / "lm" / "5.json", "5.png", ("pog'", 3, 4), ("N", 5, 6))
    assert convert("lm --to csv --output more.csv") == 0
    assert """landmarks "pog'" and "Pog'" are nearly the same name""" in capsys.readouterr().out
    assert convert("two.csv --to csv --output same.csv") == 0
    assert "warning" not in capsys.readouterr().out


def test_two_annotators_in_a_form_of_one_are_told_the_way_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for who in ("anna", "bo"):
        _labelme(folder / "lm" / who / "a.json", "../../images/sub/a.png", ("N", 3, 4))
    assert convert("lm --to csv --output out.csv") == 1
    said = capsys.readouterr().err
    assert "lm/bo/a.json: the image" in said and "is there twice, before in lm/anna/a.json" in said
    assert "write their names into the column annotator, and put the rows into one table" in said
    tables = []
    for who in ("anna", "bo"):  # as it says
        assert convert(f"lm/{who} --images images --to csv --output {who}.csv") == 0
        header, *rows = (folder / f"{who}.csv").read_text().splitlines()
        tables += [row.replace("annotator", who) for row in rows]
    (folder / "both.csv").write_text("\n".join([header, *tables]))
    capsys.readouterr()
    assert convert("both.csv --images images --to csv --output joined.csv") == 0
    said = capsys.readouterr().out
    assert "1 image, 1 landmark (N), 2 points" in said and "annotators: anna, bo" in said


def test_what_is_wrong_with_the_one_file_is_said_without_its_form(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = openpyxl.Workbook()
    book.active.append(["image", "N_x", "N_y"])
    book.active.append(["a.png", 3, 4])
    book.create_sheet("notes").append(["by anna"])
    book.save(folder / "two.xlsx")
    assert convert("two.xlsx --to csv --output out.csv") == 1
    assert "two.xlsx: the workbook has 2 filled sheets ('Sheet', 'notes'), expected one" in capsys.readouterr().err
    book = openpyxl.Workbook()
    for row in (["Measurements of 2024"], ["image", "N_x", "N_y"], ["a.png", 3, 4]):
        book.active.append(row)
    (folder / "titled").mkdir()
    book.save(folder / "titled" / "titled.xlsx")
    for source in ("titled", "titled/titled.xlsx"):
        assert convert(f"{source} --to csv --output out.csv") == 1
        assert "titled.xlsx:1: the header seems to stand in line 2; remove what is above" in capsys.readouterr().err
    _labelme(folder / "cut" / "a.json", "a.png", ("N", 3, 4))
    whole = (folder / "cut" / "a.json").read_text()
    (folder / "cut" / "a.json").write_text(whole[:60])
    assert convert("cut --to csv --output out.csv") == 1
    assert "cut/a.json:1: the file is no whole JSON" in capsys.readouterr().err
    (folder / "cut" / "a.json").write_text(whole.replace('"label": "N", ', ""))
    assert convert("cut --to csv --output out.csv") == 1
    assert "cut/a.json: shapes[0].label: found None, expected a text" in capsys.readouterr().err


def test_an_unknown_form_is_told_the_forms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("two.csv --to png --output out.png") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "unknown form of labels 'png'. Known: coco, labelme, cvat," in said and "xlsx, csv" in said

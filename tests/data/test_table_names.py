"""Images whose names in the table differ from their files': matched where that is certain, else told once."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from landmark_diffusion.data.sources.folder.images import FileIndex, ImageMatch, differences, find_images
from landmark_diffusion.data.sources.folder.table import read_table

NFC, NFD = (unicodedata.normalize(form, "Müller.png") for form in ("NFC", "NFD"))


def match(folder: Path, names: Sequence[str], files: Sequence[str]) -> ImageMatch:
    """Look for names of a table among files, beside it and in ``images``."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")
    path = folder / "points.csv"
    path.write_text("\n".join(["image,x1,y1", *(f'"{name}",1,2' for name in names)]), encoding="utf-8")
    return find_images(read_table(path, "split"), FileIndex([folder, folder / "images"]))


@pytest.mark.parametrize(
    ("name", "file", "how"),
    [
        (NFC, NFD, "the Unicode form"), (NFD, NFC, "the Unicode form"), ("a.PNG", "a.png", "case"),
        ("A", "a.png", "case"), ("IMG_1.png", "img_1.PNG", "case"), ("1", "001.png", "leading zeros"),
        ("img007.png", "img7.png", "leading zeros"), ("a.jpeg", "a.jpg", "the ending"),
        ("a.TIF", "a.tiff", "the ending"),
        ("images\\a.PNG", "images/a.png", "the slash and case"), ("p1/A.png", "p1/a.png", "case"),
        (unicodedata.normalize("NFD", "Ü1").upper(), "ü01.png", "the Unicode form and leading zeros and case"),
    ],
)  # fmt: skip
def test_a_name_that_differs_in_form_is_matched_and_told(tmp_path: Path, name: str, file: str, how: str) -> None:
    found = match(tmp_path, [name, "other"], [file, "other.png"])
    assert found.images[name] == tmp_path / file and found.faults == []
    shown = Path(file).name
    assert found.notes == [f"1 name matched although the file differs in {how}: {name!r} is {shown!r}"]


@pytest.mark.parametrize(
    ("name", "file"), [("images\\001.png", "images/001.png"), (" a.png ", "a.png"), ("p\\q\\a", "p/q/a.tif")]
)
def test_names_that_need_no_word(tmp_path: Path, name: str, file: str) -> None:
    found = match(tmp_path, [name], [file])
    assert list(found.images.values()) == [tmp_path / file] and not found.faults and not found.notes


def test_24_names_are_told_once(tmp_path: Path) -> None:
    numbers = range(1, 25)
    found = match(tmp_path, [str(number) for number in numbers], [f"{number:03d}.png" for number in numbers])
    assert found.images == {str(number): tmp_path / f"{number:03d}.png" for number in numbers} and not found.faults
    assert found.notes == ["24 names matched although the file differs in leading zeros: '1' is '001.png', ..."]


@pytest.mark.parametrize(
    ("names", "files", "said"),
    [
        (["a.tif", "b.tif"], ["a.png", "b.png"],
         "2: the image 'a.tif' is not there; the nearest file a.png differs in the ending (and 1 more"),
        (["1"], ["01.png", "001.png"], "2: the image '1' can mean 001.png, 01.png"),
        (["1", "001"], ["001.png"], "2: the image '1' could be 001.png, but that is the image of line 3"),
        (["1", "01"], ["001.png"], "2: the image '1' could be 001.png, but so could '01' in line 3 (and 1 more"),
        (["a.png", "A.PNG"], ["a.png"], "3: the image 'A.PNG' could be a.png, but that is the image of line 2"),
        (["IMG_00l"], ["IMG_001.png"], "; the nearest file is IMG_001.png"),
        (["D:\\xrays\\A.png", "D:\\xrays\\B.png"], ["a.png", "b.png"],
         "; the nearest file is a.png, in another folder than the name says (and 1 more like it, in line 3)"),
        (["/x/a.png"], ["a.png", "images/a.png"], "2: the image '/x/a.png' can mean "),
        (["/x/a.png", "/y/a.png"], ["a.png"], "2: the image '/x/a.png' could be a.png, but so could '/y/a.png' in"),
        (["/x/a.png", "a.png"], ["a.png"], "could be a.png, but that is the image of line 3"),
        (["images/a.png"], ["a.png", "images/b.png"], "the nearest file is a.png, in another folder than the name"),
        (["zebra"], ["a.png"], "2: the image 'zebra' is not there; looked in "),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_one_fault(tmp_path: Path, names: list[str], files: list[str], said: str) -> None:
    (fault,) = match(tmp_path, names, files).faults
    assert said in str(fault)


@pytest.mark.parametrize("folder", ["/home/ann/xrays/", "xrays/", "D:\\xrays\\", "../elsewhere/"])
def test_a_table_that_was_made_elsewhere_finds_its_images_beside_it(tmp_path: Path, folder: str) -> None:
    """points.csv of ``ldx detect`` says the path as it was given, which leads nowhere from where it is put."""
    names = [f"{folder}{name}" for name in ("a.png", "b.png")]
    found = match(tmp_path, names, ["a.png", "images/b.png"])
    assert found.images == dict(zip(names, (tmp_path / "a.png", tmp_path / "images" / "b.png"), strict=True))
    assert not found.faults
    assert found.notes == [f"2 names matched although the file differs in the folder: {names[0]!r} is 'a.png', ..."]


def test_exact_names_come_first_and_keep_their_files(tmp_path: Path) -> None:
    found = match(tmp_path, ["1", "01", "A"], ["1.png", "01.png", "001.png", "a.png"])
    assert [path.name for path in found.images.values()] == ["1.png", "01.png", "a.png"]


def test_differences_of_equal_names() -> None:
    assert differences("a.png", "a.png") == differences("a", "a.png") == []

"""Faults in the user's data end ``ldx fit`` with one message that names file and line, before training starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.console import NETWORK, ldx
from tests.end_to_end.folders import cut_in_half, make_folder, make_isbi, set_line

ISBI = ("--config", "ceph_diffusion_small.yaml", *NETWORK)
FOLDER = (
    *("--config", "phantom_diffusion_paper_a.yaml", *NETWORK),
    *("--data.dataset=folder", "--data.dataset_options=null"),
)


def isbi_line(line: int, text: str | None, file: str = "400_senior/002.txt") -> Callable[[Path], None]:
    return lambda root: set_line(root / file, line, text)


def csv_line(line: int, text: str) -> Callable[[Path], None]:
    return lambda root: set_line(root / "points.csv", line, text)


def append_row(line: int) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        table = root / "points.csv"
        table.write_text(table.read_text() + table.read_text().splitlines()[line - 1] + "\n")

    return change


def refused(root: Path, options: tuple[str, ...]) -> str:
    """Fit on ``root``; return the error line after checking that it is the only one and that nothing was trained."""
    runs = root.parent / "runs"
    outcome = ldx("fit", *options, f"--data.root={root}", "--trainer.max_steps=1", "--run_folder", str(runs))
    assert outcome.status == 1
    assert not list(runs.rglob("*.ckpt"))
    assert "Traceback" not in outcome.out + outcome.err
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, outcome.err
    return errors[0]


ISBI_FAULTS = {
    "18 points": (isbi_line(19, None), "400_senior/002.txt:19: found 18 points, expected 19"),
    "18 points of test": (isbi_line(5, None, "400_junior/151.txt"), "400_junior/151.txt:19: found 18 points"),
    "no number": (isbi_line(7, "12,abc"), "400_senior/002.txt:7: found 'abc', expected a number"),
    "nan": (isbi_line(7, "12,nan"), "400_senior/002.txt:7: found 'nan', expected a finite number"),
    "inf": (isbi_line(7, "inf,3"), "400_senior/002.txt:7: found 'inf', expected a finite number"),
    "outside": (isbi_line(3, "500,20", "400_senior/001.txt"), "400_senior/001.txt:3: orbitale lies at (500, 20)"),
    "no annotation": (lambda root: (root / "400_junior/002.txt").unlink(), "cepha400/002.jpg: the image has no annot"),
    "cut JPEG": (lambda root: cut_in_half(root / "cepha400/002.jpg"), "cepha400/002.jpg: the image cannot be decoded"),
}


@pytest.mark.parametrize(("change", "expected"), ISBI_FAULTS.values(), ids=ISBI_FAULTS)
def test_a_fault_in_isbi2015_is_named(tmp_path: Path, change: Callable[[Path], None], expected: str) -> None:
    root = make_isbi(tmp_path / "isbi")
    change(root)
    assert f"{root}/{expected}" in refused(root, ISBI)


def test_an_annotation_without_image_is_told_by_fit(tmp_path: Path) -> None:
    """Only some of the images may be there (the issue's Data section): the run goes on, and says what it left out."""
    root = make_isbi(tmp_path / "isbi")
    (root / "cepha400/002.jpg").unlink()
    outcome = ldx("fit", *ISBI, f"--data.root={root}", "--trainer.max_steps=1", "--run_folder", str(tmp_path / "run"))
    assert outcome.status == 0
    assert f"{root}/400_junior/002.txt" in outcome.err or f"{root}/400_senior/002.txt" in outcome.err
    assert "1 annotated images are not there (002)" in outcome.err


FOLDER_FAULTS = {
    "two rows": (False, append_row(3), "points.csv:8: the image 'i1.png' is there twice, first in line 3"),
    "nan": (False, csv_line(3, "i1.png,3,4,5,nan"), "points.csv:3: landmark '2': found only one of x and y"),
    "inf": (False, csv_line(3, "i1.png,3,4,inf,5"), "points.csv:3: landmark '2': found 'inf', expected a finite"),
    "no number": (False, csv_line(3, "i1.png,3,4,5,abc"), "points.csv:3: landmark '2': found 'abc', expected a num"),
    "outside": (False, csv_line(3, "i1.png,3,4,5,55"), "points.csv:3: landmark '2' of 'i1.png' lies at (5, 55)"),
    "a cell less": (False, csv_line(3, "i1.png,3,4,5"), "points.csv:3: found 4 cells, expected 5"),
    "no image": (False, lambda root: (root / "images/i3.png").unlink(), "points.csv:5: the image 'i3.png' is not"),
    "cut PNG": (False, lambda root: cut_in_half(root / "images/i2.png"), "images/i2.png: the image cannot be decoded"),
    "two rows, long": (True, append_row(3), "points.csv:14: landmark '2' of 'i0.png' is there twice, first in line 3"),
    "nan, long": (True, csv_line(3, "i0.png,2,3,nan"), "points.csv:3: landmark '2': found only one of x and y"),
}


@pytest.mark.parametrize(("long", "change", "expected"), FOLDER_FAULTS.values(), ids=FOLDER_FAULTS)
def test_a_fault_in_the_users_own_folder_is_named(
    tmp_path: Path, long: bool, change: Callable[[Path], None], expected: str
) -> None:
    root = make_folder(tmp_path / "own", long=long)
    change(root)
    assert f"{root}/{expected}" in refused(root, FOLDER)


@pytest.mark.parametrize("options", [ISBI, FOLDER], ids=["isbi2015", "folder"])
def test_a_missing_and_an_empty_root_are_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.mkdir()
    assert f"{missing}: data.root: the folder does not exist" in refused(missing, options)
    assert f"{empty}: no " in refused(empty, options)


def test_data_check_lists_all_faults_at_once(tmp_path: Path) -> None:
    root = make_isbi(tmp_path / "isbi")
    set_line(root / "400_senior/001.txt", 3, "500,20")
    set_line(root / "400_senior/002.txt", 7, "nan,3")
    (root / "400_junior/151.txt").unlink()
    cut_in_half(root / "cepha400/131.jpg")
    outcome = ldx("data", "check", "--dataset", "isbi2015", "--root", str(root))
    assert outcome.status == 1
    for expected in ("400_senior/001.txt:3", "400_senior/002.txt:7", "cepha400/151.jpg", "cepha400/131.jpg"):
        assert f"error: {root}/{expected}" in outcome.out

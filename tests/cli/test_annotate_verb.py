"""``ldx annotate`` from the command line: what it refuses, and that it ends as the other verbs do."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from landmark_diffusion.cli.entry import main
from landmark_diffusion.studies.trainings.locks import exclusive
from tests.annotate.folders import annotating, phantoms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "xrays").mkdir()
    return phantoms(tmp_path / "xrays", 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no landmark is known: name them by --landmarks"),
        (("--landmarks", "a,b,a"), "'a' is there twice"),
        (("--landmarks", "a", "--annotator", " "), "--annotator: found ''"),
        (("--landmarks", "a", "--fast"), "--fast: is of a model"),
        (("--landmarks", "a", "--suggest", "0"), "--suggest: found 0"),
        (("--landmarks", "a", "--table", "x.xlsx"), "ends in .csv"),
        (("--landmarks", "a", "--model", "gone.ldx"), "gone.ldx"),
        (("--landmarks", "a", "--start", "gone.ldx"), "gone.ldx"),
        (("--landmarks", "a", "--modle", "x"), "--model"),
    ],
)
def test_what_cannot_be_is_said(
    folder: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", str(folder), *options]) == 1
    assert said in capsys.readouterr().err
    assert [path.suffix for path in folder.iterdir() if path.name[0] != "."] == [".png"]


def test_a_folder_that_is_not_there_or_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotate", str(tmp_path / "gone"), "--landmarks", "a"]) == 1
    assert main(["annotate", str(tmp_path), "--landmarks", "a"]) == 1
    assert "no radiograph found here" in capsys.readouterr().err


def test_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["annotate", str(folder), "--landmarks", "a", "--port", port]) == 1
    assert f"--port {port}" in capsys.readouterr().err


def test_a_second_one_on_the_same_table_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with exclusive(folder / ".annotations.csv.lock", "annotations.csv (ldx annotate)", patience=0):
        assert main(["annotate", str(folder), "--landmarks", "a"]) == 1
    assert "another process still holds annotations.csv (ldx annotate)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "status", "table", "words"),
    [
        (signal.SIGINT, 130, "", "nothing was marked"),
        (signal.SIGTERM, 143, "image,annotator,landmark,x,y\n", "the marks are in"),
    ],
)
@pytest.mark.slow
def test_it_ends_by_a_signal(folder: Path, number: signal.Signals, status: int, table: str, words: str) -> None:
    if table:
        (folder / "annotations.csv").write_text(table)
    with annotating(folder, "--landmarks", "a,b") as (process, address):
        assert address.startswith("http://127.0.0.1:") and "?token=" in address
        process.send_signal(number)
        assert process.wait(30) == status
        assert process.stdout is not None and words in (said := process.stdout.read())
        assert "interrupted" not in said
    assert (folder / "annotations.csv").exists() == bool(table)  # where nothing was marked nothing is written


def test_a_folder_that_is_none_is_told_in_words_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "notes.txt").write_text("x")
    assert main(["annotate", str(folder / "nowhere"), "--landmarks", "a"]) == 1
    said = capsys.readouterr().err
    assert "nowhere: there is no folder of this name (current folder: " in said and "data.root" not in said
    assert main(["annotate", str(folder / "notes.txt"), "--landmarks", "a"]) == 1
    said = capsys.readouterr().err
    assert f"found a file, expected the folder of the images: ldx annotate {folder}" in said and "data.root" not in said

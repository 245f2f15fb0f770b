"""Nothing phones home: no import and no run looks up a name or opens a connection, unless W&B is switched online."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.detection.tiny_model import picture, write_positions
from tests.end_to_end.console import PHANTOM, REPOSITORY, run

WATCH = """
import os, sys
NOTE = os.environ["LDX_TEST_NOTE"]
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto",
           "socket.sendmsg", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect")

def watch(event, arguments):
    if event in WATCHED and not local(event, arguments):
        with open(NOTE, "a") as file:
            file.write(f"{event} {arguments!r} {sys.argv}\\n")
        raise OSError("no network here")

def local(event, arguments):
    if event == "socket.getaddrinfo":
        return arguments[0] in LOCAL
    address = arguments[1] if len(arguments) > 1 else None
    return isinstance(address, (str, bytes)) or (isinstance(address, tuple) and address[0] in LOCAL)

LOCAL = (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0")
sys.addaudithook(watch)
"""
"""Python's own record of what it is about to do, in every process that is started: a library cannot go round it unless
it is written in C. Processes of one machine may talk to each other (torch's, Weights & Biases' own service)."""

FIT = ("fit", *PHANTOM, "--trainer.max_steps=2", "--run_folder", "runs/x", "--data.num_workers=0")


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """Variables under which each connection leaves a note; none of those that switch telemetry off is set."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(WATCH)
    paths = os.pathsep.join((str(tmp_path / "python"), str(REPOSITORY)))
    return {"PYTHONPATH": paths, "LDX_TEST_NOTE": str(tmp_path / "note"), "LDX_CACHE": str(tmp_path / "cache")}


@pytest.fixture(autouse=True)
def _as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what tests/conftest.py sets for the tests alone."""
    for name in ("NO_ALBUMENTATIONS_UPDATE", "WANDB_MODE", "DO_NOT_TRACK", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def notes(folder: Path) -> str:
    note = folder / "note"
    return note.read_text() if note.exists() else ""


def test_the_watch_sees_a_connection(tmp_path: Path, watched: dict[str, str]) -> None:
    """Else the other tests could not fail."""
    for code in ("import socket; socket.create_connection(('192.0.2.1', 80), 1)",
                 "import urllib.request; urllib.request.urlopen('http://example.com')"):  # fmt: skip
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **watched}, capture_output=True, check=False)
    found = notes(tmp_path)
    assert "192.0.2.1" in found and "example.com" in found


def test_a_start_connects_to_nothing(tmp_path: Path, watched: dict[str, str]) -> None:
    outcome = run(["--help"], tmp_path, **watched)
    assert outcome.status == 0 and notes(tmp_path) == ""


@pytest.mark.slow
def test_no_import_connects(tmp_path: Path, watched: dict[str, str]) -> None:
    """Of any module of the package, with all that it imports: some libraries ask for their newest version then."""
    code = (
        "import importlib, pkgutil, landmark_diffusion\n"
        "names = [m.name for m in pkgutil.walk_packages(landmark_diffusion.__path__, 'landmark_diffusion.')]\n"
        "assert len(names) > 100\n"
        "for name in names:\n"
        "    if not name.endswith('__main__'):\n"
        "        importlib.import_module(name)\n"
        "from landmark_diffusion.data.augmentation import get_recipe\n"
        "get_recipe('paper_a')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **watched}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert notes(tmp_path) == ""


@pytest.mark.slow
def test_no_verb_connects(tmp_path: Path, watched: dict[str, str]) -> None:
    write_positions(tmp_path / "tiny.ldx")
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    best = "runs/x/checkpoints/best.ckpt"
    for line in (
        ("--help",), ("fit", "--help"), ("configs",), FIT, ("test", *FIT[1:-1]), ("export", best, "x.ldx"),
        ("detect", "a.png", "--model", "tiny.ldx", "--to", "csv,json,overlay,slicer,html"),
        ("data", "check", "--config", "phantom_baseline.yaml", "--no-decode"),
    ):  # fmt: skip
        outcome = run(line, tmp_path, **watched)
        assert outcome.status == 0, (line, outcome.err)
        assert notes(tmp_path) == "", line


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_weights_and_biases_connects_only_when_it_is_online(mode: str, tmp_path: Path, watched: dict[str, str]) -> None:
    outcome = run((*FIT, "--wandb", mode), tmp_path, **watched)
    assert outcome.status == 0, outcome.err
    assert notes(tmp_path) == ""
    assert (tmp_path / "runs" / "x" / "wandb").is_dir() == (mode == "offline")

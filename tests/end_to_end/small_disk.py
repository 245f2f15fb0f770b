"""A small disk of its own that a test can fill or lock, and every command that writes to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.points_json import PointsJsonWriter
from landmark_diffusion.modelfile.model_file import write_model_file
from tests.cli.test_calibrate_verb import NAMES, facts
from tests.detection.tiny_model import picture, write_positions
from tests.end_to_end.console import PHANTOM, Outcome, ldx
from tests.methods.tiny_positions import module
from tests.studies.cephalometry.faces import in_image, make_face

FORMS = ("csv", "json", "overlay", "slicer", "html")
FILLER = "filler"


class SmallDisk:
    """A tmpfs. Args: folder: where it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def full(self, leave: int = 0) -> Iterator[None]:
        """Leave so many bytes free for the duration."""
        state, filler = os.statvfs(self.folder), self.folder / FILLER
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_frsize - leave))
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody write, root included, for the duration."""
        _mount("remount,ro", self.folder)
        try:
            yield
        finally:
            _mount("remount,rw", self.folder)

    def content(self) -> dict[str, bytes]:
        """Every file, hidden ones too, but the filler."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name != FILLER]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in sorted(files)}


@contextmanager
def small_disk(folder: Path, megabytes: int = 24) -> Iterator[SmallDisk]:
    """Mount a disk at ``folder``, or skip the test where that is not permitted."""
    folder.mkdir(parents=True)
    try:
        _mount(f"size={megabytes}m", folder)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root on Linux")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(options: str, folder: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def commands(disk: Path, home: Path) -> dict[str, tuple[str, ...]]:
    """Every verb that writes, with its results on the disk and what it reads beside it."""
    run, detect = ("--run_folder", str(disk / "run")), ("detect", str(home / "xray.png"), "--overwrite")
    found = {
        f"detect {form}": (*detect, "--model", str(home / "tiny.ldx"), "--to", form, "--output", str(disk / "found"))
        for form in FORMS
    }
    return {
        "fit": ("fit", *PHANTOM, *run, "--trainer.max_steps=4", "--ckpt_path=last"),
        "validate": ("validate", *PHANTOM, *run),
        "test": ("test", *PHANTOM, *run, "--pictures=1"),
        "predict": ("predict", *PHANTOM, *run),
        "export": ("export", str(disk / "run/checkpoints/last.ckpt"), str(disk / "run.ldx"), "--overwrite"),
        "calibrate": ("calibrate", "--checkpoint", str(disk / "cal.ldx"), "--settings", "1x1", "--overwrite"),
        **found,
        "analyse": ("analyse", str(home / "points.json"), "--output", str(disk / "measures"), "--overwrite"),
        "cache": ("fit", *PHANTOM, "--run_folder", str(home / "elsewhere"), "--data.cache_folder", str(disk / "cache"),
                  "--trainer.max_steps=1", "--overwrite"),
    }  # fmt: skip


def make_home(disk: Path, home: Path) -> None:
    """Put on the disk what an earlier run of each command left there (but a cache), and beside it what they read."""
    Image.fromarray(picture(3)).save(home / "xray.png")
    write_positions(home / "tiny.ldx")
    write_model_file(disk / "cal.ldx", facts(), module(n=len(NAMES)).state_dict())
    writer = PointsJsonWriter(home)
    writer.add(Detection("face", "face.png", (1935, 2400), LANDMARK_NAMES, in_image(make_face()), spacing=(0.1, 0.1)))
    writer.close()
    told = commands(disk, home)
    first = tuple(word for word in told["fit"] if "ckpt_path" not in word and "max_steps" not in word)
    worked(*first, "--trainer.max_steps=2")
    for name, arguments in told.items():
        if name not in ("fit", "cache"):
            worked(*arguments)


def worked(*arguments: str) -> Outcome:
    """Run a command that has to succeed."""
    outcome = ldx(*arguments)
    assert outcome.status == 0, outcome.err
    return outcome


def message(outcome: Outcome) -> str:
    """The one message of a command that failed."""
    said = outcome.out + outcome.err
    assert outcome.status == 1 and "Traceback" not in said, said
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    return errors[0]

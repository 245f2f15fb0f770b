"""``ldx detect`` as a process of its own: what a person sees, what is left when it is stopped, and no network."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.detection.writers.points_json_reader import read_points_json
from tests.detection.bad_inputs import deep, write_dicom
from tests.detection.tiny_model import picture, write_positions
from tests.end_to_end.console import REPOSITORY, Outcome, column, read_rows, run, start
from tests.methods.tiny_positions import N

SHIPPED = REPOSITORY / "weights" / "ceph_small.ldx"
FORMS = "csv,json,overlay,slicer,html"

NO_NETWORK = """
import socket

def refuse(self, address, *_):
    if self.family != socket.AF_UNIX:
        open({note!r}, "a").write(f"{{address}}\\n")
        raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = refuse
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a tiny model, x/0.png to x/2.png, x/3.dcm and x/bad.png."""
    write_positions(tmp_path / "tiny.ldx")
    (tmp_path / "x").mkdir()
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / "x" / f"{number}.png")
    write_dicom(tmp_path / "x" / "3.dcm", picture(3), ImagerPixelSpacing=[0.1, 0.1])
    (tmp_path / "x" / "bad.png").write_text("no image")
    return tmp_path


def without_network(folder: Path) -> tuple[dict[str, str], Path]:
    """Variables that make Python refuse connections, and the file that would then tell of one."""
    note = folder / "connections.txt"
    (folder / "python").mkdir()
    (folder / "python" / "sitecustomize.py").write_text(NO_NETWORK.format(note=str(note)))
    return {"PYTHONPATH": os.pathsep.join((str(folder / "python"), str(REPOSITORY)))}, note


def check_words(outcome: Outcome) -> None:
    """No traceback, no warning of a library, no bar in a pipe."""
    assert not re.search(r"Traceback|[Ww]arning|torch|lightning|\x1b|\r", outcome.out + outcome.err)


@pytest.mark.slow
def test_a_person_sees_what_was_written_and_what_was_wrong(home: Path) -> None:
    variables, note = without_network(home)
    line = ["detect", "x", "--model", "tiny.ldx", "--to", FORMS, "--output", "found", "--samples", "2"]
    outcome = run(line, home, **variables)
    check_words(outcome)
    assert outcome.status == 1 and not note.exists()
    first, second = outcome.err.splitlines()
    assert first.startswith("error: x/bad.png: ") and "no known image format" in first
    assert second == "detect: 1 of 5 files could not be used"
    told, *wrote, last = outcome.out.splitlines()
    assert last.startswith("detect: 5 files: 4 read, 1 refused")
    assert told.startswith("detect: tiny.ldx (steps 5, samples 2, decoder local_centroid, spread both); not calibrated")
    assert [line.split(" ", 1)[0] for line in wrote] == ["wrote"] * 5
    rows = read_rows(home / "found" / "points.csv")
    assert len(rows) == 4 * N and {row["spacing_source"] for row in rows} == {"unknown", "ImagerPixelSpacing"}
    again = run(line, home, **variables)
    check_words(again)
    assert again.status == 1 and "exist already and were left as they are" in again.err and again.out == ""
    same = run([*line, "--overwrite", "--batch-size", "1"], home, **variables)
    assert column(rows, "x", "y") == pytest.approx(column(read_rows(home / "found" / "points.csv"), "x", "y"), abs=2e-3)
    assert same.status == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("detect", "error: ldx detect: the following arguments are required: IMAGE, --model"),
        ("detect x/*.bmp --model tiny.ldx", "error: x/*.bmp: no file matches this pattern"),
        ("detect x --modl tiny.ldx", "unknown option '--modl'. Did you mean --model"),
    ],
)
def test_wrong_line_is_told_at_once(home: Path, line: str, says: str) -> None:
    """Before torch is imported, which takes seconds."""
    begin = time.monotonic()
    outcome = run(line.split(), home)
    check_words(outcome)
    assert outcome.status == 1 and says in outcome.err and outcome.err.count("\n") == 1
    assert time.monotonic() - begin < 30  # generous, for a busy machine: it is half a second on an idle one
    assert not (home / "detections").exists()


@pytest.mark.slow
def test_ctrl_c_leaves_whole_tables_of_what_was_found(home: Path) -> None:
    for number in range(4, 150):
        Image.fromarray(picture(number)).save(home / "x" / f"{number}.png")
    line = ["detect", "x", "--model", "tiny.ldx", "--to", "csv,json,overlay", "--output", "found", "--batch-size", "2"]
    process = start(line, home)
    for _ in range(1200):
        if len(list((home / "found" / "overlays").glob("*.png"))) >= 6 or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    check_words(Outcome(process.returncode, out, err))
    assert process.returncode == 130 and err.splitlines()[-1] == "interrupted"
    found = read_points_json(home / "found" / "points.json")
    assert 4 <= len(found) < 150
    assert len(read_rows(home / "found" / "points.csv")) == N * len(found)
    drawn = {path.stem for path in (home / "found" / "overlays").iterdir()}
    assert len({each.name for each in found} ^ drawn) <= 1  # the picture that was being drawn
    assert not [path for path in (home / "found").rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
def test_shipped_model_finds_the_same_points_in_a_real_radiograph_of_any_kind(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Issue 6, "Done when" 1, from the command line: within 0.01 px, and the same mm."""
    source = sorted((shared_data("isbi2015") / "cepha400").glob("*.jpg"))[160]
    grey = read_radiograph(source).grey
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(deep(16, grey)).save(tmp_path / "b.tif")
    write_dicom(tmp_path / "c.dcm", deep(12, grey), BitsStored=12, ImagerPixelSpacing=[0.1, 0.1])
    common = ["--model", str(SHIPPED), "--to", "csv", "--output"]
    mm = run(["detect", str(source), "a.png", "b.tif", *common, "mm", "--spacing", "0.1"], tmp_path)
    dicom = run(["detect", "c.dcm", *common, "dicom"], tmp_path)
    assert (mm.status, mm.err, dicom.status, dicom.err) == (0, "", 0, "")
    wanted = column(read_rows(tmp_path / "dicom" / "points.csv"), "x", "y", "x_mm", "y_mm")
    found = column(read_rows(tmp_path / "mm" / "points.csv"), "x", "y", "x_mm", "y_mm").reshape(3, 19, 4)
    assert np.abs(found - wanted).max() < 0.01
    assert np.abs(found[..., 2:] - wanted[:, 2:]).max() < 0.001
    assert wanted[:, 2:] == pytest.approx(0.1 * wanted[:, :2], abs=1e-5)

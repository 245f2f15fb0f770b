"""``ldx detect``: nothing that was found is lost, nothing is overwritten, and what goes wrong is one line."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.cli.progress import progress
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.forms import WRITERS
from landmark_diffusion.detection.writers.points_json_reader import read_points_json
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from tests.cli.terminals import FAILING
from tests.detection.bad_inputs import write_dicom
from tests.detection.tiny_model import make_calibration, picture, write_other, write_positions
from tests.end_to_end.console import Outcome, column, ldx, read_rows
from tests.methods.tiny_positions import N


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.ldx and the same calibrated; the tests copy them."""
    folder = tmp_path_factory.mktemp("models")
    tiny = write_positions(folder / "tiny.ldx")
    write_positions(folder / "calibrated.ldx", make_calibration(tiny))
    return folder


@pytest.fixture(autouse=True)
def _home(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder: two models, and x/0.png to x/4.png."""
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LDX_DEBUG", raising=False)
    for number in range(5):
        save(f"x/{number}.png", number)


def save(path: str, number: int = 0) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number)).save(path)


def detect(*arguments: str, model: str = "tiny.ldx", to: str = "csv,json") -> Outcome:
    return ldx("detect", *arguments, "--model", model, "--to", to, "--output", "found")


def points(path: str = "found/points.csv") -> Any:
    return column(read_rows(Path(path)), "x", "y")


def images(path: str = "found/points.csv") -> list[str]:
    """The images of a table, in order, each of which has all landmarks."""
    rows = [row["image"] for row in read_rows(Path(path))]
    assert rows == [image for image in rows[::N] for _ in range(N)]
    return rows[::N]


def refusal(outcome: Outcome) -> str:
    """The one line that a command was refused with."""
    assert outcome.status == 1 and outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1 and "Traceback" not in outcome.err
    return outcome.err


@pytest.fixture
def unrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be loaded or run."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Detector, "load", fail)


# ---- what comes out -------------------------------------------------------------------------------------------------


def test_every_form_is_written_and_told_and_nothing_else_is_said() -> None:
    outcome = detect("x/0.png", "x/1.png", to="csv,json,overlay,slicer,html")
    assert (outcome.status, outcome.err) == (0, "")
    first, *wrote, last = outcome.out.splitlines()
    assert last.startswith("detect: 2 files: 2 read, 0 refused; whether an image is unlike the others is not known")
    assert first.startswith("detect: tiny.ldx (steps 5, samples 1, decoder local_centroid, spread heatmap)")
    assert "not calibrated yet: `ldx calibrate` does it, so there are no regions" in first
    assert len(wrote) == 5 and all(Path(line.removeprefix("wrote ")).exists() for line in wrote)
    assert {path.name for path in Path("found/overlays").iterdir()} == {"0.png", "1.png"}
    assert images() == [each.path for each in read_points_json("found/points.json")] == ["x/0.png", "x/1.png"]


def test_points_are_those_of_python_whatever_the_batch() -> None:
    detector = Detector.load("tiny.ldx", seed=4, samples=2)
    wanted = np.concatenate([detector(f"x/{number}.png").points for number in range(5)])
    for size in ("1", "3", "99"):
        assert detect("x", "--seed=4", "--samples=2", "--batch-size", size, "--overwrite").status == 0
        assert points() == pytest.approx(wanted, abs=2e-3)  # 1e-3 network pixels: see test_detector


def test_options_reach_the_model() -> None:
    asked = ("--fast", "--samples=2", "--decoder=argmax", "--spread=samples", "--seed=7", "--device=cpu")
    assert detect("x/0.png", *asked).status == 0
    (found,) = read_points_json("found/points.json")
    assert found.settings == {
        "variant": "multi-step", "steps": 2, "samples": 2, "decoder": "argmax", "spread": "samples", "seed": 7
    }  # fmt: skip


def test_spacing_of_the_option_goes_before_that_of_the_file() -> None:
    write_dicom(Path("x/5.dcm"), picture(5), ImagerPixelSpacing=[0.2, 0.1])
    assert detect("x/0.png", "x/5.dcm").status == 0
    plain, dicom = read_rows(Path("found/points.csv"))[::N]
    assert (plain["x_mm"], plain["spacing_source"]) == ("", "unknown")
    assert float(dicom["x_mm"]) == pytest.approx(0.1 * float(dicom["x"]), abs=1e-6)
    assert float(dicom["y_mm"]) == pytest.approx(0.2 * float(dicom["y"]), abs=1e-6)
    assert detect("x/0.png", "x/5.dcm", "--spacing", "0.3,0.4", "--overwrite").status == 0
    for row in read_rows(Path("found/points.csv")):
        assert row["spacing_source"] == "option"
        assert float(row["y_mm"]) == pytest.approx(0.4 * float(row["y"]), abs=1e-6)


def test_calibrated_model_says_its_level_and_gives_regions() -> None:
    outcome = detect("x/0.png", "--level=0.5", model="calibrated.ldx")
    assert "regions hold 50 % of the points" in outcome.out
    assert column(read_rows(Path("found/points.csv")), "region_level", "region_semi_major").min() > 0.4
    outcome = detect("x/0.png", "--steps=3", "--overwrite", model="calibrated.ldx")
    assert "not calibrated for these settings, so there are no regions" in outcome.out
    assert read_rows(Path("found/points.csv"))[0]["region_level"] == ""
    assert "calibrated for 0.5, 0.8, 0.9, 0.95" in refusal(
        detect("x", "--level=0.7", "--overwrite", model="calibrated.ldx")
    )


# ---- which images ---------------------------------------------------------------------------------------------------


def test_folders_patterns_and_repetitions_are_looked_at_once() -> None:
    save("x/deep/9.png")
    assert detect("x/3.png", "x/[01].png", "x", "./x/3.png").status == 0
    assert images() == [f"x/{number}.png" for number in (3, 0, 1, 2, 4)]
    assert detect("x", "--recursive", "--overwrite").status == 0
    assert images()[-1] == "x/deep/9.png"


def test_images_of_one_name_keep_apart() -> None:
    for folder in "ab":
        save(f"{folder}/001.png", ord(folder))
    assert detect("a", "b", to="csv,json,overlay").status == 0
    assert {path.name for path in Path("found/overlays").iterdir()} == {"a_001.png", "b_001.png"}
    assert images() == ["a/001.png", "b/001.png"]
    assert [each.name for each in read_points_json("found/points.json")] == ["a_001", "b_001"]


@pytest.mark.parametrize(
    "name", ["[bold]x[0].png", "a b;$(c).png", "ä-\u4e2d.png", os.fsdecode(b"\xff\xfe.png"), "=1.png"]
)
def test_odd_file_name_is_no_trouble_for_any_form(name: str) -> None:
    save(f"odd/{name}")
    outcome = detect("odd", to="csv,json,overlay,slicer,html")
    assert (outcome.status, outcome.err) == (0, "")
    assert read_points_json("found/points.json")[0].path == f"odd/{name}"


def test_wrong_files_are_named_and_the_others_finished() -> None:
    Path("x/1.png").write_text("no image")
    Path("x/3.png").write_bytes(b"")
    outcome = detect("x", "gone.png", "--batch-size=2")
    assert outcome.status == 1
    lines = outcome.err.splitlines()
    assert len(lines) == 4 and lines[-1] == "detect: 3 of 6 files could not be used"
    for line, name in zip(lines, ("x/1.png", "x/3.png", "gone.png"), strict=False):
        assert line.startswith(f"error: {name}: ")
    assert images() == ["x/0.png", "x/2.png", "x/4.png"]
    before = points()
    shutil.rmtree("found")
    assert detect("x/0.png", "x/2.png", "x/4.png").status == 0
    assert points() == pytest.approx(before, abs=2e-3)


def test_nothing_but_wrong_files_leaves_no_table() -> None:
    Path("x/0.png").write_text("no image")
    outcome = detect("x/0.png", to=",".join(WRITERS.names()))
    assert outcome.status == 1 and "1 of 1 files" in outcome.err and "wrote" not in outcome.out
    assert not [path for path in Path("found").rglob("*") if path.is_file()]


def test_the_end_says_how_many_were_read_refused_and_unlike_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when 144 of 150 images were unlike and the last that a user read was that regions hold 90 %."""
    real = Detector.detect
    reasons = {"0": "mirrored", "1": "unknown", "2": "mirrored"}

    def detect_unlike(*arguments: Any) -> list[Detection]:
        return [
            replace(each, unlike=each.name in reasons, unlike_reason=reasons.get(each.name, ""))
            for each in real(*arguments)
        ]

    monkeypatch.setattr(Detector, "detect", detect_unlike)
    Path("x/3.png").write_text("no image")
    outcome = detect("x", model="calibrated.ldx")
    assert outcome.status == 1  # for the file that is no image; unlike images alone leave it at 0
    assert outcome.out.splitlines()[-1] == (
        "detect: 5 files: 4 read, 1 refused; 3 unlike those that the model was calibrated on"
    )
    last = outcome.err.splitlines()[-1]
    assert last.startswith("detect: 3 of 4 images are unlike") and "(2 mirrored, 1 for unknown reasons)" in last
    assert "use no point of these" in last and "detect again" in last
    rows = read_rows(Path("found/points.csv"))[::N]
    assert [(row["unlike"], row["unlike_reason"]) for row in rows] == [
        ("true", "mirrored"), ("true", "unknown"), ("true", "mirrored"), ("false", "")
    ]  # fmt: skip
    Path("x/3.png").unlink()
    assert detect("x", "--overwrite", model="calibrated.ldx").status == 0
    monkeypatch.setattr(Detector, "detect", real)
    alike = detect("x/4.png", "--overwrite", model="calibrated.ldx")
    assert alike.out.splitlines()[-1] == (
        "detect: 1 file: 1 read, 0 refused; none unlike those that the model was calibrated on"
    )
    assert alike.err == ""


# ---- what is there stays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["points.csv", "points.json", "overlays/0.png", "slicer/0.mrk.json"])
@pytest.mark.usefixtures("unrun")
def test_what_is_there_is_refused_before_anything_runs(there: str) -> None:
    mine = Path("found") / there
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    outcome = detect("x", to="csv,json,overlay,slicer")
    assert f"found/{there} exist already and were left as they are" in refusal(outcome)
    assert "--overwrite" in outcome.err and outcome.out == ""
    assert [path for path in Path("found").rglob("*") if path.is_file()] == [mine] and mine.read_text() == "mine"


def test_overwrite_replaces_results_and_leaves_the_rest() -> None:
    assert detect("x/0.png").status == 0
    for name in (".writable", "notes.txt", "overlays/other.png"):
        path = Path("found") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert "and 1 more exist already" in refusal(detect("x/1.png"))
    assert detect("x/1.png", "--overwrite", to="csv,json,overlay").status == 0
    assert images() == ["x/1.png"]
    assert all(
        (Path("found") / name).read_text() == "mine" for name in (".writable", "notes.txt", "overlays/other.png")
    )


def test_failed_form_does_not_cost_the_others() -> None:
    Path("found/points.csv").mkdir(parents=True)
    outcome = detect("x", "--overwrite", to="csv,json")
    assert "found/points.csv: the file cannot be written" in refusal(outcome)
    assert len(read_points_json("found/points.json")) == 5 and "wrote found/points.json" in outcome.out


@pytest.mark.parametrize("folder", ["tiny.ldx", "tiny.ldx/below", "n" * 300, "zero\0byte"])
def test_place_that_cannot_be_written_to_is_refused(folder: str) -> None:
    said = refusal(ldx("detect", "x", "--model", "tiny.ldx", "--to", "csv", "--output", folder))
    assert "error: --output" in said and "name another folder" in said


@contextmanager
def without_root() -> Iterator[None]:
    """Root may write anywhere: be nobody meanwhile."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("mode", [0o555, 0o700, 0], ids=["not to be written to", "of another user", "closed"])
def test_folder_without_permission_is_refused(mode: int) -> None:
    Path().chmod(0o755)
    assert detect("x/0.png", to="csv").status == 0  # all modules are imported while they can be
    Path("found/points.csv").unlink()
    Path("found").chmod(mode if os.geteuid() == 0 else mode & 0o500)
    with without_root():
        said = refusal(detect("x/1.png", to="csv"))
    Path("found").chmod(0o700)
    assert "--output found: cannot be written to (Permission denied); name another folder" in said


def interrupt_at(call: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Raise ``error`` in place of a batch."""
    real, count = Detector.detect, iter(range(1, 99))

    def detect_or_stop(*arguments: Any) -> Any:
        if next(count) == call:
            raise error
        return real(*arguments)

    monkeypatch.setattr(Detector, "detect", detect_or_stop)


def test_ctrl_c_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(2, monkeypatch, KeyboardInterrupt())
    outcome = detect("x", "--batch-size=2", to="csv,json,overlay,html")
    assert (outcome.status, outcome.err) == (130, "interrupted\n")
    assert images() == ["x/0.png", "x/1.png"]
    assert len(read_points_json("found/points.json")) == 2
    assert outcome.out.count("wrote") == 4


def test_ctrl_c_in_the_first_batch_leaves_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(1, monkeypatch, KeyboardInterrupt())
    assert detect("x").status == 130
    assert not list(Path("found").iterdir())


# ---- wrong options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "the following arguments are required: IMAGE, --model; `ldx detect --help` lists all options"),
        ("x", "required: --model"),
        ("--model tiny.ldx", "required: IMAGE"),
        ("x --model tiny.ldx --stpes 3", "unknown option '--stpes'. Did you mean --steps"),
        ("x --model tiny.ldx --steps many", "argument --steps: invalid int value: 'many'"),
        ("x --model tiny.ldx --steps", "argument --steps: expected one argument"),
        ("x --model tiny.ldx --to csv,pdf", "unknown output 'pdf'. Known: csv, json, overlay"),
        ("x --model tiny.ldx --to ,", "--to: found ',', expected one or several of csv"),
        ("x --model gone.ldx", "gone.ldx: found nothing, expected a model file (.ldx)"),
        ("x --model x", "x: found a folder"),
        ("empty --model tiny.ldx", "empty: found no radiograph in the folder"),
        ("'*.dcm' --model tiny.ldx", "no file matches this pattern"),
        ("x --model tiny.ldx --batch-size 0", "--batch-size: found 0, expected at least 1"),
        ("x --model tiny.ldx --spacing 0", "--spacing: found '0', expected mm per pixel above 0: 0.1, or 0.1,0.12"),
        ("x --model tiny.ldx --spacing 0.1,0.1,0.1", "expected mm per pixel above 0: 0.1, or 0.1,0.12 for x and y"),
        ("x --model tiny.ldx --spacing tenth", "--spacing: found 'tenth', expected mm per pixel above 0"),
        ("x --model tiny.ldx --level 90", "level: found 90, expected a number between 0 and 1"),
        ("x --model tiny.ldx --seed -1", "seed: found -1, expected a whole number from 0"),
        ("x --model tiny.ldx --decoder best", "decoder: found 'best', expected one of argmax"),
        ("x --model tiny.ldx --spread samples", "spread: samples needs several; set samples to 2 or more"),
        ("x --model tiny.ldx --steps 1 --samples 4", "need 2 steps or more"),
        ("x --model tiny.ldx --device gpu", "device: found 'gpu', expected cpu, cuda or cuda:1"),
        ("x --model once.ldx --steps 8", "a HeatmapFinetuneModule looks at an image once; leave it out"),
    ],
)
def test_wrong_option_is_one_line_and_leaves_nothing(line: str, says: str) -> None:
    Path("empty").mkdir()
    write_other(Path("once.ldx"), HeatmapFinetuneModule)
    before = sorted(Path().rglob("*"))
    said = refusal(ldx("detect", *(word.strip("'") for word in line.split())))
    assert says in said
    assert [path for path in sorted(Path().rglob("*")) if path not in before] in ([], [Path("detections")])


@pytest.mark.usefixtures("unrun")
@pytest.mark.parametrize("arguments", [("gone/*.png",), ("x", "--to=pdf")])
def test_what_needs_no_model_is_told_before_one_is_loaded(arguments: tuple[str, ...]) -> None:
    refusal(ldx("detect", *arguments, "--model", "tiny.ldx"))


def test_help_lists_every_option_and_says_what_it_is_not_for() -> None:
    outcome = ldx("detect", "--help")
    assert (outcome.status, outcome.err) == (0, "")
    options = ("model", "spacing", "fast", "steps", "samples", "decoder", "spread", "level", "seed", "device", "output",
               "to", "overwrite", "recursive", "batch-size")  # fmt: skip
    assert all(f"--{option}" in outcome.out for option in options)
    assert "not a medical device" in outcome.out and "ldx detect radiograph.dcm --model ceph.ldx" in outcome.out
    assert all(form in outcome.out for form in WRITERS.names())


# ---- progress -------------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What rich takes for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    yield


@pytest.mark.usefixtures("terminal")
def test_progress_shows_file_names_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    """Square brackets are rich's markup, and common in file names."""
    with progress(2, "detect") as advance:
        advance("[red]1[/red].png")
        advance("[/]2.png")
    shown = capfd.readouterr().err
    assert "[/]2.png" in shown and "2/2" in shown


def test_progress_leaves_no_rubbish_in_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(1, "detect") as advance:
        advance("1.png")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", FAILING)
def test_results_are_whole_whatever_becomes_of_the_terminal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ldx detect ... --to csv,json,html | head -1` left points.csv alone, with status 0."""
    make, status = FAILING[kind]
    monkeypatch.setattr(sys, "stdout", make())
    found = main(["detect", "x", "--model", "calibrated.ldx", "--to", "csv,json,html", "--output", "found"])
    assert found == status
    assert sorted(path.name for path in Path("found").iterdir()) == ["detections.html", "points.csv", "points.json"]
    assert images() == [f"x/{number}.png" for number in range(5)]
    assert len(read_points_json("found/points.json")) == 5

"""Nothing is written outside the folder that the user named, whatever an archive, a table or a file's name says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.detection.names import short_names
from landmark_diffusion.detection.writers.points_json import PointsJsonWriter
from landmark_diffusion.metrics.predictions_file import read_predictions_csv
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.studies.fewshot.plan import read_plan
from landmark_diffusion.training.folder import RunFolder
from tests.detection.detections import make_detection
from tests.detection.tiny_model import NAMES, picture, write_positions
from tests.end_to_end.console import ldx
from tests.security.payloads import FORMS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, two levels below ``tmp_path``, so that what leaves it is seen there."""
    folder = tmp_path / "above" / "home"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def outside(home: Path) -> list[Path]:
    """Files beside ``home``, in both folders above it."""
    return sorted(path for path in home.parents[1].rglob("*") if path.is_file() and home not in path.parents)


def test_members_of_an_archive_that_leave_it_are_not_unpacked(home: Path) -> None:
    mark = home.parent / "mark"
    Path("x.ckpt").write_bytes(FORMS["zip whose members leave it"](mark))
    with pytest.raises(UserError, match=r"x\.ckpt"):
        read_checkpoint("x.ckpt")
    assert ldx("test", "--config", "phantom_baseline.yaml", "--ckpt_path", "x.ckpt").status == 1
    assert not outside(home) and not mark.exists()


@pytest.mark.parametrize("name", ["../x", "../../x", "/{tmp}/x", "a/b", "a\\b", "..", ".", "", "x\0y"])
def test_names_in_a_strangers_points_json_stay_in_the_folder(name: str, home: Path) -> None:
    writer = PointsJsonWriter(Path("found"))
    writer.add(make_detection(pixels=False))
    path = writer.close()[0]
    content = json.loads(path.read_text())
    content["images"][0]["name"] = name.format(tmp=home.parent)
    path.write_text(json.dumps(content))
    outcome = ldx("analyse", str(path), "--output", "measures")
    words = ("expected one that can name a file", "expected a text without control characters")
    assert outcome.status == 1 and any(each in outcome.err for each in words)
    assert not outside(home) and not Path("measures").exists()


def test_names_of_results_are_safe_whatever_a_file_is_called() -> None:
    hostile = (
        "..",
        "...png",
        "../../etc/passwd",
        "a/../../b.png",
        "-rf.png",
        "\x1b[2J.png",
        "a\nb.png",
        ".x",
        "~",
        "C:x",
    )
    for name in short_names([Path("in") / each for each in hostile]):
        assert name not in ("", ".", "..") and not name.startswith((".", "-", "/", "~/"))
        assert not set(name) & set("/\\\0\n\x1b:")


def _table(folder: Path, *names: str) -> None:
    header = "image," + ",".join(f"{name}_x,{name}_y" for name in NAMES) + ",split"
    rows = [f"{name},10,20,30,40,50,60,test" for name in names]
    (folder / "points.csv").write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.slow
def test_a_users_table_may_name_images_anywhere_and_results_stay_in_the_run(home: Path) -> None:
    """It is the user's own word what to read. The names come back in the table of results, and name no file."""
    write_positions(home / "tiny.ldx")
    for place in (home / "own", home.parent / "other"):
        place.mkdir(exist_ok=True)
    for number, path in enumerate((home / "own" / "a.png", home.parent / "b.png", home.parent / "other" / "c.png")):
        Image.fromarray(picture(number)).save(path)
    absolute = str(home.parent / "other" / "c.png")
    _table(home / "own", "a.png", "../../b.png", absolute)
    before = outside(home)
    outcome = ldx("test", "tiny.ldx", "--data.root", "own", "--trainer.accelerator", "cpu", "--pictures", "2")
    assert outcome.status == 0, outcome.err
    found = read_predictions_csv(home / "runs" / "tiny.ldx" / "test" / "predictions.csv")
    assert set(found.image_ids) == {"a.png", "../../b.png", absolute}
    assert outside(home) == before
    report = home / "runs" / "tiny.ldx" / "test" / "report"
    assert {path.parent for path in report.rglob("*.png")} == {report}


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..\\x", "", "~"])
def test_names_in_a_grid_of_a_stranger_name_folders_within_it(name: str, home: Path) -> None:
    section = {"fit": ["phantom_baseline.yaml"], "n": [1], "draws": 1, "starts": {name: {}}, "folder": "grid"}
    Path("c.yaml").write_text(json.dumps({"fewshot": section}))
    with pytest.raises(UserError, match=r"it names folders"):
        read_plan(["c.yaml"])


@pytest.mark.parametrize("name", ["...yaml", "..yaml"])
def test_no_config_is_named_so_that_its_run_folder_is_another_one(name: str, home: Path) -> None:
    """Of ``...yaml`` the stem is ``..``: the run would lie in the current folder."""
    Path(name).write_text("trainer: {max_steps: 1}\n")
    outcome = ldx("fit", "--config", name)
    assert outcome.status == 1 and "rename it" in outcome.err and sorted(os.listdir()) == [name]


def test_a_link_in_a_results_folder_is_replaced_and_not_followed(home: Path) -> None:
    target = home.parent / "precious.txt"
    target.write_text("precious")
    os.symlink(target, "predictions.csv")
    atomic_write_text("predictions.csv", "new")
    assert target.read_text() == "precious" and not Path("predictions.csv").is_symlink()


def test_discarding_a_run_does_not_follow_links(home: Path) -> None:
    precious = home.parent / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    Path("runs/x").mkdir(parents=True)
    for part in ("checkpoints", "logs", "test"):
        os.symlink(precious, Path("runs/x") / part)
    RunFolder("runs/x").discard()
    assert (precious / "file").read_text() == "precious"


def test_a_picture_that_a_strangers_points_name_is_read_only_as_a_radiograph(home: Path) -> None:
    """Its path may be any: what is no image is not shown, and a device or pipe is not waited for."""
    os.mkfifo("pipe")
    for path in ("/dev/zero", "pipe", "/etc/passwd", "."):
        with pytest.raises(UserError):
            read_radiograph(Path(path))

"""A disk that is full costs a message, and nothing that lay on it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from landmark_diffusion.cli import fewshot_verb
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import WriteError, atomic_path, atomic_write_bytes
from landmark_diffusion.studies.trainings import runner
from landmark_diffusion.training.checkpoint import AtomicCheckpointIO
from landmark_diffusion.training.curves import Curves
from tests.end_to_end.console import PHANTOM, ldx, read_rows, run
from tests.end_to_end.small_disk import FORMS, SmallDisk, commands, message, small_disk, worked
from tests.studies.fewshot.grid import FAKE, write_config
from tests.studies.fewshot.test_verb import NETWORK

SMALL = 100_000
"""Bytes: more than a config and less than a checkpoint."""


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """What a full disk does to a file, without one: the system refuses to write beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ---- one file, on any machine ----


def test_a_file_that_does_not_fit_is_told_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    atomic_write_bytes(path, b"old")
    with no_file_longer_than(1000), pytest.raises(WriteError, match=r"metrics\.json: .* \(File too large\); make room"):
        atomic_write_bytes(path, bytes(2000))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["metrics.json"]


def test_an_error_about_another_file_keeps_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        raise PermissionError(errno.EACCES, "Permission denied", "b.txt")
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    """Torch cannot close a file that it could not write, and raises a RuntimeError about that."""
    path, io = tmp_path / "last.ckpt", AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, path)
    told = pytest.raises(UserError, match=r"last\.ckpt: the checkpoint could not be written \(File too large\)")
    with no_file_longer_than(SMALL), told:
        io.save_checkpoint({"step": 2, "weights": torch.zeros(SMALL)}, path)
    assert torch.load(path, weights_only=True) == {"step": 1} and os.listdir(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize(("column", "room"), [("loss", 200), ("error", 200), ("error", 20)])
def test_curves_that_do_not_fit_keep_the_rows_written_before(tmp_path: Path, column: str, room: int) -> None:
    """Lightning writes the file anew for each new column: a full disk would leave nothing of it."""
    logger = Curves(tmp_path, name="logs", version=0, flush_logs_every_n_steps=1000)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.save()
    path = tmp_path / "logs" / "version_0" / "metrics.csv"
    for step in range(2, 100):
        logger.log_metrics({column: float(step)}, step=step)
    with no_file_longer_than(room), pytest.raises(UserError, match=r"metrics\.csv: the file cannot be written"):
        logger.save()
    assert [(row["loss"], row["step"]) for row in read_rows(path)] == [("1.0", "1")]
    assert os.listdir(path.parent) == ["metrics.csv"]
    logger.save()
    assert [row["step"] for row in read_rows(path)] == [str(step) for step in range(1, 100)]


def test_the_end_of_a_failed_run_does_not_hide_what_failed(tmp_path: Path) -> None:
    logger = Curves(tmp_path, name="logs", version=0, flush_logs_every_n_steps=1000)
    for step in range(100):
        logger.log_metrics({"loss": 1.0}, step=step)
    with no_file_longer_than(200):
        logger.finalize("failed")
        with pytest.raises(UserError):
            logger.finalize("success")


# ---- every verb, on a disk of its own ----


NAMED = {
    "fit": "run/config.yaml", "validate": "run/validate", "test": "run/test", "predict": "run/predict",
    "export": "run.md", "calibrate": "cal.md", "analyse": "measures", "cache": "cache",
    "detect csv": "found/points.csv", "detect json": "found/points.json", "detect overlay": "found/overlays/xray.png",
    "detect slicer": "found/slicer/", "detect html": "found/detections.html",
}  # fmt: skip
"""What each message has to name."""

ROOM = dict.fromkeys(("validate", "test", "predict"), 3 * 4096)
"""Bytes that are left: enough for the new log's files, not for the results."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_on_a_full_disk_each_verb_ends_with_one_message_and_changes_nothing(
    name: str, disk: SmallDisk, home: Path
) -> None:
    before = disk.content()
    with disk.full(ROOM.get(name, 0)):
        said = message(ldx(*commands(disk.folder, home)[name]))
    assert str(disk.folder / NAMED[name]) in said
    after = disk.content()
    logs = [path for path in after if path.startswith("run/logs/") and path not in before]
    assert {path: text for path, text in after.items() if path not in logs} == before
    assert {Path(path).name for path in logs} <= {"hparams.yaml", "metrics.csv"}


def test_every_form_of_detect_is_tried() -> None:
    assert {f"detect {form}" for form in FORMS} <= set(NAMED)


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_when_there_is_room_again(disk: SmallDisk, tmp_path: Path) -> None:
    folder = disk.folder / "again"
    shutil.copytree(disk.folder / "run" / "checkpoints", folder / "checkpoints")
    fit = ("fit", *PHANTOM, "--run_folder", str(folder), "--trainer.max_steps=4", "--ckpt_path=last")
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    with disk.full(leave=SMALL):
        said = message(ldx(*fit))
    assert "the checkpoint could not be written (No space left on device)" in said and "Free some space" in said
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before
    worked(*fit)
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    shutil.rmtree(folder)


@pytest.mark.slow
def test_weights_and_biases_offline_does_not_hide_the_message(disk: SmallDisk, home: Path) -> None:
    before = disk.content()
    with disk.full():
        said = message(run([*commands(disk.folder, home)["fit"], "--wandb=offline"], home))
    assert str(disk.folder) in said
    assert {path: text for path, text in disk.content().items() if path in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4])
def test_a_grid_tells_and_goes_on_when_there_is_room_again(
    pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full at the claim, the job, the log, the cell's files; the cell that was finished before stays as it was."""
    monkeypatch.setattr(runner, "CHILD", FAKE)
    monkeypatch.setattr(fewshot_verb, "check_before", lambda plan, manifest: None)
    with small_disk(tmp_path / "disk", 1) as disk:
        config = write_config(disk.folder, draws=1)
        worked("fewshot", "--config", str(config), "--cell=1")
        before = disk.content()
        with disk.full(pages * 4096):
            said = message(ldx("fewshot", "--config", str(config)))
        assert str(disk.folder / "grid") in said
        kept = {path for path in before if "/scratch-n1-d0/" in path or path.endswith("manifest.json")}
        assert len(kept) > 3 and {path: disk.content()[path] for path in kept} == {path: before[path] for path in kept}
        worked("fewshot", "--config", str(config))
        assert (disk.folder / "grid" / "summary.md").is_file()
        assert not [path for path in disk.content() if ".tmp-" in path or ".partial" in path]


@pytest.mark.slow
def test_a_real_cell_that_does_not_fit_leaves_the_others_and_is_run_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        config = write_config(disk.folder, n=[1, 2], draws=1, stage="val")
        (disk.folder / "cell.yaml").write_text(NETWORK)
        steps = ("--set", "trainer.max_steps=4", "--set", "trainer.check_val_every_n_epoch=1")
        grid = ("fewshot", "--config", str(config), *steps, "--set", "data.samples_per_epoch=4")
        worked(*grid, "--cell=1")
        first = {path: content for path, content in disk.content().items() if "scratch-n1" in path}
        with disk.full(leave=SMALL):
            outcome = ldx(*grid)
        assert outcome.status == 1 and "Traceback" not in outcome.out + outcome.err
        assert "scratch-n2-d0 failed" in outcome.out and ".ckpt: the checkpoint could not be written" in outcome.out
        assert {path: content for path, content in disk.content().items() if "scratch-n1" in path} == first
        worked(*grid)
        assert {path: content for path, content in disk.content().items() if "scratch-n1" in path} == first
        assert disk.content()["grid/cells/scratch-n2-d0/result.json"]

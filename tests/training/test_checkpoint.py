"""Checkpoints: whole or not there, the best one remembered, and safe to read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training import checkpoint as checkpoint_module
from landmark_diffusion.training.checkpoint import AtomicCheckpointIO, RunCheckpoint, link_whole, remove_stale_files
from tests.security.payloads import FORMS
from tests.training.tiny import TinyData, TinyModule, differences, tiny_trainer, trained_state


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"state_dict": {}, "step": 1}, path)

    def disk_full(content: Any, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module.torch, "save", disk_full)
    with pytest.raises(UserError, match=r"last\.ckpt.*No space left.*untouched"):
        io.save_checkpoint({"state_dict": {}, "step": 2}, path)
    assert read_checkpoint(path)["step"] == 1
    assert os.listdir(tmp_path) == ["last.ckpt"]


KILLED_WRITER = """
import sys, time, torch
from landmark_diffusion.training.checkpoint import AtomicCheckpointIO
class Slow:
    def __reduce__(self):
        print("writing", flush=True); time.sleep(60); return (int, ())
io = AtomicCheckpointIO()
io.save_checkpoint({"state_dict": {"w": torch.ones(1000)}, "step": 1}, sys.argv[1])
io.save_checkpoint({"state_dict": {"w": torch.ones(1000)}, "step": Slow()}, sys.argv[1])
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    """kill -9 in the middle of a write; the litter goes with the next save."""
    path = tmp_path / "last.ckpt"
    process = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.kill()
    process.wait()
    assert read_checkpoint(path)["step"] == 1
    assert len(os.listdir(tmp_path)) == 2
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "step": 3}, path)
    assert os.listdir(tmp_path) == ["last.ckpt"]
    assert read_checkpoint(path)["step"] == 3


def test_only_the_litter_of_dead_processes_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale, alive, other = (
        tmp_path / name for name in (f".last.ckpt.{dead.pid}.partial", f".a.{os.getpid()}.partial", "mine.partial")
    )
    for path in (stale, alive, other):
        path.write_bytes(b"")
    assert remove_stale_files(tmp_path) == [stale]
    assert alive.exists() and other.exists()


@pytest.mark.parametrize("choice", [None, False, True])
def test_a_trainer_of_ones_own_runs_nothing_in_a_checkpoint(tmp_path: Path, choice: bool | None) -> None:
    """Whatever it passes: Lightning passes None, and takes that for False where the checkpoint is a URL."""
    path, mark = tmp_path / "x.ckpt", tmp_path / "mark"
    path.write_bytes(FORMS["torch zip"](mark))
    with pytest.raises(UserError, match=r"x\.ckpt: refused, since it holds more than plain values and weights"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=choice)
    assert not mark.exists()


def test_linking_replaces_the_target_and_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    best.write_bytes(b"new")
    last.write_bytes(b"old")
    link_whole(best, last)
    link_whole(best, last)  # onto itself: rename does nothing there
    assert last.read_bytes() == b"new"
    monkeypatch.setattr(checkpoint_module.os, "link", _no_links)
    last.write_bytes(b"old")
    assert best.read_bytes() == b"old"  # one file under two names: why checkpoints are never changed in place
    best.unlink()
    best.write_bytes(b"newer")
    link_whole(best, last)
    assert last.read_bytes() == b"newer"
    assert sorted(os.listdir(tmp_path)) == ["best.ckpt", "last.ckpt"]


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "no hard links here")


class Malicious:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, ("touch /tmp/landmark_diffusion_was_here",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "found nothing, expected a checkpoint"),
        (b"", "cut short"),
        (b"not a checkpoint", "cut short or no checkpoint at all"),
        ("truncated", "cut short or damaged"),
        ({"state_dict": {}, "x": Malicious()}, r"refused, since it holds more than plain values.*system"),
        ({"state_dict": {}, "hyper_parameters": {"root": Path("x")}}, "refused"),
        ({"weights": torch.ones(1)}, "no network weights"),
        ([1, 2], "no network weights"),
    ],
)
def test_bad_checkpoints_are_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "truncated":
        torch.save({"state_dict": {"w": torch.ones(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert not Path("/tmp/landmark_diffusion_was_here").exists()


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found a folder"):
        read_checkpoint(tmp_path)


def test_hparams_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": {"steps": 200}}, tmp_path / "x.ckpt")
    assert read_checkpoint(tmp_path / "x.ckpt")["hyper_parameters"] == {"steps": 200}


def fit(folder: Path, validation: bool = True, ckpt: str | None = None, **options: Any) -> tuple[TinyModule, Any]:
    module, trainer = TinyModule(), tiny_trainer(folder, **options)
    trainer.fit(module, datamodule=TinyData(validation=validation), ckpt_path=ckpt)
    return module, trainer


def callback(trainer: Any) -> RunCheckpoint:
    return next(c for c in trainer.callbacks if isinstance(c, RunCheckpoint))


def saved_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[tuple[str, int]]:
    """Steps at which each file was written, in order."""
    saved: list[tuple[str, int]] = []
    write = AtomicCheckpointIO.save_checkpoint

    def note(self: AtomicCheckpointIO, content: dict, path: Any, storage_options: Any = None) -> None:
        saved.append((Path(path).stem, content["global_step"]))
        write(self, content, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", note)
    fit(tmp_path, **options)
    return saved


def test_last_is_written_on_time_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = saved_steps(tmp_path, monkeypatch, validation=False, max_epochs=2, checkpoint_every=3)
    assert saved == [("last", 3), ("last", 5), ("last", 6), ("last", 9), ("last", 10)]  # five steps an epoch


def test_the_end_by_number_of_steps_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = saved_steps(tmp_path, monkeypatch, validation=False, max_steps=7, checkpoint_every=0)
    assert saved == [("last", 5), ("last", 7)]


def test_nothing_is_saved_in_the_middle_of_an_accumulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients gathered so far are in no checkpoint: continuing from a micro-batch would lose them."""
    steps = saved_steps(tmp_path, monkeypatch, validation=False, max_epochs=2, accumulate_grad_batches=2)
    assert steps == [("last", step) for step in range(1, 7)]  # three steps an epoch, each written once


def test_best_follows_the_metric_and_last_is_newer(tmp_path: Path) -> None:
    module, trainer = fit(tmp_path, max_epochs=6)
    best = min(module.history, key=lambda step: module.history[step])
    kept = read_checkpoint(tmp_path / "checkpoints/best.ckpt")
    assert kept["global_step"] == best
    assert callback(trainer).best_score == pytest.approx(module.history[best])
    assert trainer.checkpoint_callback.best_model_path == str(tmp_path / "checkpoints/best.ckpt")
    assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] == 30


def test_without_validation_there_is_no_best(tmp_path: Path) -> None:
    fit(tmp_path, validation=False, max_epochs=1)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["last.ckpt"]


def test_a_resumed_run_keeps_the_best_score(tmp_path: Path) -> None:
    """Else the first validation after a resume would overwrite a better checkpoint."""
    fit(tmp_path, max_epochs=2)
    last = tmp_path / "checkpoints/last.ckpt"
    content = torch.load(last, weights_only=True)
    key = next(k for k in content["callbacks"] if "RunCheckpoint" in k)
    content["callbacks"][key]["best_score"] = 1e-9
    AtomicCheckpointIO().save_checkpoint(content, last)
    before = (tmp_path / "checkpoints/best.ckpt").read_bytes()
    _, trainer = fit(tmp_path, max_epochs=3, ckpt=str(last))
    assert callback(trainer).best_score == 1e-9
    assert (tmp_path / "checkpoints/best.ckpt").read_bytes() == before


def test_a_metric_that_is_nan_is_never_best(tmp_path: Path) -> None:
    class Diverged(TinyModule):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val/mre", float("nan") if self.current_epoch == 0 else 1.0 + self.current_epoch, batch_size=1)

    trainer = tiny_trainer(tmp_path, max_epochs=3)
    trainer.fit(Diverged(), datamodule=TinyData())
    assert read_checkpoint(tmp_path / "checkpoints/best.ckpt")["global_step"] == 10  # the second of three epochs


def test_an_average_is_not_taken_for_the_weights(tmp_path: Path) -> None:
    fit(tmp_path, max_epochs=1, ema_decay=0.9)
    last = str(tmp_path / "checkpoints/last.ckpt")
    with pytest.raises(UserError, match="ema_decay is 0"):
        fit(tmp_path, max_epochs=2, ema_decay=0.0, ckpt=last)


@pytest.mark.parametrize("options", [{"every_n_steps": -1}, {"every_n_epochs": 0}, {"mode": "least"}])
def test_bad_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        RunCheckpoint("x", **options)


def test_snapshots_are_kept_at_their_steps_and_do_not_disturb_the_rest(tmp_path: Path) -> None:
    for folder, snapshots in (("with", [2, 5, 6]), ("without", [])):
        trainer = tiny_trainer(tmp_path / folder, max_epochs=2)
        for callback in trainer.callbacks:
            if isinstance(callback, RunCheckpoint):
                callback.snapshots = frozenset(snapshots)
        trainer.fit(TinyModule(), datamodule=TinyData())
    kept = sorted(path.name for path in (tmp_path / "with" / "checkpoints").glob("step_*.ckpt"))
    assert kept == ["step_2.ckpt", "step_5.ckpt", "step_6.ckpt"]  # 5 is an epoch's end, where validation follows
    for step in (2, 5, 6):
        assert read_checkpoint(tmp_path / "with" / "checkpoints" / f"step_{step}.ckpt")["global_step"] == step
    ends = [tmp_path / name / "checkpoints" / "last.ckpt" for name in ("with", "without")]
    states = [trained_state(read_checkpoint(end)) for end in ends]
    assert list(differences(*states)) == []


def test_a_snapshot_before_the_first_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"snapshots: found \[0\]"):
        RunCheckpoint(tmp_path, snapshots=[0])

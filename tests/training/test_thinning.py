"""Numbered checkpoints do not fill the disk, and no rule removes the best, the last or one that was asked for."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training import checkpoint as checkpoint_module
from landmark_diffusion.training.checkpoint import AtomicCheckpointIO, RunCheckpoint
from tests.training.tiny import TinyData, TinyModule, differences, tiny_trainer, trained_state


def fit(folder: Path, ckpt: Path | None = None, epochs: int = 3, **thinning: Any) -> None:
    """Train 5 steps an epoch."""
    trainer = tiny_trainer(folder, max_epochs=epochs, checkpoint_every=0)
    checkpoint = next(each for each in trainer.callbacks if isinstance(each, RunCheckpoint))
    made = RunCheckpoint(folder / "checkpoints", every_n_steps=0, **thinning)
    checkpoint.__dict__.update(made.__dict__)  # GracefulStop holds the one that is there
    trainer.fit(TinyModule(), datamodule=TinyData(), ckpt_path=ckpt)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_the_newest_are_kept_and_those_asked_for_by_name(tmp_path: Path) -> None:
    fit(tmp_path, snapshots=[2, 7], snapshot_every=2, keep_snapshots=3)
    assert kept(tmp_path) == sorted(
        ["best.ckpt", "last.ckpt", *(f"step_{n}.ckpt" for n in (2, 7, 10, 12, 14))]
    )  # of 2 4 6 8 10 12 14
    for n in (2, 7, 10, 12, 14):
        assert read_checkpoint(tmp_path / f"checkpoints/step_{n}.ckpt")["global_step"] == n


def test_zero_keeps_all_and_zero_steps_make_none(tmp_path: Path) -> None:
    fit(tmp_path / "all", snapshot_every=4, keep_snapshots=0)
    assert kept(tmp_path / "all")[2:] == ["step_12.ckpt", "step_4.ckpt", "step_8.ckpt"]
    fit(tmp_path / "none")
    assert kept(tmp_path / "none") == ["best.ckpt", "last.ckpt"]


def test_an_old_one_goes_only_when_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the new one must not cost the old one."""
    save = torch.save

    def disk_full(content: Any, file: Any) -> None:
        if "step_6" in str(getattr(file, "name", "")):
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    monkeypatch.setattr(checkpoint_module.torch, "save", disk_full)
    with pytest.raises(UserError, match=r"step_6\.ckpt.*No space left"):
        fit(tmp_path, snapshot_every=2, keep_snapshots=2)
    assert kept(tmp_path) == ["best.ckpt", "last.ckpt", "step_2.ckpt", "step_4.ckpt"]


def test_at_no_moment_are_there_fewer_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    write = AtomicCheckpointIO.save_checkpoint

    def note(self: AtomicCheckpointIO, content: dict, path: Any, storage_options: Any = None) -> None:
        write(self, content, path, storage_options)
        if "step_" in str(path):
            seen.append(sorted(each.name for each in Path(path).parent.glob("step_*.ckpt")))

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", note)
    fit(tmp_path, snapshot_every=3, keep_snapshots=1)
    assert seen == [["step_3.ckpt"], ["step_3.ckpt", "step_6.ckpt"], ["step_6.ckpt", "step_9.ckpt"],
                    ["step_12.ckpt", "step_9.ckpt"], ["step_12.ckpt", "step_15.ckpt"]]  # fmt: skip


def test_strange_files_and_later_steps_are_left_alone(tmp_path: Path) -> None:
    """Going on from an earlier step, its rule does not touch what a run before wrote beyond it."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    strange = ["step_100.ckpt", "step_3.ckpt", "step_x.ckpt", "my_step_2.ckpt", "step_2.ckpt.bak"]
    for name in strange:
        (folder / name).write_bytes(b"")
    fit(tmp_path, epochs=2, snapshot_every=4, keep_snapshots=1)
    assert kept(tmp_path) == sorted(["best.ckpt", "last.ckpt", "step_8.ckpt", *strange])


def test_going_on_keeps_to_the_rule_and_thinning_changes_no_bit(tmp_path: Path) -> None:
    fit(tmp_path / "plain", epochs=3)
    fit(tmp_path / "thin", epochs=2, snapshot_every=2, keep_snapshots=2)
    fit(tmp_path / "thin", tmp_path / "thin/checkpoints/step_8.ckpt", snapshot_every=2, keep_snapshots=2)
    assert kept(tmp_path / "thin") == ["best.ckpt", "last.ckpt", "step_12.ckpt", "step_14.ckpt"]
    states = [trained_state(read_checkpoint(tmp_path / name / "checkpoints/last.ckpt")) for name in ("plain", "thin")]
    assert list(differences(*states)) == []


@pytest.mark.parametrize("option", ["snapshot_every", "keep_snapshots"])
def test_nonsense_is_named(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"{option}: found -1"):
        RunCheckpoint(tmp_path, **{option: -1})

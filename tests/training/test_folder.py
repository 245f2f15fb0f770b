"""RunFolder: what is found in a run's folder, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from landmark_diffusion.cli.checkpoint_choice import choose_checkpoint
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.training import RunFolder


def put(folder: RunFolder, name: str, whole: bool = True) -> Path:
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    path = folder.checkpoints / name
    torch.save({"state_dict": {"w": torch.ones(500)}}, path)
    if not whole:
        path.write_bytes(path.read_bytes()[:-30])
    return path


def test_whole_checkpoints_are_found(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.last() is None and run.best() is None and not run.has_checkpoint()
    last, best = put(run, "last.ckpt"), put(run, "best.ckpt")
    assert (run.last(), run.best()) == (last, best)


def test_a_broken_last_falls_back_to_the_best_and_says_so(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    best = put(run, "best.ckpt")
    put(run, "last.ckpt", whole=False)
    with pytest.warns(UserWarning) as caught:
        assert run.last() == best
    texts = " ".join(str(w.message) for w in caught)
    assert "last.ckpt is cut short" in texts and "best.ckpt is taken instead" in texts


def test_a_missing_last_is_replaced_by_the_best_and_told(tmp_path: Path) -> None:
    """A kill may come between the first best.ckpt and last.ckpt: then neither a fresh start nor `last` was possible."""
    run = RunFolder(tmp_path)
    best = put(run, "best.ckpt")
    with pytest.warns(UserWarning, match=r"no last\.ckpt; .*best\.ckpt is taken instead"):
        assert run.last() == best


@pytest.mark.parametrize(("best_step", "taken"), [(30, "best.ckpt"), (10, "step_20.ckpt"), (None, "step_20.ckpt")])
@pytest.mark.parametrize("last", [b"", b"PK half a file"])
def test_the_newest_whole_checkpoint_is_found_when_last_is_cut_short(
    tmp_path: Path, last: bytes, best_step: int | None, taken: str
) -> None:
    """By the number of updates, not by name or age; damaged ones are passed over."""
    run = RunFolder(tmp_path)
    put(run, "step_20.ckpt")
    put(run, "step_9.ckpt")
    put(run, "step_40.ckpt", whole=False)
    if best_step is not None:
        torch.save({"state_dict": {}, "global_step": best_step}, run.checkpoints / "best.ckpt")
    (run.checkpoints / "last.ckpt").write_bytes(last)
    with pytest.warns(UserWarning, match="is taken instead") as caught:
        assert run.last() == run.checkpoints / taken
    assert "step_40.ckpt is cut short" in " ".join(str(w.message) for w in caught)


def test_a_whole_last_goes_before_a_newer_snapshot(tmp_path: Path) -> None:
    """A run that was begun anew from an early checkpoint still has the snapshots of its abandoned future beside it."""
    run = RunFolder(tmp_path)
    last = put(run, "last.ckpt")
    put(run, "step_99.ckpt")
    assert run.last() == last


def test_a_lone_snapshot_is_a_run_that_is_not_overwritten_unasked(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    put(run, "step_20.ckpt")
    with pytest.raises(UserError, match=r"1 kept up to step 20.*--ckpt_path last"):
        run.refuse_overwrite()


@pytest.mark.filterwarnings("ignore:.*is cut short")
def test_where_every_checkpoint_is_damaged_the_advice_is_what_works(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    put(run, "last.ckpt", whole=False)
    put(run, "best.ckpt", whole=False)
    with pytest.raises(UserError, match=r"last\.ckpt \(.*damaged\).* --overwrite true in place of --ckpt_path") as told:
        choose_checkpoint("fit", run, "last")
    assert "leave --ckpt_path out" not in str(told.value)
    with pytest.raises(UserError, match=r"None is whole to go on from, start anew with `--overwrite true`") as told:
        choose_checkpoint("fit", run, None)
    assert "--ckpt_path last" not in str(told.value)
    assert choose_checkpoint("fit", run, None, overwrite=True) is None


@pytest.mark.filterwarnings("ignore:.*is cut short")
def test_a_damaged_best_leads_to_the_whole_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    last = put(run, "last.ckpt")
    put(run, "best.ckpt", whole=False)
    for verb in ("fit", "test"):
        with pytest.raises(UserError, match="--ckpt_path last has another one"):
            choose_checkpoint(verb, run, "best")
        assert choose_checkpoint(verb, run, "last") == last


@pytest.mark.parametrize("asked", ["last", "best"])
def test_measuring_is_not_advised_to_start_afresh(tmp_path: Path, asked: str) -> None:
    with pytest.raises(UserError, match="train first, name a file") as told:
        choose_checkpoint("test", RunFolder(tmp_path / "run"), asked)
    assert "afresh" not in str(told.value)


def test_a_broken_best_is_told(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    put(run, "best.ckpt", whole=False)
    with pytest.warns(UserWarning, match=r"best\.ckpt is cut short"):
        assert run.best() is None


def test_an_earlier_run_is_not_overwritten_unasked(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.refuse_overwrite()  # empty: fine
    put(run, "last.ckpt")
    run.wandb_id.write_text("abc")
    with pytest.raises(UserError, match=r"last\.ckpt.*--ckpt_path last.*--overwrite true"):
        run.refuse_overwrite()
    (tmp_path / "notes.txt").write_text("mine")
    run.refuse_overwrite(overwrite=True)
    assert not run.has_checkpoint() and not run.wandb_id.exists()
    assert (tmp_path / "notes.txt").exists()  # only what a run wrote is removed


def test_describe_names_files_and_damage(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert "no checkpoint yet" in run.describe()
    put(run, "best.ckpt")
    put(run, "last.ckpt", whole=False)
    text = run.describe()
    assert "best.ckpt (0.0 MiB" in text and "damaged" in text.split("last.ckpt")[1]


def test_import_needs_no_torch() -> None:
    code = "import sys, landmark_diffusion.training; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

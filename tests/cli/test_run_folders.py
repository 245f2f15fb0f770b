"""A run is never lost, mixed with another, or measured untrained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

Ldx = Callable[[str], int]
RUN = Path("runs/tiny")
LAST, BEST = RUN / "checkpoints" / "last.ckpt", RUN / "checkpoints" / "best.ckpt"


@pytest.fixture
def trained(ldx: Ldx, capfd: pytest.CaptureFixture) -> Ldx:
    """Train one epoch into runs/tiny."""
    assert ldx("fit --config tiny.yaml") == 0
    capfd.readouterr()
    return ldx


def step(path: Path) -> int:
    """Optimiser steps behind a checkpoint."""
    return torch.load(path, weights_only=True)["global_step"]


def test_fit_fills_the_folder_named_by_the_config(trained: Ldx) -> None:
    assert step(LAST) == 2
    assert BEST.is_file()
    assert list((RUN / "logs").rglob("metrics.csv"))
    assert not Path("lightning_logs").exists()


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_untrained_weights_are_never_measured(ldx: Ldx, capfd: pytest.CaptureFixture, verb: str) -> None:
    assert ldx(f"{verb} --config tiny.yaml") == 1
    assert "no whole checkpoint in the run folder runs/tiny" in capfd.readouterr().err


def test_other_runs_are_named(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("test --config tiny.yaml --run_folder runs/tinny") == 1
    assert "Runs with checkpoints: runs/tiny." in capfd.readouterr().err


@pytest.mark.parametrize("asked", ["last", "best", "runs/tiny/checkpoints/lats.ckpt"])
def test_explicit_resume_with_nothing_to_find_is_an_error(ldx: Ldx, capfd: pytest.CaptureFixture, asked: str) -> None:
    assert ldx(f"fit --config tiny.yaml --ckpt_path {asked}") == 1
    assert f"--ckpt_path {asked}: no " in capfd.readouterr().err
    assert not RUN.exists()


def test_missing_checkpoint_names_the_nearest(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("test --config tiny.yaml --ckpt_path runs/tiny/checkpoints/bets.ckpt") == 1
    assert "Did you mean runs/tiny/checkpoints/best.ckpt" in capfd.readouterr().err


def test_second_fit_is_refused_with_the_ways_on(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    before = LAST.read_bytes()
    assert trained("fit --config tiny.yaml") == 1
    err = capfd.readouterr().err
    for way in ("--ckpt_path last", "--overwrite", "run folder"):
        assert way in err
    assert LAST.read_bytes() == before


def test_resume_goes_on_from_the_last_checkpoint(trained: Ldx) -> None:
    assert trained("fit --config tiny.yaml --ckpt_path last --trainer.max_epochs 3") == 0
    assert step(LAST) == 6


def test_overwrite_begins_anew(trained: Ldx) -> None:
    (RUN / "checkpoints" / "old.ckpt").write_bytes(b"old")
    assert trained("fit --config tiny.yaml --overwrite --data.landmarks 2") == 0
    assert step(LAST) == 2
    assert not (RUN / "checkpoints" / "old.ckpt").exists()


@pytest.mark.parametrize(
    "fault",
    ["--trainer.accelerator nowhere", "--data.dataset faulty", "--model.chanels 3", "--data.dataset breaks_on_reading"],
)
def test_overwrite_loses_nothing_to_a_fault_in_the_new_run(trained: Ldx, folder: Path, fault: str) -> None:
    before = LAST.read_bytes()
    assert trained(f"fit --config tiny.yaml --overwrite {fault}") == 1
    assert LAST.read_bytes() == before


def test_overwrite_and_resume_contradict(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("fit --config tiny.yaml --overwrite --ckpt_path last") == 1
    assert "give one of the two" in capfd.readouterr().err
    assert step(LAST) == 2


def test_checkpoint_of_another_run_does_not_replace_this_one(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    shutil.copytree(RUN, "runs/other")
    assert trained("fit --config tiny.yaml --ckpt_path runs/other/checkpoints/last.ckpt") == 1
    assert "belongs to another run" in capfd.readouterr().err


def test_measuring_takes_the_best_then_the_last_and_says_so(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("test --config tiny.yaml") == 0
    assert f"using the checkpoint {BEST}" in capfd.readouterr().out
    BEST.unlink()
    assert trained("test --config tiny.yaml") == 0
    assert f"using the checkpoint {LAST}" in capfd.readouterr().out


@pytest.mark.parametrize("verb", ["test", "fit"])
def test_damaged_checkpoint_is_one_clear_message(trained: Ldx, capfd: pytest.CaptureFixture, verb: str) -> None:
    LAST.write_bytes(LAST.read_bytes()[:300])
    assert trained(f"{verb} --config tiny.yaml --ckpt_path {LAST}") == 1
    err = capfd.readouterr().err
    assert str(LAST) in err
    assert "cut short" in err
    assert "Traceback" not in err


def test_malicious_checkpoint_is_refused(trained: Ldx, folder: Path, capfd: pytest.CaptureFixture) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (folder / "pwned",))

    torch.save({"state_dict": {}, "evil": Evil()}, LAST)
    assert trained(f"test --config tiny.yaml --ckpt_path {LAST}") == 1
    assert not (folder / "pwned").exists()


def test_saved_config_repeats_the_run(trained: Ldx, capfd: pytest.CaptureFixture) -> None:
    assert trained("fit --config tiny.yaml --overwrite --data.recipe mild --trainer.max_epochs 2") == 0
    saved = yaml.safe_load((RUN / "config.yaml").read_text())
    assert saved["data"]["recipe"] == "mild"
    assert (saved["run_folder"], saved["ckpt_path"], saved["overwrite"]) == ("runs/tiny", None, False)
    assert "num_landmarks" not in saved["model"]["init_args"], "the data decides it, also next time"
    assert trained(f"test --config {RUN}/config.yaml") == 0
    assert trained(f"fit --config {RUN}/config.yaml --run_folder runs/again") == 0
    assert step(Path("runs/again/checkpoints/last.ckpt")) == step(LAST) == 4
    first, again = (torch.load(p, weights_only=True)["state_dict"] for p in (LAST, "runs/again/checkpoints/last.ckpt"))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_measuring_leaves_the_saved_config_alone(trained: Ldx) -> None:
    before = (RUN / "config.yaml").read_bytes()
    assert trained("test --config tiny.yaml --model.decoding.decoder top_k") == 0
    assert (RUN / "config.yaml").read_bytes() == before


def test_fast_dev_run_writes_nothing(trained: Ldx) -> None:
    before = {path: path.stat().st_mtime_ns for path in RUN.rglob("*")}
    assert trained("fit --config tiny.yaml --trainer.fast_dev_run 1") == 0
    assert {path: path.stat().st_mtime_ns for path in RUN.rglob("*")} == before


def test_without_config_the_model_names_the_folder(ldx: Ldx) -> None:
    assert ldx("fit --model TinyModel --trainer.max_steps 1 --trainer.accelerator cpu") == 0
    assert Path("runs/TinyModel/checkpoints/last.ckpt").is_file()

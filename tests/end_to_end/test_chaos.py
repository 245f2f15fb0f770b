"""Real runs killed with SIGKILL end as the undisturbed one, and the comparison that says so can find a difference."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmarks.chaos import METHODS, Report, Run, show, table_rows, torment
from benchmarks.compare_runs import Comparison
from landmark_diffusion.training.loggers import make_loggers
from landmark_diffusion.training.stopping import StopRequested
from tests.training.tiny import RunFolder, StopAt, TinyData, TinyModule, tiny_trainer

ROWS = [{"step": step, "epoch": 0, "train/loss": 1 / (step + 3), "val/loss": ""} for step in range(4)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def made_up(folder: Path) -> Path:
    """A run folder with a checkpoint of every part, and the curves of one start."""
    content = {
        "state_dict": {"w": torch.arange(6.0)},
        "current_model_state": {"w": torch.arange(6.0)},
        "averaging_state": {"n_averaged": torch.tensor(3)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(6)}}}],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [0.1]}],
        "callbacks": {"RunCheckpoint": {"best_score": 0.5}},
        "global_step": 4, "epoch": 0, "loops": {}, "row_to_log": None,
    }  # fmt: skip
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    write_rows(folder / "logs" / "version_0" / "metrics.csv", ROWS)
    return folder


def found(whole: Path, other: Path) -> list[tuple[str, str]]:
    comparison = Comparison()
    comparison.runs(whole, other)
    assert comparison.compared["weights"] == 6 and comparison.compared["curves"] == 8
    return [(difference.part, difference.where) for difference in comparison.differences]


def one_bit(checkpoint: dict[str, Any], key: str) -> None:
    checkpoint[key]["w"].view(torch.int32)[2] ^= 1


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "weight": (lambda c: one_bit(c, "current_model_state"), "weights"),
    "average": (lambda c: one_bit(c, "state_dict"), "EMA"),
    "sign of a zero": (lambda c: c["current_model_state"]["w"].mul_(torch.tensor([-1.0, 1, 1, 1, 1, 1])), "weights"),
    "dtype": (lambda c: c["current_model_state"].update(w=torch.arange(6.0).double()), "weights"),
    "moment": (lambda c: c["optimizer_states"][0]["state"][0]["exp_avg"].__setitem__(0, 1.0000001), "optimiser"),
    "moment gone": (lambda c: c["optimizer_states"][0]["state"].clear(), "optimiser"),
    "rate": (lambda c: c["lr_schedulers"][0]["_last_lr"].__setitem__(0, 0.1 + 2e-17), "schedule"),
    "best score": (lambda c: c["callbacks"]["RunCheckpoint"].update(best_score=0.4), "best score"),
    "step": (lambda c: c.update(global_step=5), "progress"),
}


def test_equal_runs_have_no_differences(tmp_path: Path) -> None:
    assert found(made_up(tmp_path / "a"), made_up(tmp_path / "b")) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_bit_is_found_in_its_part(tmp_path: Path, change: str) -> None:
    whole, other = made_up(tmp_path / "a"), made_up(tmp_path / "b")
    path = other / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    CHANGES[change][0](content)
    torch.save(content, path)
    assert [part for part, _ in found(whole, other)] == [CHANGES[change][1]]


def test_a_checkpoint_too_few_is_found(tmp_path: Path) -> None:
    whole, other = made_up(tmp_path / "a"), made_up(tmp_path / "b")
    shutil.copy(whole / "checkpoints" / "last.ckpt", whole / "checkpoints" / "best.ckpt")
    comparison = Comparison()
    comparison.runs(whole, other)
    assert [(d.part, d.where) for d in comparison.differences] == [("files", "best.ckpt")]


def test_curves_of_two_starts_are_joined(tmp_path: Path) -> None:
    """Step 2 was run twice, and logged the same twice."""
    whole, other = made_up(tmp_path / "a"), made_up(tmp_path / "b")
    write_rows(other / "logs" / "version_0" / "metrics.csv", ROWS[:3])
    write_rows(other / "logs" / "version_1" / "metrics.csv", ROWS[2:])
    assert found(whole, other) == []


def test_a_curve_that_misses_a_step_is_found(tmp_path: Path) -> None:
    whole, other = made_up(tmp_path / "a"), made_up(tmp_path / "b")
    write_rows(other / "logs" / "version_0" / "metrics.csv", ROWS[:1])
    write_rows(other / "logs" / "version_1" / "metrics.csv", ROWS[2:])
    missing = [("curves", f"{name} at step 1 is missing") for name in ("epoch", "train/loss")]
    assert found(whole, other) == missing


@pytest.mark.parametrize("start", [0, 1])
def test_a_row_that_differs_in_any_start_is_found(tmp_path: Path, start: int) -> None:
    """Also where the other start logged the right value."""
    whole, other = made_up(tmp_path / "a"), made_up(tmp_path / "b")
    starts = [ROWS[:3], ROWS[2:]]
    starts[start] = [row | {"train/loss": 0.2 + 3e-17} if row["step"] == 2 else row for row in starts[start]]
    for i, rows in enumerate(starts):
        write_rows(other / "logs" / f"version_{i}" / "metrics.csv", rows)
    assert found(whole, other) == [("curves", "train/loss at step 2")]


def train(folder: Path, stop_at: int | None = None, ckpt: Path | None = None, **options: Any) -> Path:
    """Fit the tiny model with curves, up to a stop."""
    trainer = tiny_trainer(folder, log_every_n_steps=1, logger=make_loggers(folder), **options)
    for callback in trainer.callbacks:
        if hasattr(callback, "snapshots"):
            callback.snapshots = frozenset({5})
    trainer.callbacks[:0] = [] if stop_at is None else [StopAt(stop_at)]
    try:
        trainer.fit(TinyModule(), datamodule=TinyData(), ckpt_path=ckpt)
    except StopRequested:
        assert trainer.global_step == stop_at
    return folder


@pytest.mark.parametrize("stop_at", [2, 5, 7])
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulation"])
def test_a_stop_loses_no_row_of_the_curves(tmp_path: Path, options: dict[str, int], stop_at: int) -> None:
    """Lightning logs a step only after the checkpoint of that step, behind which the continued run begins."""
    whole = train(tmp_path / "whole", max_epochs=3, **options)
    folder = train(tmp_path / "stopped", stop_at, max_epochs=3, **options)
    train(folder, ckpt=RunFolder(folder).last(), max_epochs=3, **options)
    comparison = Comparison()
    comparison.runs(whole, folder)
    assert comparison.differences == [] and comparison.compared["curves"] > 20


@pytest.mark.parametrize("stops", [(5, 7), (5, 15)], ids=["within the next epoch", "at the end of a later one"])
def test_a_run_stopped_at_the_end_of_an_epoch_can_be_stopped_again(tmp_path: Path, stops: tuple[int, int]) -> None:
    """Lightning did not count the epoch as begun that follows, and a second continuation trained it again."""
    options = {"max_epochs": 4, "check_val_every_n_epoch": 2}
    whole, folder = train(tmp_path / "whole", **options), tmp_path / "stopped"
    for stop_at in (*stops, None):
        train(folder, stop_at, RunFolder(folder).last(), **options)
    comparison = Comparison()
    comparison.runs(whole, folder)
    assert comparison.differences == []


def test_a_run_goes_on_exactly_from_a_snapshot_where_a_validation_was_due(tmp_path: Path) -> None:
    """``last`` falls back to it; it was written before the validation, which the continued run then left out."""
    whole = train(tmp_path / "whole", max_epochs=3)
    folder = train(tmp_path / "cut", stop_at=7, max_epochs=3)
    (folder / "checkpoints" / "best.ckpt").unlink()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"step_5\.ckpt is taken instead"):
        start = RunFolder(folder).last()
    train(folder, ckpt=start, max_epochs=3)
    comparison = Comparison()
    comparison.runs(whole, folder)
    assert comparison.differences == []


def test_the_table_counts_differences_and_tells_the_largest(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    whole, other = made_up(tmp_path / "a"), made_up(tmp_path / "b")
    content = torch.load(other / "checkpoints" / "last.ckpt", weights_only=True)
    content["current_model_state"]["w"][1] += 0.25
    torch.save(content, other / "checkpoints" / "last.ckpt")
    report = Report("made up", kills=3, starts=4, rounds=1)
    report.comparison.runs(whole, other)
    heading, row = table_rows([report])
    cells = dict(zip(heading, row, strict=True))
    assert (cells["kills"], cells["restarts"], cells["weights"], cells["EMA"]) == ("3", "3", "1 (0.25)", "0")
    show(Console(), [report])
    assert "| weights | 1 (0.25) |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_killed_three_times_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    report = torment("pretraining", kills=3, steps=40, seed=1, folder=tmp_path)
    assert report.kills == 3 and report.starts >= 4
    assert report.comparison.differences == []
    assert report.comparison.compared["files"] >= 4  # best, last and two snapshots
    run = Run(tmp_path / "killed_1", (*METHODS["pretraining"], "--trainer.max_steps=40", "--seed_everything=1"))
    (run.folder / "checkpoints" / "last.ckpt").write_bytes(b"")  # as a full disk leaves it
    run.finish(run.start())
    assert "is taken instead" in (run.folder / "start_1.log").read_text()
    again = Comparison()
    again.runs(tmp_path / "undisturbed", run.folder)
    assert again.differences == []

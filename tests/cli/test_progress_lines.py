"""Into a file, progress is lines that say where the run stands; on a terminal it is one bar for the whole run."""

from __future__ import annotations

import io
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from rich.console import Console

from landmark_diffusion.cli import pace
from landmark_diffusion.cli.pace import Pace, describe_batches, describe_fit, spell
from landmark_diffusion.cli.progress import TimedLines, progress, still
from landmark_diffusion.cli.progress_bar import RunBar
from landmark_diffusion.cli.progress_lines import ProgressLines
from tests.cli.fakes import TinyData, TinyModel


def fit(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(TinyModel(4), datamodule=TinyData())
    return trainer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is set by hand."""
    now = [1000.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


class StepsTakeTime(Callback):
    """The first step takes 100 s, where everything warms up, and each other 10 s."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        self.clock[0] += 10.0 if trainer.global_step else 100.0


@pytest.mark.parametrize(("interval", "steps"), [(0.0, [1, 2, 3, 4]), (3600.0, [])])
def test_lines_of_a_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: float, steps: list[int]) -> None:
    fit(tmp_path, ProgressLines(interval), max_epochs=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fit: ")]
    assert [line.split(",")[1] for line in lines if " left" in line] == [f" step {step}/4" for step in steps]
    validated = [line for line in lines if "validated" in line]
    assert [line.split(",")[0] for line in validated] == [f"fit: validated after epoch {epoch}" for epoch in (0, 1)]
    assert all("val/mre " in line for line in validated)


@pytest.mark.parametrize(
    ("bounds", "of", "left"),
    [
        ({"max_epochs": 3}, "/6", ["8 min", "40 s", "30 s", "20 s", "10 s", "0 s"]),
        ({"max_steps": 3}, "/3", ["3 min", "10 s", "0 s"]),
        ({"max_steps": 3, "max_epochs": 7}, "/3", ["3 min", "10 s", "0 s"]),
        ({"max_epochs": -1, "max_time": timedelta(seconds=130)}, "", ["30 s", "20 s", "10 s", "0 s"]),
        ({"max_epochs": 3, "max_time": timedelta(seconds=130)}, "/6", ["30 s", "20 s", "10 s", "0 s"]),
    ],
)
def test_time_left_of_runs_with_any_bound(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    clock: list[float],
    bounds: dict[str, Any],
    of: str,
    left: list[str],
) -> None:
    """100 s for the first of six steps leave 500 s; from the second on a step is known to take 10 s."""
    fit(tmp_path, StepsTakeTime(clock), ProgressLines(0.0), **bounds)
    lines = [line for line in capsys.readouterr().out.splitlines() if " left" in line]
    for step, (line, expected) in enumerate(zip(lines, left, strict=True), 1):
        rate = "0.10 steps/s" if step > 1 else "100 s/step"
        assert f", step {step}{of}, {rate}, {expected} left" in line


def test_a_run_without_an_end_has_a_rate_alone(tmp_path: Path, clock: list[float]) -> None:
    class EndAtThree(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            told.append(describe_fit(trainer, started))
            trainer.should_stop = trainer.global_step == 3

    told: list[str] = []
    started = Pace()
    fit(tmp_path, StepsTakeTime(clock), EndAtThree(), max_epochs=-1)
    assert told == ["100 s/step", "0.10 steps/s", "0.10 steps/s"]


def test_a_run_that_goes_on_counts_only_its_own_steps(clock: list[float]) -> None:
    started = Pace(1000)
    assert started.rate(1000) is None
    clock[0] += 50
    assert started.rate(1001) == 1 / 50
    clock[0] += 4
    assert started.rate(1003) == 0.5
    clock[0] += 4
    assert describe_batches(1005, 1105, started) == "0.50 batches/s, 3 min left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3570, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86400 + 3 * 3600 + 60, "1 d 3 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert spell(seconds) == text


def test_lines_of_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = fit(tmp_path, ProgressLines(0.0), max_steps=1)
    capsys.readouterr()
    for verb, evaluate in (("test", trainer.test), ("validate", trainer.validate)):
        evaluate(TinyModel(4), datamodule=TinyData(), verbose=False)
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{verb}: batch")]
        assert [line.split(",")[0] for line in lines] == [f"{verb}: batch 1/2", f"{verb}: batch 2/2"]
        assert lines[-1].endswith(" batches/s, 0 s left")


@pytest.mark.parametrize(("bounds", "of"), [({"max_steps": 3}, "3/3"), ({"max_epochs": 2}, "4/4")])
def test_the_bar_counts_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, Any], of: str
) -> None:
    """Lightning's own says "Epoch 3/-2" there, and no time left."""
    screen = io.StringIO()
    module = "lightning.pytorch.callbacks.progress.rich_progress"
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(f"{module}.get_console", lambda: console)
    monkeypatch.setattr(f"{module}.reconfigure", lambda **_: None)
    bar = RunBar()
    trainer = fit(tmp_path, bar, **bounds)
    last = screen.getvalue().rsplit("fit, epoch 1", 1)[1]
    assert f" {of} " in last and "steps/s, 0 s left" in last
    assert "/-2" not in screen.getvalue()
    trainer.test(TinyModel(4), datamodule=TinyData(), verbose=False)
    assert "Testing" in screen.getvalue() and " 2/2 " in screen.getvalue().rsplit("Testing", 1)[1]


def test_the_bar_of_a_run_without_an_end(tmp_path: Path) -> None:
    fit(tmp_path, RunBar(), max_epochs=-1, max_time=timedelta(seconds=0.05))


def test_lines_of_other_work_come_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = TimedLines(20, "images")
    clock[0] += 60
    lines("checking", 1)  # the first one, after a minute of other work, says nothing of the pace
    clock[0] += 10
    lines("checking", 1)  # too soon for another line
    clock[0] += 10
    lines("checking", 1)
    assert capsys.readouterr().out == "checking: 1 of 20 images\nchecking: 3 of 20 images, 3 min left\n"


def test_a_bar_has_lines_in_a_file_where_they_are_asked_for(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for lines, said in (("", ""), ("images", "translating: 1 of 2 images\n")):
        with progress(2, "translating", lines=lines) as advance:
            clock[0] += 60
            advance()
        assert capsys.readouterr().out == said


def test_work_that_cannot_say_how_far_it_is_says_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with still("translating", interval=0.02):
        time.sleep(0.2)
    told = capsys.readouterr().out
    assert told.splitlines()[0] == "translating: 0 s so far" and len(told.splitlines()) >= 2
    time.sleep(0.1)
    assert not capsys.readouterr().out
    with pytest.raises(ZeroDivisionError), still("translating", interval=60):
        1 / 0  # noqa: B018
    assert not capsys.readouterr().out


def test_what_was_done_before_tells_nothing_of_the_pace(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = TimedLines(500, "steps", interval=15)
    lines("as it was", 10)
    lines("fold 1 of 3", 150, there=True)
    for _ in range(4):
        clock[0] += 20
        lines("fold 2 of 3", 1)
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "fold 2 of 3: 164 of 500 steps, 1 h 52 min left"

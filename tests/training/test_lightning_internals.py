"""What we read in Lightning's private rooms, held against what a real fit does, so that another version shows here."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from landmark_diffusion.training import lightning_internals as internals
from tests.training.tiny import TinyData, TinyModule


class Witness(Callback):
    """Ask ``question`` after each batch, and note what then happens."""

    def __init__(self, question: Callable[[Trainer], Any]) -> None:
        self.question = question
        self.answers: list[Any] = []
        self.steps: list[int] = []
        self.validated_after: list[int] = []
        self.epochs_ended_after: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.answers.append(self.question(trainer))
        self.steps.append(trainer.global_step)

    def on_validation_start(self, *args: Any) -> None:
        self.validated_after.append(len(self.answers) - 1)

    def on_train_epoch_end(self, *args: Any) -> None:
        self.epochs_ended_after.append(len(self.answers) - 1)


def fit(
    *callbacks: Callback, data: TinyData | None = None, ckpt_path: str | Path | None = None, **options: Any
) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings: dict[str, Any] = quiet | {"num_sanity_val_steps": 0, "use_distributed_sampler": False, "devices": 1}
    settings |= {"enable_checkpointing": False, "max_epochs": 2} | options
    trainer = Trainer(callbacks=list(callbacks), **settings)
    trainer.fit(TinyModule(), data or TinyData(), ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_that_ends_a_step_is_one_where_the_step_counter_moves(accumulate: int) -> None:
    witness = Witness(internals.at_optimizer_step)
    fit(witness, accumulate_grad_batches=accumulate)
    moved = [after > before for before, after in zip([0, *witness.steps], witness.steps, strict=False)]
    assert witness.answers == moved and len(moved) == 10 and (accumulate == 1 or not all(moved))


@pytest.mark.parametrize("interval", [1.0, 2, 5])
def test_a_validation_that_is_foretold_comes_and_no_other(interval: float) -> None:
    witness = Witness(internals.validation_follows)
    fit(witness, val_check_interval=interval)
    assert [place for place, told in enumerate(witness.answers) if told] == witness.validated_after
    assert witness.validated_after


def test_without_validation_images_none_is_foretold() -> None:
    witness = Witness(internals.validation_follows)
    fit(witness, data=TinyData(validation=False))
    assert not any(witness.answers) and not witness.validated_after


def test_the_last_batch_of_an_epoch() -> None:
    witness = Witness(internals.at_last_batch)
    fit(witness)
    assert [place for place, last in enumerate(witness.answers) if last] == witness.epochs_ended_after == [4, 9]


@pytest.mark.parametrize(("options", "last"), [({"max_epochs": 2}, 9), ({"max_steps": 7, "max_epochs": -1}, 6)])
def test_the_final_step(options: dict[str, int], last: int) -> None:
    witness = Witness(internals.is_final_step)
    fit(witness, **options)
    assert [place for place, final in enumerate(witness.answers) if final] == [last]
    assert len(witness.answers) == last + 1


def test_planned_steps() -> None:
    witness = Witness(internals.planned_steps)
    fit(witness, accumulate_grad_batches=2)
    assert witness.answers[0] == witness.steps[-1] == 6  # five batches: three steps an epoch


def test_position_counts_steps_and_batches() -> None:
    witness = Witness(internals.position)
    fit(witness, accumulate_grad_batches=2, max_epochs=1)
    assert [steps for steps, _ in witness.answers] == witness.steps == [0, 1, 1, 2, 3]
    assert [batches for _, batches in witness.answers] == [0, 1, 2, 3, 4]


class TakeBack(Callback):
    """Make the step of one batch come to nothing."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        if trainer.fit_loop.epoch_loop.batch_idx == self.batch:
            internals.take_back_step(trainer)


def test_a_step_that_is_taken_back_is_not_counted() -> None:
    witness = Witness(lambda trainer: None)
    fit(witness, TakeBack(2), max_epochs=1)
    assert witness.steps == [1, 2, 2, 3, 4]


class SaveAt(Callback):
    """Write a checkpoint after the n-th batch of the run, counted from 0."""

    def __init__(self, batch: int, path: Path) -> None:
        self.left, self.path = batch, path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if self.left == 0:
            trainer.save_checkpoint(self.path, weights_only=False)
        self.left -= 1


class Place(Callback):
    """Where a continued run stands as its first batch begins, and what it was being loaded from."""

    def __init__(self) -> None:
        self.first: tuple[int, int] | None = None
        self.loading: list[bool] = []

    def on_load_checkpoint(self, trainer: Trainer, *args: Any) -> None:
        self.loading.append("loops" in internals.loading_checkpoint(trainer))

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        internals.begin_epoch_behind_a_finished_one(trainer)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.first is None:
            self.first = (trainer.current_epoch, batch_idx)
            self.loading.append(bool(internals.loading_checkpoint(trainer)))


@pytest.mark.parametrize(("batch", "place"), [(0, (0, 1)), (3, (0, 4)), (4, (1, 0)), (6, (1, 2))])
def test_where_a_checkpoint_goes_on(tmp_path: Path, batch: int, place: tuple[int, int]) -> None:
    path = tmp_path / "a.ckpt"
    fit(SaveAt(batch, path))
    seen = Place()
    fit(seen, ckpt_path=path)
    assert seen.first == place
    assert seen.loading == [True, False]


def test_an_epoch_behind_a_finished_one_is_counted_as_begun(tmp_path: Path) -> None:
    """Saved at an epoch's last batch, continued and saved within the next: the second checkpoint counts both epochs."""
    first, second = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    fit(SaveAt(4, first))
    fit(Place(), SaveAt(1, second), ckpt_path=first)
    epochs = torch.load(second, weights_only=True)["loops"]["fit_loop"]["epoch_progress"]["current"]
    assert (epochs["ready"], epochs["processed"]) == (2, 1)


def test_the_row_that_is_told_is_the_row_that_is_logged(tmp_path: Path) -> None:
    witness = Witness(internals.row_to_log)
    fit(witness, logger=CSVLogger(str(tmp_path)), log_every_n_steps=2)
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        logged = [row for row in csv.DictReader(file) if row["train/loss"]]
    told = [row for row in witness.answers if row is not None]
    assert [row["step"] for row in told] == [int(row["step"]) for row in logged] == [1, 3, 5, 7, 9]
    assert [row["values"]["train/loss"] for row in told] == pytest.approx([float(row["train/loss"]) for row in logged])


def test_a_row_is_logged_at_its_step(tmp_path: Path) -> None:
    row = {"step": 41, "values": {"extra": 2.5, "epoch": 0}}
    fit(Witness(lambda trainer: internals.log_row(trainer, row)), logger=CSVLogger(str(tmp_path)), max_epochs=1)
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        rows = [each for each in csv.DictReader(file) if each.get("extra")]
    assert {(each["step"], each["extra"]) for each in rows} == {("41", "2.5")}


class Taker(Callback):
    """Take a signal before Lightning notes who had it, and keep it from putting that back."""

    def __init__(self, forget: bool) -> None:
        self.forget = forget

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        trainer._signal_connector._original_handlers[signal.SIGUSR2] = ours
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        if self.forget:
            internals.forget_signal_handler(trainer, signal.SIGUSR2)


def ours(*args: Any) -> None:
    """A handler that nobody calls."""


@pytest.mark.parametrize("forget", [True, False])
def test_a_forgotten_handler_is_not_put_back(forget: bool) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    try:
        fit(Taker(forget), max_steps=1)
        assert signal.getsignal(signal.SIGUSR2) is (signal.SIG_IGN if forget else ours)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

    alone = internals.cluster_environment(Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    assert isinstance(alone, LightningEnvironment)
    given = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, plugins=[SLURMEnvironment(auto_requeue=False)]
    )
    assert isinstance(internals.cluster_environment(given), SLURMEnvironment)


def test_names_of_types_are_there() -> None:
    from lightning.pytorch.loggers.csv_logs import ExperimentWriter

    assert issubclass(ExperimentWriter, internals.CurveWriter)
    assert internals.PrecisionInput


def test_nobody_else_enters() -> None:
    """Private names of the trainer and its loops stand in this one module alone."""
    package = Path(internals.__file__).parents[1]
    words = ("trainer._", "fit_loop.", "import _PRECISION", "import _Experiment", "epoch_loop.")
    found = [
        f"{path.relative_to(package)}: {word}"
        for path in package.rglob("*.py")
        if path.name != "lightning_internals.py"
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []

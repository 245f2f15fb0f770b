"""The bar of a run on a terminal: steps done of all, rate and time left, over the whole run."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn, CustomTimeColumn
from rich.progress import ProgressColumn, Task, TextColumn
from rich.text import Text

from landmark_diffusion.cli.pace import Pace, describe_fit
from landmark_diffusion.training.lightning_internals import planned_steps


class PaceColumn(CustomTimeColumn):
    """What a task says of its own pace; the elapsed and the remaining time of any other task."""

    def render(self, task: Task) -> Text:
        """Return the text of one task."""
        pace = task.fields.get("pace")
        return super().render(task) if pace is None else Text(pace, style=self.style)


class RunBar(RichProgressBar):
    """Lightning's bar with one task for the whole fit, where Lightning has one for each epoch and no time left."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pace = Pace()

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Name, bar, how many of all, pace."""
        return [
            TextColumn("{task.description}"),
            CustomBarColumn(
                complete_style=self.theme.progress_bar,
                finished_style=self.theme.progress_bar_finished,
                pulse_style=self.theme.progress_bar_pulse,
            ),
            BatchesProcessedColumn(style=self.theme.batch_progress),
            PaceColumn(style=self.theme.time),
        ]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._pace = Pace(trainer.global_step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the epoch; the task goes on."""
        if self.is_disabled or self.progress is None:
            return
        if self.train_progress_bar_id is None:
            self._initialize_train_progress_bar_id()
        else:
            description = self._get_train_description(trainer.current_epoch)
            self.progress.update(self.train_progress_bar_id, description=description)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the optimiser steps that are done, and the pace."""
        if self.is_disabled or self.progress is None:
            return
        if self.train_progress_bar_id is None:
            self._initialize_train_progress_bar_id()
        assert self.train_progress_bar_id is not None
        pace = describe_fit(trainer, self._pace)
        self.progress.update(self.train_progress_bar_id, completed=trainer.global_step, pace=pace)
        self._update_metrics(trainer, pl_module)
        self.refresh()

    def _initialize_train_progress_bar_id(self) -> None:
        assert self.progress is not None
        planned = planned_steps(self.trainer)
        self.train_progress_bar_id = self.progress.add_task(
            self._get_train_description(self.trainer.current_epoch),
            total=float("inf") if planned is None else planned,  # Lightning's Progress takes no None
            completed=self.trainer.global_step,
            pace="",
        )

    def _get_train_description(self, current_epoch: int) -> str:
        return f"fit, epoch {current_epoch}"

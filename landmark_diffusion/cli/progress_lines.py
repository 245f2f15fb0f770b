"""Progress as plain lines, for output that goes into a file or pipe, where a bar would only leave rubbish."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from landmark_diffusion.cli.pace import Pace, describe_batches, describe_fit
from landmark_diffusion.cli.progress import SECONDS_BETWEEN_LINES
from landmark_diffusion.training.lightning_internals import planned_steps


class ProgressLines(ProgressBar):
    """Print where the run stands every 15 seconds at most, and the metrics after each validation.

    Args:
        interval: seconds between two lines.
    """

    def __init__(self, interval: float = SECONDS_BETWEEN_LINES) -> None:
        super().__init__()
        self.interval = interval
        self._enabled = True
        self._last = time.monotonic()
        self._pace = Pace()

    def disable(self) -> None:
        """Print nothing (Lightning calls it on all processes but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print a line of the module's."""
        if self._enabled:
            print(*args, **{**kwargs, "flush": True})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._begin(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print step, speed, time left and losses when it is time."""
        if not self._is_time():
            return
        planned = planned_steps(trainer)
        step = f"step {trainer.global_step}" + (f"/{planned}" if planned is not None else "")
        pace = describe_fit(trainer, self._pace)
        metrics = self._metrics(trainer, pl_module)
        self.print(f"fit: epoch {trainer.current_epoch}, {step}{', ' + pace if pace else ''}{metrics}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the metrics of a validation within training."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            errors = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/mre")}
            metrics = "".join(f", {name} {value:.4g}" for name, value in sorted(errors.items()))
            self.print(f"fit: validated after epoch {trainer.current_epoch}, step {trainer.global_step}{metrics}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an evaluation."""
        if trainer.state.fn != "fit":
            self._begin()

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Print how many batches of an evaluation are done when it is time."""
        if trainer.state.fn in (None, "fit") or not self._is_time():
            return
        verb = trainer.state.fn.value
        part = "val" if verb == "validate" else verb
        done, total = args[3] + 1, sum(getattr(trainer, f"num_{part}_batches"))
        pace = describe_batches(done, total, self._pace)
        self.print(f"{verb}: batch {done}/{total}{', ' + pace if pace else ''}")

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def _begin(self, done: int = 0) -> None:
        self._last = time.monotonic()
        self._pace = Pace(done)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last < self.interval:
            return False
        self._last = now
        return True

    def _metrics(self, trainer: Trainer, pl_module: LightningModule) -> str:
        values = self.get_metrics(trainer, pl_module)
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float)) and name != "v_num"}
        return "".join(f", {name} {value:.4g}" for name, value in numbers.items())

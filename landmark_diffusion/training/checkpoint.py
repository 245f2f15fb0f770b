"""Checkpoints that are whole or not there: atomic writing, and when to write."""

from __future__ import annotations

import math
import os
import pickle
import re
import shutil
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint, unpickling_message
from landmark_diffusion.modelfile.model_file import is_model_file
from landmark_diffusion.training.ema import averages_of
from landmark_diffusion.training.folder import BEST, LAST, SNAPSHOT
from landmark_diffusion.training.lightning_internals import (
    at_last_batch,
    at_optimizer_step,
    begin_epoch_behind_a_finished_one,
    is_final_step,
    log_row,
    position,
    row_to_log,
    validation_follows,
)
from landmark_diffusion.training.processes import is_running

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.partial")
NOWHERE = (-1, -1)
"""The position of a run that has saved nothing yet."""
ROW_KEY = "row_to_log"
"""Key in a checkpoint of the curves' row at its step, where Lightning logs it only after the checkpoint is written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its place and rename it, so that a kill at any moment leaves the old file whole.

    Lightning's own writing goes through the system's temporary folder; where that is another file system, moving the
    file copies it and can be cut short. Unfinished files of dead processes are removed at the next save.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save ``checkpoint`` at ``path``; raises UserError when the disk is full or the folder cannot be written."""
        target = Path(path)
        remove_stale_files(target.parent)
        try:
            _write_whole(target, lambda file: torch.save(checkpoint, file))
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):  # on a full disk torch stumbles over the file that it cannot close
                raise
            raise UserError(
                f"{target}: the checkpoint could not be written ({cause.strerror or cause}); "
                "an earlier one at that place is untouched. Free some space, or choose another run folder"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint as Lightning does, or an exported model; ``weights_only`` is always on.

        A program's own Trainer passes None, which Lightning takes for False where the path is a URL. Raises UserError
        for a file that would run code.
        """
        if is_model_file(path):
            return read_checkpoint(path)
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            raise UserError(unpickling_message(Path(path), error)) from error


def use_own_checkpoint_io(trainer: Trainer) -> None:
    """Let the trainer write atomically and read exported models, unless it has a checkpoint plug-in of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()


def _write_whole(target: Path, write: Callable[[Any], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # the rename must not reach the disk before the content
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def link_whole(source: Path, target: Path) -> None:
    """Make ``target`` the same content as ``source``, atomically; by a hard link where the file system has them.

    A link is safe because checkpoints are replaced, never changed in place.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        with source.open("rb") as content:
            _write_whole(target, lambda file: shutil.copyfileobj(content, file))
        return
    # Renaming one link over another of the same file does nothing and leaves both names, hence the unlink after it.
    os.replace(partial, target)
    partial.unlink(missing_ok=True)


def remove_stale_files(folder: Path) -> list[Path]:
    """Remove unfinished checkpoints of processes that no longer run, and return them."""
    removed = []
    for path in folder.glob(".*.partial") if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(path.name)
        if match and not is_running(int(match["pid"])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


class RunCheckpoint(Checkpoint):
    """Keep ``last.ckpt`` for going on and ``best.ckpt`` by a validation metric in ``folder``.

    ``last.ckpt`` is written every ``every_n_steps`` optimiser steps, at the end of every ``every_n_epochs``-th epoch,
    after each validation and at the end of training; never in the middle of a gradient accumulation and never between
    the last batch and the validation that follows it, since a run continued from there would leave that validation out.

    Args:
        folder: where the two files go.
        every_n_steps: optimiser steps between two writings; 0 leaves the epochs' ends alone.
        every_n_epochs: epochs between two writings at an epoch's end.
        monitor: the logged validation metric that ``best.ckpt`` follows; without validation there is no ``best.ckpt``.
        mode: "min" or "max".
        snapshots: optimiser steps whose checkpoint is kept beside them, as ``step_4000.ckpt``.
        snapshot_every: optimiser steps between two more of these, which are thinned; 0: none.
        keep_snapshots: how many of the thinned ones are kept, the newest; 0: all. An old one goes when the new one is
            whole; those of ``snapshots``, best and last never do.

    Refuses (UserError) to resume a checkpoint with averaged weights in a run without averaging, since Lightning would
    silently go on from the average; and to write weights with NaN or infinity, which leaves the earlier files as they
    were.
    """

    def __init__(
        self,
        folder: str | Path,
        every_n_steps: int = 500,
        every_n_epochs: int = 1,
        monitor: str = "val/mre",
        mode: str = "min",
        snapshots: Sequence[int] = (),
        snapshot_every: int = 0,
        keep_snapshots: int = 5,
    ) -> None:
        super().__init__()
        if snapshots and min(snapshots) < 1:
            raise UserError(f"snapshots: found {list(snapshots)}, expected numbers of optimiser steps, each at least 1")
        for name, value in (("snapshot_every", snapshot_every), ("keep_snapshots", keep_snapshots)):
            if value < 0:
                raise UserError(f"{name}: found {value}, expected a number from 0 up")
        if every_n_steps < 0 or every_n_epochs < 1:
            raise UserError(
                f"checkpoint: found every_n_steps={every_n_steps}, every_n_epochs={every_n_epochs}; "
                "expected every_n_steps >= 0 and every_n_epochs >= 1"
            )
        if mode not in ("min", "max"):
            raise UserError(f"checkpoint: found mode={mode!r}, expected min or max")
        self.folder = Path(folder)
        self.every_n_steps, self.every_n_epochs = every_n_steps, every_n_epochs
        self.monitor, self.mode = monitor, mode
        self.snapshots = frozenset(snapshots)
        self.best_score: float | None = None
        self.best_step: int | None = None
        self.snapshot_every, self.keep_snapshots = snapshot_every, keep_snapshots
        self._last_saved, self._last_snapshot = NOWHERE, 0
        self._row: dict[str, Any] | None = None

    @property
    def best_model_path(self) -> str:
        """Path of ``best.ckpt`` as Lightning's ``ckpt_path="best"`` asks for it; empty where there is none."""
        path = self.folder / BEST
        return str(path) if path.is_file() else ""

    @property
    def best_model_score(self) -> torch.Tensor | None:
        """Value of the monitored metric in ``best.ckpt``."""
        return None if self.best_score is None else torch.tensor(self.best_score)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the trainer write atomically."""
        use_own_checkpoint_io(trainer)
        self._last_saved, self._last_snapshot = NOWHERE, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a snapshot and ``last.ckpt`` when they are due after this optimiser step."""
        if not at_optimizer_step(trainer) or validation_follows(trainer):
            return
        self._save_snapshot(trainer)
        if self._due(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``best.ckpt`` when the metric improved, a snapshot that is due, and ``last.ckpt``."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not at_optimizer_step(trainer):
            return
        improved = self._improves(trainer)
        self._save_snapshot(trainer)
        if improved and not _writes_nothing(trainer):
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
            if trainer.is_global_zero:
                link_whole(self.folder / BEST, self.folder / LAST)
            self._last_saved = position(trainer)
        elif not at_last_batch(trainer) or self._due(trainer):
            self.save_last(trainer)

    def _save_snapshot(self, trainer: Trainer) -> None:
        """Write a snapshot that is due: before ``last.ckpt``, behind which a run killed in between would not look."""
        if not self._snapshot_due(trainer.global_step) or _writes_nothing(trainer):
            return
        trainer.save_checkpoint(self.folder / snapshot_name(trainer.global_step), weights_only=False)
        self._last_snapshot = trainer.global_step
        if trainer.is_global_zero and self.snapshot_every and self.keep_snapshots:
            self._thin(trainer.global_step)

    def save_last(self, trainer: Trainer) -> None:
        """Write ``last.ckpt`` now (all processes call it together)."""
        if not _writes_nothing(trainer) and self._last_saved != position(trainer):
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)
            self._last_saved = position(trainer)

    def _due(self, trainer: Trainer) -> bool:
        if is_final_step(trainer):
            return True
        if at_last_batch(trainer):
            return (trainer.current_epoch + 1) % self.every_n_epochs == 0
        step = trainer.global_step  # which stands still where a step is skipped
        return self.every_n_steps > 0 and step % self.every_n_steps == 0 and step != self._last_saved[0]

    def _snapshot_due(self, step: int) -> bool:
        if step == self._last_snapshot:
            return False
        return step in self.snapshots or (self.snapshot_every > 0 and step % self.snapshot_every == 0)

    def _thin(self, step: int) -> None:
        """Remove the oldest that ``snapshot_every`` left up to ``step``; later ones are of a run before this one."""
        found = [int(match[1]) for path in self.folder.iterdir() if (match := SNAPSHOT.fullmatch(path.name))]
        ours = sorted(n for n in found if 0 < n <= step and n % self.snapshot_every == 0 and n not in self.snapshots)
        for old in ours[: -self.keep_snapshots]:
            (self.folder / snapshot_name(old)).unlink(missing_ok=True)

    def _improves(self, trainer: Trainer) -> bool:
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or math.isnan(float(value)):
            return False
        score = float(value)
        sign = 1 if self.mode == "min" else -1
        if self.best_score is not None and sign * score >= sign * self.best_score:
            return False
        self.best_score, self.best_step = score, trainer.global_step
        return True

    def state_dict(self) -> dict[str, Any]:
        """Keep the best score, so that a resumed run does not take a worse one for the best."""
        return {"monitor": self.monitor, "best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score, unless it is of another metric."""
        if state_dict["monitor"] == self.monitor:
            self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to write rotten weights, on all processes; the moving average has put its own in already."""
        parameters = {name for name, _ in pl_module.named_parameters()}
        for key in ("state_dict", "current_model_state"):
            rotten = nonfinite_weights(checkpoint.get(key, {}), parameters)
            if rotten:
                more = f" and {len(rotten) - 1} more" if len(rotten) > 1 else ""
                raise UserError(
                    f"{self.folder}: no checkpoint is written at step {trainer.global_step}, since the weights hold "
                    f"NaN or infinity ({rotten[0]}{more}); the earlier ones are untouched. Lower "
                    "model.optimisation.learning_rate or set trainer.gradient_clip_val 1.0, and go on with "
                    "--ckpt_path last"
                )
        checkpoint[ROW_KEY] = row_to_log(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a new epoch behind a finished one, and log the row of the checkpoint's step.

        The run that wrote the checkpoint was perhaps killed before it logged that row.
        """
        begin_epoch_behind_a_finished_one(trainer)
        row, self._row = self._row, None
        if row is not None:
            log_row(trainer, row)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the row to log again, and refuse to go on from averaged weights without averaging."""
        self._row = checkpoint.get(ROW_KEY)
        if trainer.state.fn == "fit" and "averaging_state" in checkpoint and not averages_of(trainer):
            raise UserError(
                f"{trainer.ckpt_path}: found a checkpoint with an exponential moving average of the weights, but "
                "optimisation.ema_decay is 0 here, so training would go on from the average. Set "
                "model.optimisation.ema_decay as it was, or start a new run"
            )


def nonfinite_weights(state: dict[str, Any], parameters: Container[str]) -> list[str]:
    """Name what in a ``state_dict`` holds NaN, and which ``parameters`` hold infinity, which a mask may well do."""
    return [
        name
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and not bool((torch.isfinite(value) if name in parameters else ~torch.isnan(value)).all())
    ]


def snapshot_name(step: int) -> str:
    """File name of the checkpoint kept at an optimiser step."""
    return f"step_{step}.ckpt"


def _writes_nothing(trainer: Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]

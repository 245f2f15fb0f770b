"""A run on disk and in time: its folder, checkpoints, loggers, keyed seeds, and how it is stopped and continued.

Importing the package needs no torch; its callbacks are imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.training.folder import RunFolder

if TYPE_CHECKING:
    from lightning.pytorch import Callback

__all__ = ["RunFolder", "default_callbacks", "module_callbacks"]


def module_callbacks(
    ema_decay: float, early_stopping_patience: int, given: Sequence[Callback] = ()
) -> tuple[list[Callback], list[Callback]]:
    """Return what a module's options ask of its trainer: the moving average, and the early stop; each none or one.

    Whoever gave a callback of such a kind (``given``) has said how it is to be, and gets no second one.
    """
    from lightning.pytorch.callbacks import EarlyStopping
    from lightning.pytorch.callbacks.weight_averaging import WeightAveraging

    from landmark_diffusion.training.ema import EMA

    averages = ema_decay and not any(isinstance(each, WeightAveraging) for each in given)
    stops = early_stopping_patience and not any(isinstance(each, EarlyStopping) for each in given)
    return (
        [EMA(ema_decay)] if averages else [],
        [EarlyStopping("val/loss", patience=early_stopping_patience, check_on_train_epoch_end=False)] if stops else [],
    )


def default_callbacks(
    run_folder: RunFolder | str | Path,
    *,
    ema_decay: float = 0.0,
    checkpoint_every: int = 500,
    monitor: str = "val/mre",
    command: str | None = None,
    snapshots: Sequence[int] = (),
    early_stopping_patience: int = 0,
    snapshot_every: int = 0,
    keep_snapshots: int = 5,
    max_bad_steps: int = 10,
    given: Sequence[Callback] = (),
) -> list[Callback]:
    """Return the callbacks of a run: NaN skipped, moving average (if ``ema_decay``), checkpoints, the graceful stop.

    Args:
        run_folder: checkpoints go into its ``checkpoints/``.
        ema_decay: of the weights' moving average, 0 for none.
        checkpoint_every: optimiser steps between two writings of ``last.ckpt``, beside those at each epoch's end.
        monitor: validation metric (less is better) that ``best.ckpt`` follows.
        command: what continues a stopped run, for the message; by default rebuilt from the command line.
        snapshots: optimiser steps whose checkpoint is kept, as ``step_4000.ckpt``.
        early_stopping_patience: validations without a better validation loss that end training; 0: none do.
        snapshot_every: optimiser steps between two more such checkpoints, of which the newest are kept; 0: none.
        keep_snapshots: how many of those are kept; 0: all.
        max_bad_steps: steps in a row, skipped for NaN or infinity, that end the run.
        given: the trainer's other callbacks; a moving average or an early stop among them stands in place of ours.
    """
    from landmark_diffusion.training.checkpoint import RunCheckpoint
    from landmark_diffusion.training.finite import SkipBadSteps
    from landmark_diffusion.training.pseudo_labels import LabelUnlabelled
    from landmark_diffusion.training.stopping import GracefulStop

    folder = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    checkpoint = RunCheckpoint(
        folder.checkpoints,
        every_n_steps=checkpoint_every,
        monitor=monitor,
        snapshots=snapshots,
        snapshot_every=snapshot_every,
        keep_snapshots=keep_snapshots,
    )
    average, early_stop = module_callbacks(ema_decay, early_stopping_patience, given)
    return [
        *average, SkipBadSteps(max_bad_steps), LabelUnlabelled(), *early_stop, checkpoint,
        GracefulStop(checkpoint, command),
    ]  # fmt: skip

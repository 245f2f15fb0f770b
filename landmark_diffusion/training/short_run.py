"""A short training within this process: what a study that trains many times does in place of starting ``ldx fit``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.training import RunFolder, default_callbacks
from landmark_diffusion.training.checkpoint import use_own_checkpoint_io
from landmark_diffusion.training.lightning_internals import PrecisionInput
from landmark_diffusion.training.stopping import interrupts

CHECKPOINT_EVERY = 25
"""Optimiser steps between two writings of last.ckpt."""


class _Advance(Callback):
    """Tell of each step, and of those that an earlier start had done."""

    def __init__(self, advance: Callable[[int], object]) -> None:
        self.advance = advance

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what is done already."""
        self.advance(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        """Tell of one step."""
        self.advance(1)


def fit_short(
    module: LightningModule,
    data: LightningDataModule,
    run: RunFolder,
    updates: int,
    *,
    ema_decay: float,
    precision: PrecisionInput,
    command: str,
    loggers: Sequence[Logger] = (),
    advance: Callable[[int], object] = lambda steps: None,
) -> dict[str, Any]:
    """Train for ``updates`` optimiser steps without validation, or go on from the run's last checkpoint.

    Returns what its last checkpoint holds, of the averaged weights under ``state_dict``. ``advance`` is told of steps
    as they are done, not of those that were done before, ``command`` is what a message names after Ctrl-C, which raises
    SystemExit once a checkpoint is saved. Raises UserError where a checkpoint cannot be written, or the loss is not
    finite.
    """
    last = run.last()
    if last is not None and int((done := read_checkpoint(last))["global_step"]) >= updates:
        return done
    trainer = Trainer(
        max_steps=updates, precision=precision, logger=list(loggers) or False, limit_val_batches=0,
        num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        devices=1, default_root_dir=str(run.path), log_every_n_steps=10,
        callbacks=[
            _Advance(advance),
            *default_callbacks(run, ema_decay=ema_decay, checkpoint_every=CHECKPOINT_EVERY, command=command),
        ],
    )  # fmt: skip
    use_own_checkpoint_io(trainer)
    with interrupts(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=None if last is None else str(last), weights_only=True)
    found = run.last()
    assert found is not None
    return read_checkpoint(found)

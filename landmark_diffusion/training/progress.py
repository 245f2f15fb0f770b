"""Where a running fit stands, read from Lightning's own progress: the one place that knows its loops from inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def at_optimizer_step(trainer: Trainer) -> bool:
    """Tell whether the batch just finished ended an optimiser step, not a micro-batch within one."""
    return not trainer.fit_loop.epoch_loop._should_accumulate()


def validation_follows(trainer: Trainer) -> bool:
    """Tell whether Lightning validates right after the batch just finished."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    return fetcher is not None and loop._should_check_val_fx(fetcher) and _has_validation_batches(trainer)


def _has_validation_batches(trainer: Trainer) -> bool:
    # Lightning plans a validation also where the loaders are empty, and then skips it. It makes the loaders at the
    # start only if the first epoch is validated.
    validation = trainer.fit_loop.epoch_loop.val_loop
    if validation._combined_loader is None:
        trainer.validating = True
        validation.setup_data()
        trainer.training = True
    return not validation.skip


def is_final_step(trainer: Trainer) -> bool:
    """Tell whether training ends after this batch: by its number of steps or epochs, or because it was asked to."""
    if trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step:
        return True
    epochs = trainer.max_epochs
    last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return last_batch and epochs is not None and 0 <= epochs <= trainer.current_epoch + 1


def planned_steps(trainer: Trainer) -> int | None:
    """Return the optimiser steps of the whole run, or None where its end is not known."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if steps not in (-1, float("inf")) else None

"""The private parts of Lightning that exact resume needs: all of these are here, and nowhere else in the package.

What Lightning promises does not tell whether a batch ended an optimiser step, whether a validation follows, which row
of the log comes next, or where in an epoch a checkpoint goes on. All was tried with the versions that pyproject.toml
allows; tests/training/test_lightning_internals.py holds each function against what a real fit does, and is what fails
first with another one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lightning.fabric.connector import _PRECISION_INPUT as PrecisionInput
from lightning.fabric.loggers.csv_logs import _ExperimentWriter as CurveWriter
from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = [
    "CurveWriter",
    "PrecisionInput",
    "at_last_batch",
    "at_optimizer_step",
    "begin_epoch_behind_a_finished_one",
    "cluster_environment",
    "forget_signal_handler",
    "is_final_step",
    "loading_checkpoint",
    "log_row",
    "move_to_other_processes",
    "planned_steps",
    "position",
    "resume_position",
    "row_to_log",
    "take_back_step",
    "validation_follows",
]

# ---- where a running fit stands --------------------------------------------------------------------------------------


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
    return at_last_batch(trainer) and epochs is not None and 0 <= epochs <= trainer.current_epoch + 1


def planned_steps(trainer: Trainer) -> int | None:
    """Return the optimiser steps of the whole run, or None where its end is not known."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if steps not in (-1, float("inf")) else None


def at_last_batch(trainer: Trainer) -> bool:
    """Tell whether the batch just finished is the last one of its epoch."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)


def position(trainer: Trainer) -> tuple[int, int]:
    """Give the optimiser steps and batches done: of a skipped step only the batches count."""
    return trainer.global_step, trainer.fit_loop.epoch_loop.total_batch_idx


def take_back_step(trainer: Trainer) -> None:
    """Make Lightning's counting of the step under way come to nothing; its own ready mark is set, completed follows."""
    step = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
    for counter in (step.total, step.current):
        counter.ready -= 1
        counter.completed -= 1


# ---- a checkpoint's place in the run ---------------------------------------------------------------------------------


def loading_checkpoint(trainer: Trainer) -> dict[str, Any]:
    """Give the content of the checkpoint that is being loaded just now; empty at any other time."""
    return trainer._checkpoint_connector._loaded_checkpoint


def resume_position(trainer: Trainer) -> tuple[int, int]:
    """Return (epoch, batches of it already done) where training goes on; (0, 0) for a fresh run.

    Call it in ``train_dataloader()``. With workers the first batches are fetched as soon as the loader is made, before
    Lightning calls ``set_epoch``, and an optimiser that asks for ``trainer.estimated_stepping_batches`` has the loader
    made even before Lightning restores its progress: hence the look into the checkpoint that is being loaded.
    """
    loading = loading_checkpoint(trainer).get("loops")
    loop = loading["fit_loop"] if loading else trainer.fit_loop.state_dict()
    epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
    epoch = int(epochs["processed"])
    if epochs["ready"] == epoch:  # no epoch has begun, or the one that did was counted already
        return epoch, 0
    if batches["is_last_batch"]:
        return epoch + 1, 0
    return epoch, int(batches["current"]["ready"])


def move_to_other_processes(
    checkpoint: dict[str, Any], length: int, drawn: int, batch_size: int, world_size: int
) -> None:
    """Change the place in the epoch at which a checkpoint goes on to that of another number of processes, in place.

    Lightning counts batches, and an epoch has another number of them now. The count is set so that the epoch ends when
    the ``length - drawn`` samples are used that are left of it.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    left = 0 if progress["is_last_batch"] else rounds(length - drawn, batch_size, world_size)
    moved = rounds(length, batch_size, world_size) - left - progress["current"]["ready"]
    progress["current"] = {name: count + moved for name, count in progress["current"].items()}


def rounds(samples: int, batch_size: int, world_size: int) -> int:
    """Batches that each process takes of samples dealt to all in turn."""
    return math.ceil(math.ceil(samples / world_size) / batch_size)


def begin_epoch_behind_a_finished_one(trainer: Trainer) -> None:
    """Let a run that goes on from an epoch's last batch count the next epoch as begun.

    Lightning takes it for the rest of the old one and does not, so that the checkpoints of that run miscount: a second
    continuation would repeat an epoch, or the beginning of one.
    """
    current = trainer.fit_loop.epoch_progress.current
    if current.ready == current.processed:  # type: ignore[attr-defined]
        trainer.fit_loop.reset_restart_stage()


# ---- its log, signals and cluster ------------------------------------------------------------------------------------


def row_to_log(trainer: Trainer) -> dict[str, Any] | None:
    """Give the row that Lightning logs when the callbacks of this batch are done; None where there is none.

    It logs a batch's row after ``on_train_batch_end``, so that a run stopped or killed between its checkpoint and that
    row would never log it. A checkpoint behind a validation is written after both rows.
    """
    connector = trainer._logger_connector
    if not (trainer.training and trainer.loggers and connector.should_update_logs):
        return None
    metrics = connector.metrics["log"]
    if not metrics:
        return None
    values = convert_tensors_to_scalars({"epoch": trainer.current_epoch, **metrics})
    return {"step": trainer.fit_loop.epoch_loop._batches_that_stepped, "values": values}


def log_row(trainer: Trainer, row: dict[str, Any]) -> None:
    """Log a row that ``row_to_log`` gave."""
    trainer._logger_connector.log_metrics(row["values"], step=row["step"])


def forget_signal_handler(trainer: Trainer, number: int) -> None:
    """Keep Lightning from putting back, at the end, the handler that it found for a signal."""
    trainer._signal_connector._original_handlers.pop(number, None)


def cluster_environment(trainer: Trainer) -> Any:
    """Give what Lightning knows of the cluster that it runs on; None outside of one."""
    return trainer._accelerator_connector.cluster_environment


def waits_for_all_gradients(trainer: Trainer) -> bool:
    """Whether processes share gradients in a way (DDP) that takes one from every weight in each step."""
    options = getattr(trainer.strategy, "_ddp_kwargs", None)
    return options is not None and not options.get("find_unused_parameters", False)

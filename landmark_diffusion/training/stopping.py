"""Stopping a run so that it can go on: SIGTERM, Ctrl-C and a closed terminal save a checkpoint and say how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from landmark_diffusion.core.signals import hang_up
from landmark_diffusion.training.checkpoint import RunCheckpoint
from landmark_diffusion.training.lightning_internals import (
    at_optimizer_step,
    forget_signal_handler,
    is_final_step,
    planned_steps,
    validation_follows,
)
from landmark_diffusion.training.slurm import mark_job, requeue, requeue_signal

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_EXIT_BASE = 128  # the shell's convention: 128 + signal number, so 129 for SIGHUP, 130 for Ctrl-C, 143 for SIGTERM


class StopRequested(SystemExit):
    """A run was stopped by a signal, after its checkpoint was saved; its code is the exit status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.message = message

    def __str__(self) -> str:
        return self.message


class GracefulStop(Checkpoint):
    """On SIGTERM, SIGHUP or Ctrl-C finish the step (and a validation that has begun), save ``last.ckpt`` and stop.

    A second signal stops at once, without saving. All processes of a distributed run agree on the step at which they
    stop, whichever of them got the signal. Lightning's own SIGTERM handling stands back meanwhile, since it stops in
    the middle of a gradient accumulation and saves nothing.

    Under SLURM its requeue signal (SIGUSR1, unless the trainer's SLURMEnvironment has another, or ``auto_requeue:
    false``) does the same and then puts the job back into the queue, from where `ldx fit` goes on by itself. Lightning
    alone would save in the middle of a step, from where no run goes on exactly. Signals after this one are let pass:
    SLURM sends SIGTERM to the jobs that it requeues.

    It derives from ``Checkpoint`` only so that Lightning calls it after the callbacks whose state is saved.

    Args:
        checkpoint: writes ``last.ckpt``.
        command: what continues the run; by default the present command line with ``--ckpt_path last``.
    """

    def __init__(self, checkpoint: RunCheckpoint, command: str | None = None) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.command = command
        self.signal_number = 0
        self._requeue_signal: int | None = None
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    @property
    def state_key(self) -> str:
        """A key of its own; there is no state to save."""
        return "GracefulStop"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the requeue signal before Lightning does: the data workers inherit its handler, and each would save."""
        self.signal_number, self._process = 0, os.getpid()
        self._requeue_signal = requeue_signal(trainer) if stage == "fit" else None
        if self._requeue_signal is not None:
            self._take(self._requeue_signal)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the other signals. Not earlier: Lightning registers its own just before."""
        self.signal_number = signal.SIGTERM if trainer.received_sigterm else self.signal_number
        writes = trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if self._requeue_signal is not None and writes:
            mark_job(self.checkpoint.folder)
        self._take(signal.SIGINT, signal.SIGTERM, *hang_up())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._restore(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore(trainer)

    def _take(self, *numbers: int) -> None:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers in no other
            self._previous |= {number: signal.signal(number, self._on_signal) for number in numbers}

    def _restore(self, trainer: Trainer) -> None:
        if self._requeue_signal is not None:  # Lightning takes our handler for what was there before
            forget_signal_handler(trainer, self._requeue_signal)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data worker, which inherits the handler: SLURM and Ctrl-C signal those too
        if self.signal_number and self._requeue_signal in (number, self.signal_number):
            return
        if self.signal_number:
            message = "stopped at once by a second signal, nothing more was saved"
            _tell(message)
            raise StopRequested(_EXIT_BASE + number, message)
        self.signal_number = number
        more = "" if number == self._requeue_signal else "; once more stops at once, unsaved"
        _tell(f"\n{signal.Signals(number).name}: saving a checkpoint after this step{more}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after an optimiser step, unless a validation follows it (then after that) or training ends anyway."""
        if at_optimizer_step(trainer) and not validation_follows(trainer):
            self._stop_if_wanted(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after a validation within training."""
        if not trainer.sanity_checking and trainer.state.fn == "fit" and at_optimizer_step(trainer):
            self._stop_if_wanted(trainer)

    def _stop_if_wanted(self, trainer: Trainer) -> None:
        number = _agree(self.signal_number, trainer)
        if not number or is_final_step(trainer):
            return
        self.checkpoint.save_last(trainer)
        message = self._message(trainer, self._requeued(trainer) if number == self._requeue_signal else None)
        _tell(message)
        # Lightning's launcher kills the first process when another ends with a status other than 0.
        raise StopRequested(_EXIT_BASE + number if trainer.is_global_zero else 0, message)

    def _requeued(self, trainer: Trainer) -> str:
        """Put the job back into the queue, from the first process; return what went wrong, or an empty text."""
        for logger in trainer.loggers:
            logger.save()  # SLURM ends a requeued job soon
        if not trainer.is_global_zero:
            return ""
        mark_job(self.checkpoint.folder, requeued=True)
        return requeue()

    def _message(self, trainer: Trainer, fault: str | None) -> str:
        planned = planned_steps(trainer)
        of = f" of {planned}" if planned else ""
        where = f"stopped at step {trainer.global_step}{of} (epoch {trainer.current_epoch})"
        if fault == "":
            return f"{where}; the job is back in the queue and will go on from there by itself"
        told = f"; the job could not be put back into the queue ({fault})" if fault else ""
        return f"{where}{told}; go on with: {self.command or resume_command(sys.argv)}"


@contextmanager
def interrupts(trainer: Trainer) -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning ends the process for it, with status 1: before and after the steps."""
    try:
        yield
    except SystemExit as stop:
        if stop.code == 1 and trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def resume_command(argv: Sequence[str]) -> str:
    """Return the command line that continues the run started by ``argv``."""
    kept: list[str] = ["ldx"]
    arguments = iter(argv[1:])
    for argument in arguments:
        option = argument.partition("=")[0]
        if option not in ("--ckpt_path", "--overwrite"):
            kept.append(argument)
        elif argument == option:
            following = next(arguments, None)
            if following is not None and following.startswith("-"):  # `--overwrite` alone means true
                kept.append(following)
    return shlex.join([*kept, "--ckpt_path", "last"])


def _agree(number: int, trainer: Trainer) -> int:
    """Return the signal that any process got (0: none), the same on all of them."""
    if trainer.world_size == 1:
        return number
    shared = torch.tensor(number, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
    return int(shared)


@rank_zero_only
def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)

"""Stopping a run so that it can go on: SIGTERM and Ctrl-C save a checkpoint and say how to continue."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from landmark_diffusion.runs.checkpoint import RunCheckpoint
from landmark_diffusion.runs.progress import at_optimizer_step, is_final_step, planned_steps, validation_follows

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_EXIT_BASE = 128  # the shell's convention: 128 + signal number, so 130 for Ctrl-C and 143 for SIGTERM


class StopRequested(SystemExit):
    """A run was stopped by a signal, after its checkpoint was saved; its code is the exit status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.message = message

    def __str__(self) -> str:
        return self.message


class GracefulStop(Checkpoint):
    """On SIGTERM or Ctrl-C finish the optimiser step (and a validation that has begun), save ``last.ckpt`` and stop.

    A second signal stops at once, without saving. All processes of a distributed run agree on the step at which they
    stop, whichever of them got the signal. Lightning's own SIGTERM handling stands back meanwhile, since it stops in
    the middle of a gradient accumulation and saves nothing; under SLURM with auto-requeue it stays in charge.

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
        self._previous: dict[int, Any] = {}

    @property
    def state_key(self) -> str:
        """A key of its own; there is no state to save."""
        return "GracefulStop"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals. Not earlier: Lightning registers its own just before."""
        self.signal_number = signal.SIGTERM if trainer.received_sigterm else 0
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers in the main thread only
        environment = trainer.strategy.cluster_environment if hasattr(trainer.strategy, "cluster_environment") else None
        requeues = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
        for number in (signal.SIGINT,) if requeues else (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number:
            raise StopRequested(_EXIT_BASE + number, "stopped at once by a second signal, nothing more was saved")
        self.signal_number = number
        _tell(f"\n{signal.Signals(number).name}: saving a checkpoint after this step; once more stops at once, unsaved")

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
        message = self._message(trainer)
        _tell(message)
        # Lightning's launcher kills the first process when another ends with a status other than 0.
        raise StopRequested(_EXIT_BASE + number if trainer.is_global_zero else 0, message)

    def _message(self, trainer: Trainer) -> str:
        planned = planned_steps(trainer)
        of = f" of {planned}" if planned else ""
        return (
            f"stopped at step {trainer.global_step}{of} (epoch {trainer.current_epoch}); "
            f"go on with: {self.command or resume_command(sys.argv)}"
        )


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

"""``ldx`` that also records, in $LDX_TRACE/rankR.jsonl, what each process draws and finds; run it as a script.

$LDX_STOP_AT sends SIGTERM to the process of rank $LDX_STOP_RANK (default 0) when it prepares the batch after that many
optimiser steps.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def record(trainer: Any, **values: Any) -> None:
    """Append one line to this process's file."""
    path = Path(os.environ["LDX_TRACE"]) / f"rank{trainer.global_rank}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def read_trace(folder: Path) -> list[list[dict[str, Any]]]:
    """Read the records of each process, by rank."""
    files = sorted(folder.glob("rank*.jsonl"), key=lambda path: int(path.stem[4:]))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hash every bit of a module's state."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode() + state[name].detach().cpu().numpy().tobytes())
    return found.hexdigest()


def on_before_batch_transfer(self: Any, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
    """Record the images of a batch, whatever it is for."""
    trainer = self.trainer
    stage = trainer.state.stage.value
    record(trainer, what=stage, epoch=trainer.current_epoch, step=trainer.global_step, ids=list(batch["image_id"]))
    stop, rank = os.environ.get("LDX_STOP_AT"), int(os.environ.get("LDX_STOP_RANK", "0"))
    if stage == "train" and stop and trainer.global_step == int(stop) and trainer.global_rank == rank:
        os.environ.pop("LDX_STOP_AT")
        os.kill(os.getpid(), signal.SIGTERM)
    return batch


def install() -> None:
    """Put the recording into the package's classes."""
    from landmark_diffusion import LandmarkDataModule
    from landmark_diffusion.methods.training import TrainedModule
    from landmark_diffusion.training.checkpoint import RunCheckpoint
    from landmark_diffusion.training.stopping import GracefulStop

    mean_loss = TrainedModule._mean_loss
    after_validation, after_training = RunCheckpoint.on_validation_end, GracefulStop.on_train_end

    def on_validation_end(self: Any, trainer: Any, module: Any) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        record(trainer, what="validated", step=trainer.global_step, figures=figures)
        after_validation(self, trainer, module)

    def on_train_end(self: Any, trainer: Any, module: Any) -> None:
        record(trainer, what="trained", step=trainer.global_step, weights=digest(module.state_dict()))
        after_training(self, trainer, module)

    def recorded_loss(self: Any, stage: str) -> float | None:
        value = mean_loss(self, stage)
        record(self.trainer, what="loss", stage=stage, value=value)
        return value

    TrainedModule._mean_loss = recorded_loss  # type: ignore[method-assign]
    LandmarkDataModule.on_before_batch_transfer = on_before_batch_transfer  # type: ignore[method-assign]
    RunCheckpoint.on_validation_end = on_validation_end  # type: ignore[method-assign]
    GracefulStop.on_train_end = on_train_end  # type: ignore[method-assign]


if __name__ == "__main__":
    from landmark_diffusion.cli import main

    install()
    sys.exit(main())

"""What ``ldx fit`` says at its end: where the model is, how good, and the commands that come next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from landmark_diffusion.configuration.config_files import installed_configs
from landmark_diffusion.modelfile.model_file import SUFFIX
from landmark_diffusion.training.folder import BEST, LAST, RunFolder


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: optimiser steps.
        monitor, score, score_step: the metric that chose the best checkpoint, its value, and when; None without one.
        unit: of an error that the metric is; empty where it is none.
        validated, tested: images of these parts.
        landmarks: whether the method finds any.
    """

    steps: int
    monitor: str
    score: float | None
    score_step: int | None
    unit: str
    validated: int
    tested: int
    landmarks: bool


def next_steps(run: RunFolder, trained: Trained, configs: Iterable[Path] = ()) -> list[str]:
    """Give the lines for people; ``configs`` are those of the training."""
    lines = [f"fit: {_where(run, trained)}"]
    commands = _commands(run, trained) if trained.landmarks else [_fine_tuning(run, configs)]
    width = max(len(command) for command, _ in commands)
    return [*lines, "next:", *(f"  {command:<{width}}  # {why}" for command, why in commands)]


def _where(run: RunFolder, trained: Trained) -> str:
    best, last = run.checkpoints / BEST, run.checkpoints / LAST
    if trained.score is not None and best.is_file():
        figure = f"{trained.monitor} {trained.score:.4g} {trained.unit}".rstrip()
        return f"the best weights are {best} ({figure} at step {trained.score_step} of {trained.steps})"
    why = "no validation came before the end" if trained.validated else "the split has no validation images"
    return f"the weights of step {trained.steps} are {last} ({why}, so none were chosen as the best)"


def _commands(run: RunFolder, trained: Trained) -> list[tuple[str, str]]:
    folder = shlex.quote(str(run.path))
    checkpoint = run.checkpoints / (BEST if (run.checkpoints / BEST).is_file() else LAST)
    model = shlex.quote(f"{run.path.resolve().name}{SUFFIX}")
    test = [(f"ldx test {folder}", f"table and pictures of the {trained.tested} test images")] if trained.tested else []
    export = (f"ldx export {shlex.quote(str(checkpoint))} {model}", "one file to use and hand over")
    return [*test, export, (f"ldx detect IMAGES --model {model}", "landmarks of new images")]


def _fine_tuning(run: RunFolder, configs: Iterable[Path]) -> tuple[str, str]:
    known = {path.name for path in installed_configs()}
    fitting = [path.name.replace("ddpm_pretrain", "finetune") for path in configs]
    config = next((name for name in fitting if name in known), "FINETUNE.yaml")
    start = shlex.quote(str(run.checkpoints / LAST))
    return (f"ldx fit --config {config} --model.pretrained {start}", "fine-tune on labelled images")

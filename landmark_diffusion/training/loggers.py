"""Loggers of a run: curves as CSV in the run folder, and Weights & Biases when it is asked for."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import create_text, writing
from landmark_diffusion.core.say import is_first_process
from landmark_diffusion.training.curves import Curves
from landmark_diffusion.training.folder import RunFolder

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

WandbMode = Literal["disabled", "offline", "online"]
PROJECT = "landmark_diffusion"


def make_loggers(
    run_folder: RunFolder | str | Path, wandb_mode: WandbMode = "disabled", name: str | None = None
) -> list[Logger]:
    """Return the run's loggers.

    Curves go to ``logs/version_N/metrics.csv``, a version for each start, so that a resumed run leaves the earlier
    curves alone. Weights & Biases ("offline" writes into the run folder and needs no account) continues the same run
    after a resume; the environment's WANDB_MODE=disabled turns it off.

    Raises UserError for an unknown mode.
    """
    folder = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    if wandb_mode not in ("disabled", "offline", "online"):
        raise UserError(f"wandb: found {wandb_mode!r}, expected disabled, offline or online")
    loggers: list[Logger] = [Curves(folder.path, name=folder.logs.name, flush_logs_every_n_steps=50)]
    if wandb_mode != "disabled" and os.environ.get("WANDB_MODE") != "disabled":
        loggers.append(_wandb_logger(folder, wandb_mode, name or folder.path.name))
    return loggers


def remove_empty_curves(loggers: Iterable[Logger], run: RunFolder) -> None:
    """Remove what a start that was refused has left: its folder of curves without any, and folders empty then."""
    if not is_first_process():
        return
    for logger in loggers:
        if isinstance(logger, Curves) and not (Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE).exists():
            shutil.rmtree(logger.log_dir, ignore_errors=True)
    for folder in (run.logs, run.path):
        with suppress(OSError):  # it holds something, or was never there
            folder.rmdir()


def finish(logger: Logger) -> None:
    """End a logger's run, so that the next one of this process is another: Weights & Biases has one at a time."""
    logger.finalize("success")
    if callable(end := getattr(getattr(logger, "experiment", None), "finish", None)):
        end()


def _wandb_logger(folder: RunFolder, mode: WandbMode, name: str) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    folder.path.mkdir(parents=True, exist_ok=True)
    offline = mode == "offline" or os.environ.get("WANDB_MODE") == "offline"
    return WandbLogger(
        name=name,
        project=PROJECT,
        save_dir=str(folder.path),
        offline=offline,
        id=stable_id(folder),
        resume="allow",
        log_model=False,
    )


def stable_id(folder: RunFolder) -> str:
    """Return the run's identity at Weights & Biases: made once, by whichever process comes first, in the run folder."""
    path = folder.wandb_id
    if not path.is_file():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            create_text(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()

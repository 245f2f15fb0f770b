"""SLURM's requeueing: which job trains a run, how it goes back into the queue, and which start goes on by itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.core.files import atomic_write_text

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

MARK = "slurm_job"
"""File beside the checkpoints with the number of the job that trains them; a second word says that it was requeued."""
REQUEUED = "requeued"


def requeue_signal(trainer: Trainer) -> int | None:
    """Return the signal by which SLURM asks for a requeue; None outside of SLURM or with ``auto_requeue: false``."""
    from lightning.pytorch.plugins.environments import SLURMEnvironment

    environment = trainer._accelerator_connector.cluster_environment
    if not (isinstance(environment, SLURMEnvironment) and environment.auto_requeue):
        return None
    return environment.requeue_signal


def mark_job(checkpoints: Path, requeued: bool = False) -> None:
    """Note in the folder of the checkpoints which job trains them. Raises WriteError where that cannot be written."""
    if job := os.environ.get("SLURM_JOB_ID"):
        atomic_write_text(checkpoints / MARK, f"{job} {REQUEUED}\n" if requeued else f"{job}\n")


def restarted_job(checkpoints: Path) -> str | None:
    """Return the number of this job if it trained these checkpoints before it was restarted, else None.

    A job keeps its number when it is requeued, by us or by SLURM itself (a node failed, another job was preferred),
    which then counts its restarts.
    """
    job, mark = os.environ.get("SLURM_JOB_ID"), checkpoints / MARK
    if not job or not mark.is_file():
        return None
    marked, _, word = mark.read_text(encoding="utf-8").strip().partition(" ")
    again = word == REQUEUED or os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")
    return job if marked == job and again else None


def requeue() -> str:
    """Put this job back into the queue; return what went wrong, or an empty text."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID", "")
    command = ["scontrol", "requeue", f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{' '.join(command)}: {error.strerror or error}"
    return f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}" if done.returncode else ""

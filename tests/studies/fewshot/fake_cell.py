"""Stands in for a cell's process: takes steps that it can go on from, and a result that depends on the job alone.

``python fake_cell.py JOB``. What it does is noted in ``trace.txt`` of the grid's folder, a line at a time.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.studies.trainings.job import Job, end_with_parent
from landmark_diffusion.studies.trainings.locks import exclusive
from landmark_diffusion.studies.trainings.results import RESULT, measured, write_result

STEPS = 5


def note(job: Job, word: str) -> None:
    """Append a line; a short write at the end of a file is not mixed with another's."""
    with Path(job.folder, "..", "..", "trace.txt").open("a") as file:
        file.write(f"{word} {job.name}\n")


def content(job: Job, steps: int) -> dict:
    """A result whose error depends on the job and on each step taken once."""
    figure = job.cell["n"] + 0.1 * job.cell["draw"] + 0.01 * len(job.cell["start"]) + 0.001 * steps
    main = {"images": 7, "mre": figure, "median": figure / 2, "sdr": {"2": 50.0}, "beyond_10mm": 1.0}
    metrics = {
        "protocol": "default", "unit": "mm", "main": "multi-step", "extra": {"updates": steps},
        "variants": {"single-step": {**main, "mre": 99.0}, "multi-step": main},
    }  # fmt: skip
    return {
        "cell": {"name": job.name, **job.cell},
        "seed": job.seed,
        "train_images": job.train_images,
        "pretrain_updates": None,
        "train_minutes": 0.0,
        "checkpoints": {name: measured(metrics) for name in job.checkpoints},
    }


def main() -> int:
    """Work, or fail where ``FAKE_FAIL`` names the cell."""
    end_with_parent()
    job = Job.read(sys.argv[1])
    folder = Path(job.folder)
    with exclusive(folder / ".running.lock", job.name):
        assert not (folder / RESULT).exists(), "a finished cell is run again"
        note(job, "began")
        print(f"hello from {job.name}", flush=True)
        if os.environ.get("FAKE_FAIL") == job.name:
            print("error: no images\nin the folder", flush=True)
            return 3
        state = folder / "steps.txt"
        steps = int(state.read_text()) if state.is_file() else 0
        while steps < STEPS:
            time.sleep(float(os.environ.get("FAKE_SECONDS", "0.01")) / STEPS)
            steps += 1
            atomic_write_text(state, str(steps))
        write_result(folder, content(job, steps))
        note(job, "ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())

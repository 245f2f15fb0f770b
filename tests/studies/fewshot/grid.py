"""A small grid whose cells are run by ``fake_cell.py``; as a script it is one process that works on it.

``python -m tests.studies.fewshot.grid CONFIG [wait]`` prints what it did as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from landmark_diffusion.studies.fewshot.jobs import make_job
from landmark_diffusion.studies.fewshot.manifest import agree, propose
from landmark_diffusion.studies.fewshot.plan import Plan, read_plan
from landmark_diffusion.studies.trainings.manifest import Manifest
from landmark_diffusion.studies.trainings.runner import Outcome, Runner, Stopped

REPOSITORY = Path(__file__).resolve().parents[3]
FAKE = (sys.executable, str(Path(__file__).with_name("fake_cell.py")))
POOL = [f"{number:03d}" for number in range(1, 31)]
COUNTS = {"train": 30, "val": 5, "test": 7}

FIT = """
data: {dataset: phantom, dataset_options: {count: [30, 5, 7]}, size: [32, 40]}
model: {class_path: HeatmapFinetuneModule, init_args: {target: {kind: one_hot}, pretrained: null}}
trainer: {max_steps: 5}
"""


def write_config(folder: Path, **changes: object) -> Path:
    """Write a config of a grid (n 1 and 3, two draws) and that of its cells; returns the former."""
    (folder / "cell.yaml").write_text(FIT)
    section = {
        "folder": str(folder / "grid"),
        "fit": [str(folder / "cell.yaml")],
        "n": [1, 3],
        "draws": 2,
        "starts": {"scratch": {"model.optimisation.learning_rate": 0.001}},
        **changes,
    }
    path = folder / "fewshot.yaml"
    path.write_text(yaml.safe_dump({"fewshot": section}, sort_keys=False))
    return path


def manifest_of(plan: Plan, pool: list[str] = POOL) -> Manifest:
    """The manifest of a plan on an invented pool."""
    return propose(plan, pool, {**COUNTS, "train": len(pool)}, plan.checkpoints)


def run_grid(config: Path, wait: bool = False, tell=print) -> Outcome:
    """Work on the grid until nothing is left that this process could do."""
    plan = read_plan([str(config)])
    manifest = agree(plan.folder, manifest_of(plan))
    runner = Runner(plan.folder, lambda cell: make_job(plan, manifest, cell), tell, child=FAKE)
    return runner.run(plan.cells(), wait)


def start_process(config: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    """Start a process of its own on the grid."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, "-m", "tests.studies.fewshot.grid", str(config), *arguments]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def trace(grid: Path) -> list[str]:
    """What the fake cells noted."""
    path = grid / "trace.txt"
    return path.read_text().splitlines() if path.is_file() else []


def wait_until(happened, seconds: float = 20.0) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


if __name__ == "__main__":
    try:
        outcome = run_grid(Path(sys.argv[1]), "wait" in sys.argv, lambda line: print(line, file=sys.stderr, flush=True))
    except Stopped as stop:
        sys.exit(stop.code)
    print(json.dumps({"done": outcome.done, "failed": list(outcome.failed), "elsewhere": list(outcome.elsewhere)}))

"""Weights & Biases sees one run and each row once, on two processes and after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landmark_diffusion.training import RunFolder
from landmark_diffusion.training.loggers import stable_id
from tests.end_to_end.console import PHANTOM, read_rows, run
from tests.end_to_end.wandb_file import history_rows

pytestmark = pytest.mark.slow

TWO = ("--config", "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2")
STEPS = 3


def logged(folder: Path, start: int, name: str) -> dict[str, str]:
    """The values of a curve in metrics.csv, by step."""
    rows = read_rows(folder / "logs" / f"version_{start}" / "metrics.csv")
    return {row["step"]: row[name] for row in rows if row.get(name)}


def test_two_processes_write_one_run_and_a_resume_goes_on_with_it(tmp_path: Path) -> None:
    """Offline: each start leaves a folder, which `wandb sync` joins by the run's identity."""
    folder, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    surroundings = {"HOME": str(home), "WANDB_API_KEY": "", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    options = [*PHANTOM, *TWO, "--trainer.log_every_n_steps=1", "--wandb=offline", "--run_folder", str(folder)]
    for start, more in enumerate(([], ["--ckpt_path=last"])):
        steps = STEPS * (start + 1)
        outcome = run(["fit", *options, f"--trainer.max_steps={steps}", *more], tmp_path, **surroundings)
        assert outcome.status == 0, outcome.err
        starts = sorted((folder / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime)
        assert len(starts) == start + 1  # not one for each process
        (file,) = starts[-1].glob("run-*.wandb")
        assert file.stem == f"run-{stable_id(RunFolder(folder))}"
        rows = history_rows(file)
        for name in ("train/loss", "val/loss"):
            curve = logged(folder, start, name)
            found = [(row["trainer/global_step"], float(row[name])) for row in rows if name in row]
            assert found == [(step, float(value)) for step, value in curve.items()], name
        assert [int(step) for step in logged(folder, start, "train/loss")] == list(range(STEPS * start, steps))
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2 * STEPS

"""``ldx`` as a user meets it: in this process (cheap after the first import) or as a process of its own."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = (32, 40)
COUNT = (4, 2, 5)

NETWORK = (
    f"--data.size=[{SIZE[0]},{SIZE[1]}]",
    "--model.network.encoder_channels=[8,16]",
    "--model.network.decoder_channels=[16,8]",
    "--model.network.attention_factors=[]",
    "--model.optimisation.warmup_steps=2",
    "--trainer.precision=32-true",
    "--trainer.accelerator=cpu",
)
"""A network that makes a step in a few hundredths of a second."""

PHANTOM = (
    *("--config", "phantom_diffusion_paper_a.yaml", *NETWORK),
    f"--data.dataset_options.count=[{COUNT[0]},{COUNT[1]},{COUNT[2]}]",
    *("--data.batch_size=2", "--data.eval_batch_size=2", "--trainer.check_val_every_n_epoch=1"),
)
"""The shipped config on eleven phantoms."""


@dataclass
class Outcome:
    """What a command left behind: its exit status, its two outputs, warnings among the second."""

    status: int
    out: str
    err: str


def ldx(*arguments: str) -> Outcome:
    """Run ``ldx`` in this process; an exception other than SystemExit, a traceback for the user, gets out."""
    from landmark_diffusion.cli import main

    out, err = io.StringIO(), io.StringIO()
    seed = os.environ.get("PL_GLOBAL_SEED")
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(record=True) as told,  # pytest keeps them from stderr
    ):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            os.environ.pop("PL_GLOBAL_SEED", None)
            if seed is not None:
                os.environ["PL_GLOBAL_SEED"] = seed
    return Outcome(status, out.getvalue(), err.getvalue() + "".join(f"warning: {each.message}\n" for each in told))


def ldx_in(folder: Path, *commands: Sequence[str]) -> None:
    """Run commands one after another in ``folder``, in this process; each has to succeed."""
    with contextlib.chdir(folder):
        for command in commands:
            outcome = ldx(*command)
            assert outcome.status == 0, outcome.err


def start(arguments: Sequence[str], folder: Path, **variables: str) -> subprocess.Popen:
    """Start ``python -m landmark_diffusion`` in ``folder`` with Ctrl-C alive, as from a terminal."""
    environment = {key: value for key, value in os.environ.items() if key not in ("WANDB_MODE", "PL_GLOBAL_SEED")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "landmark_diffusion", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_ctrl_c_works,
    )


def run(arguments: Sequence[str], folder: Path, **variables: str) -> Outcome:
    """Run ``ldx`` as a process to its end."""
    process = start(arguments, folder, **variables)
    out, err = process.communicate(timeout=240)
    return Outcome(process.returncode, out, err)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as one dict a row."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(rows: Sequence[dict[str, str]], *names: str) -> np.ndarray:
    """Give columns as float64, (rows,) for one name, else (rows, names)."""
    values = np.array([[float(row[name]) for name in names] for row in rows])
    return values[:, 0] if len(names) == 1 else values


def _ctrl_c_works() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs start with it ignored

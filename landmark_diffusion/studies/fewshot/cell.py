"""``python -m landmark_diffusion.studies.fewshot.cell``: one cell in a process of its own.

Fit and the evaluations share the process, since importing torch and Lightning takes longer than measuring.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landmark_diffusion import __version__
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.studies.fewshot.locks import exclusive
from landmark_diffusion.studies.fewshot.results import RESULT, measured, write_result
from landmark_diffusion.training.folder import RESULTS, RunFolder

JOB, FIT = "job.json", "fit.json"
VERBS = {"test": "test", "val": "validate"}
CHOSEN = "chosen"
"""In place of best or last: the weights that ``ldx test`` takes by itself."""


@dataclass(frozen=True)
class Job:
    """What a cell's process has to do.

    Attributes:
        name: of the cell.
        folder: its folder, which is also its run folder.
        cell: start, target, n and draw.
        seed: of the training.
        train_images: ids in the draw's order.
        pretrained: checkpoint it starts from.
        options: arguments that fit and the evaluations share.
        checkpoints: which weights are measured.
        stage: on which part.
        keep_checkpoints: whether they stay afterwards.
    """

    name: str
    folder: str
    cell: dict[str, Any]
    seed: int
    train_images: list[str]
    pretrained: str | None
    options: list[str]
    checkpoints: list[str]
    stage: str
    keep_checkpoints: bool

    def fit(self, going_on: bool = False) -> list[str]:
        """Arguments of ``ldx`` that train the cell, afresh or from where it was stopped."""
        return ["fit", *self.options, *(["--ckpt_path", "last"] if going_on else ["--overwrite", "true"])]

    def evaluate(self, checkpoint: str) -> list[str]:
        """Arguments of ``ldx`` that measure one of the cell's checkpoints."""
        return [VERBS[self.stage], *self.options, *(["--ckpt_path", checkpoint] if checkpoint != CHOSEN else [])]

    def commands(self) -> list[str]:
        """The cell as command lines that anyone can repeat."""
        lines = [self.fit(), *(self.evaluate(checkpoint) for checkpoint in self.checkpoints)]
        return [shlex.join(["ldx", *line]) for line in lines]

    def write(self) -> Path:
        """Write the job into the cell's folder and return its path."""
        path = Path(self.folder) / JOB
        atomic_write_text(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def read(cls, path: str | Path) -> Job:
        """Read what ``write`` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def run_job(job: Job, ldx: Callable[[list[str]], int]) -> int:
    """Bring a cell to its end, from wherever an earlier process left it; returns the exit status of what failed, or 0.

    ``ldx`` runs a command line. Only one process at a time works in a cell's folder.
    """
    folder = Path(job.folder)
    with exclusive(folder / ".running.lock", f"the cell {job.name}"):
        if (folder / RESULT).is_file():
            return 0
        status = _fit(job, folder, ldx)
        if status:
            return status
        found = {}
        for checkpoint in job.checkpoints:
            if checkpoint == "best" and RunFolder(folder).best() is None:
                raise UserError(
                    f"{job.name}: training ended before its first validation, so there is no best checkpoint; train "
                    "for longer, validate earlier (trainer.check_val_every_n_epoch, trainer.val_check_interval), or "
                    "set fewshot.checkpoints: [last]"
                )
            if status := ldx(job.evaluate(checkpoint)):
                return status
            found[checkpoint] = _keep(folder, VERBS[job.stage], checkpoint)
        write_result(folder, _content(job, found))
        if not job.keep_checkpoints:
            remove_checkpoints(folder)
    return 0


def remove_checkpoints(folder: Path) -> None:
    """Remove the weights of a cell that is measured, and the last evaluation's folder (its figures are kept)."""
    for part in (RunFolder(folder).checkpoints, *(folder / name for name in RESULTS)):
        shutil.rmtree(part, ignore_errors=True)


def _fit(job: Job, folder: Path, ldx: Callable[[list[str]], int]) -> int:
    going_on = RunFolder(folder).last() is not None
    before = _fit_facts(folder) if going_on else {"minutes": 0.0, "finished": False}
    if before["finished"]:
        return 0
    began, finished = time.monotonic(), False
    try:
        status = ldx(job.fit(going_on))
        finished = status == 0
    finally:
        minutes = before["minutes"] + (time.monotonic() - began) / 60
        atomic_write_text(folder / FIT, json.dumps({"minutes": minutes, "finished": finished}) + "\n")
    return status


def _fit_facts(folder: Path) -> dict[str, Any]:
    path = folder / FIT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"minutes": 0.0, "finished": False}


def _keep(folder: Path, part: str, checkpoint: str) -> dict[str, Any]:
    """Move an evaluation's records beside the cell's others and return its figures."""
    metrics = json.loads((folder / part / "metrics.json").read_text(encoding="utf-8"))
    os.replace(folder / part / "predictions.csv", folder / f"predictions_{checkpoint}.csv")
    return measured(metrics)


def _content(job: Job, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "cell": {"name": job.name, **job.cell},
        "seed": job.seed,
        "train_images": job.train_images,
        "pretrained": job.pretrained,
        "pretrain_updates": _updates(job.pretrained),
        "train_minutes": round(_fit_facts(Path(job.folder))["minutes"], 3),
        "package_version": __version__,
        "commands": job.commands(),
        "checkpoints": found,
    }


def _updates(pretrained: str | None) -> int | None:
    if pretrained is None:
        return None
    from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint

    return int(read_checkpoint(pretrained)["global_step"])


def check_options(commands: Sequence[list[str]], ldx: Callable[[list[str]], int]) -> int:
    """Parse command lines without running them; returns 1 when one has an option that is not known."""
    for command in commands:
        try:
            status = ldx([*command, "--print_config"])
        except SystemExit as stop:  # it prints the config and exits
            status = int(stop.code or 0)
        if status:
            return status
    return 0


def end_with_parent() -> None:
    """End this process at once when the one that started it is gone, as its end of our stdin then closes.

    Otherwise a cell whose ``ldx fewshot`` was killed would train on, beside the next one that takes it over.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(argv: Sequence[str]) -> int:
    """Run the job in the file ``argv[0]``, or with ``--check`` parse the command lines in the file ``argv[1]``."""
    end_with_parent()
    # Within training `ldx fit` handles SIGTERM itself; anywhere else there is nothing to save.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    from landmark_diffusion.cli import main as ldx

    try:
        if argv[0] == "--check":
            return check_options(json.loads(Path(argv[1]).read_text(encoding="utf-8")), ldx)
        return run_job(Job.read(argv[0]), ldx)
    except UserError as error:
        from landmark_diffusion.cli.entry import print_error

        print_error(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One cell of a grid, or a fold: its job, and how it is brought to its end in a process of its own.

Fit and the evaluations share the process, since importing torch and Lightning takes longer than measuring.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.options import Options, arguments
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.json_files import write_json
from landmark_diffusion.core.version import version
from landmark_diffusion.hardware.memory import peak_memory
from landmark_diffusion.studies.trainings.locks import exclusive
from landmark_diffusion.studies.trainings.results import RESULT, measured, write_result
from landmark_diffusion.training.folder import RESULTS, RunFolder

JOB, FIT = "job.json", "fit.json"
VERBS = {"test": "test", "val": "validate"}
CHOSEN = "chosen"
"""In place of best or last: the weights that ``ldx test`` takes by itself."""


PRETRAINED = "model.init_args.pretrained"


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
        readings: {name: further arguments of the evaluation alone}: each measures all these weights once more.
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
    readings: dict[str, list[str]] = field(default_factory=dict)

    def fit(self, going_on: bool = False) -> list[str]:
        """Arguments of ``ldx`` that train the cell, afresh or from where it was stopped."""
        return ["fit", *self.options, *(["--ckpt_path", "last"] if going_on else ["--overwrite", "true"])]

    def evaluate(self, checkpoint: str, reading: str | None = None) -> list[str]:
        """Arguments of ``ldx`` that measure one of the cell's checkpoints, as it is or by a reading."""
        further = self.readings[reading] if reading else []
        weights = ["--ckpt_path", checkpoint] if checkpoint != CHOSEN else []
        return [VERBS[self.stage], *self.options, *further, *weights]

    def measured(self) -> list[tuple[str, str | None]]:
        """Each checkpoint as it is and by each reading."""
        return [(checkpoint, reading) for checkpoint in self.checkpoints for reading in (None, *self.readings)]

    def commands(self) -> list[str]:
        """The cell as command lines that anyone can repeat."""
        lines = [self.fit(), *(self.evaluate(*each) for each in self.measured())]
        return [shlex.join(["ldx", *line]) for line in lines]

    def write(self) -> Path:
        """Write the job into the cell's folder and return its path."""
        path = Path(self.folder) / JOB
        write_json(path, asdict(self), indent=1, ensure_ascii=False)
        return path

    @classmethod
    def read(cls, path: str | Path) -> Job:
        """Read what ``write`` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def read_as(checkpoint: str, reading: str | None) -> str:
    """Name what was measured: a checkpoint, or a checkpoint by a reading, such as ``last+alone``."""
    return f"{checkpoint}+{reading}" if reading else checkpoint


def fit_arguments(configs: Sequence[Path], options: Options, seed: int, folder: Path) -> list[str]:
    """Give the arguments that fit and evaluations of one training share."""
    named = [argument for path in configs for argument in ("--config", str(path))]
    return [*named, *arguments({**options, "seed_everything": seed, "run_folder": str(folder)})]


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
        for checkpoint, reading in job.measured():
            if checkpoint == "best" and RunFolder(folder).best() is None:
                raise UserError(
                    f"{job.name}: training ended before its first validation, so there is no best checkpoint; train "
                    "for longer, validate earlier (trainer.check_val_every_n_epoch, trainer.val_check_interval), or "
                    "set fewshot.checkpoints: [last]"
                )
            if status := ldx(job.evaluate(checkpoint, reading)):
                return status
            name = read_as(checkpoint, reading)
            found[name] = _keep(folder, VERBS[job.stage], name)
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
        memory = peak_memory()
        facts = {"minutes": minutes, "memory_gib": memory and memory / 2**30, "finished": finished}
        write_json(folder / FIT, facts)
    return status


def _fit_facts(folder: Path) -> dict[str, Any]:
    path = folder / FIT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"minutes": 0.0, "finished": False}


def _keep(folder: Path, part: str, name: str) -> dict[str, Any]:
    """Move an evaluation's records beside the cell's others and return its figures."""
    metrics = json.loads((folder / part / "metrics.json").read_text(encoding="utf-8"))
    os.replace(folder / part / "predictions.csv", folder / f"predictions_{name}.csv")
    return measured(metrics)


def _content(job: Job, found: dict[str, Any]) -> dict[str, Any]:
    facts = _fit_facts(Path(job.folder))
    return {
        "cell": {"name": job.name, **job.cell},
        "seed": job.seed,
        "train_images": job.train_images,
        "pretrained": job.pretrained,
        "pretrain_updates": _updates(job.pretrained),
        "train_minutes": round(facts["minutes"], 3),
        "memory_gib": facts.get("memory_gib"),
        "package_version": version(),
        "commands": job.commands(),
        "checkpoints": found,
    }


def _updates(pretrained: str | None) -> int | None:
    if pretrained is None:
        return None
    from landmark_diffusion.modelfile.checkpoint_reading import read_start

    updates = read_start(pretrained).get("global_step")
    return None if updates is None else int(updates)


def check_options(
    commands: Mapping[str, list[str]], ldx: Callable[[list[str]], int], tell: Callable[[str], object]
) -> int:
    """Parse named command lines without running them, each name told before; returns 1 when one is refused."""
    for name, command in commands.items():
        tell(name)
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

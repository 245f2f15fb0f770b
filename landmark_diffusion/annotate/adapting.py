"""``ldx adapt`` on the marks, as a command to copy, and in a process of its own with its last lines."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
from collections import deque
from functools import cached_property
from pathlib import Path
from typing import Any

from landmark_diffusion.annotate.told import facts_there, outcome
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.json_files import read_json
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.modelfile.model_file import file_of
from landmark_diffusion.studies.adapt.places import start_digest, trainings_of
from landmark_diffusion.studies.trainings.manifest import MANIFEST

LEAST = 5
"""Marked images from which a model is adapted."""
LINES = 60
CONFIG = "folder_diffusion_small.yaml"
TABLES = (".csv", ".tsv")


class Adapting:
    """What can be learned from the marks of a folder.

    Args:
        root: the folder.
        table: where the marks are.
        model: the model file that each adaptation begins with, also once an adapted one is shown: that has learned
            the images. None where there is none, then a training from scratch is advised.
        shown: the model file whose points are shown, where it is another one.
    """

    def __init__(self, root: Path, table: Path, model: Path | None, shown: Path | None = None) -> None:
        self.root, self.table, self.model = root, table, model
        self.shown = shown or model
        self.target = self._free_target()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lines: deque[str] = deque(maxlen=LINES)
        self._lock = threading.Lock()

    def command(self) -> list[str]:
        """The command, from ``ldx`` on."""
        options = self._table_option()
        if self.model is None:
            return ["ldx", "fit", "--config", CONFIG, "--data.root", str(self.root), "--data.split", "all", *options]
        output = ["--output", str(self.target)]
        return ["ldx", "adapt", str(self.model), "--data.root", str(self.root), *options, *output]

    def _table_option(self) -> list[str]:
        """Name the table where the folder has several, or it lies elsewhere."""
        tables = [each for each in self.root.iterdir() if each.suffix.lower() in TABLES and each.name[0] not in ".~"]
        if [each.resolve() for each in tables] == [self.table]:
            return []
        inside = self.table.parent == self.root.resolve()
        name = self.table.name if inside else str(self.table)
        return ["--data.dataset_options", f"{{csv: {_quoted(name)}}}"]

    def summary(self) -> dict[str, Any]:
        """The command, and what becomes of it."""
        with self._lock:
            code = None if self._process is None else self._process.poll()
            return {
                "command": shlex.join(self.command()),
                "can_run": self.model is not None,
                "start": "" if self.model is None else self.model.name,
                "shown": "" if self.shown is None else self.shown.name,
                "start_adapted": self._start_adapted,
                "least": LEAST,
                "target": str(self.target),
                "running": self._process is not None and code is None,
                "code": code,
                "stopped": self._stopped,
                "unfinished": str(self._trainings) if self._lies_there(self._trainings) else "",
                "outcome": self._outcome() if code == 0 else None,
                "lines": list(self._lines),
            }

    @property
    def _trainings(self) -> Path:
        return trainings_of(self.target)

    @cached_property
    def _digest(self) -> str:
        """Of the model to begin with, as the manifest of a stopped adaptation has it."""
        return start_digest(self.model) if self.model is not None and file_of(self.model).is_file() else ""

    @cached_property
    def _start_adapted(self) -> bool:
        facts = None if self.model is None else facts_there(self.model)
        return facts is not None and bool(facts.adapted)

    def _outcome(self) -> dict[str, str] | None:
        facts = facts_there(self.target)
        return None if facts is None else outcome(facts)

    def _lies_there(self, trainings: Path) -> bool:
        """Whether a folder holds an adaptation of this model that was stopped."""
        return bool(self._digest) and _start_of(trainings) == self._digest

    def _free_target(self) -> Path:
        """A model file that is not there, and whose trainings are not those of another model."""
        number = 1
        while True:
            path = Path("mine.ldx" if number == 1 else f"mine_{number}.ldx")
            begun = _start_of(trainings_of(path))
            if not path.exists() and begun in ("", self._digest):
                return path
            number += 1

    def start(self) -> None:
        """Begin; raises UserError where one runs already, there is no model, or it cannot be started."""
        with self._lock:
            if self.model is None:
                raise UserError("found no model to adapt; start ldx annotate with --model FILE.ldx")
            if self._process is not None and self._process.poll() is None:
                raise UserError("an adaptation runs already; wait until it has ended, or stop it")
            if self.target.exists():
                self.target = self._free_target()
            self._lines.clear()
            self._stopped = False
            words = [sys.executable, "-m", "landmark_diffusion", *self.command()[1:]]
            try:
                self._process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    encoding="utf-8", errors="replace", start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise UserError(f"ldx adapt cannot be started: {one_line(error)}") from error
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """End it as SIGTERM does: what it has trained is kept, and the same command goes on."""
        process = self._process
        if process is not None and process.poll() is None:
            self._stopped = True
            process.terminate()

    def close(self) -> None:
        """Stop it, and wait a moment until it has put its work away."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def farewell(self) -> str:
        """What is to be said of it at the end; empty where nothing was begun, or all of it was taken up."""
        code = None if self._process is None else self._process.poll()
        if code == 0:
            return f"the model that was adapted is {self.target}"
        if not self._stopped or code is None:
            return ""
        command = shlex.join(self.command())
        if not self._lies_there(self._trainings):
            return f"learning from the marks was stopped before it had learned anything; it is begun by: {command}"
        return (
            f"learning from the marks was stopped; what it has learned is kept in {self._trainings}. It goes on by "
            f"`ldx annotate`, Learn from it, or by: {command}"
        )

    def taken(self, model: Path) -> None:
        """Another model is shown from now on; the next adaptation begins with the same one as before."""
        with self._lock:
            self.shown, self.target, self._process = model, self._free_target(), None
            self._stopped = False

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.strip():
                    with self._lock:
                        self._lines.append(line.rstrip()[:400])
        process.wait()


def _start_of(trainings: Path) -> str:
    """The digest of the model that the trainings in a folder began with; empty where there are none."""
    try:
        return read_json(trainings / MANIFEST, lambda content: str(content["start"]), "no manifest", "remove it")
    except FileNotFoundError:
        return ""
    except (UserError, OSError):
        return "of no model that could be read"


def _quoted(name: str) -> str:
    """A name as YAML takes it within braces."""
    return "'" + name.replace("'", "''") + "'" if set(name) & set(" '\"{}[],:#&*!|>%@`") else name

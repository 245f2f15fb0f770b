"""``ldx adapt`` on the marks, as a command to copy, and in a process of its own with its last lines."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import one_line

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
        model: the model file to begin with; None where there is none, then a training from scratch is advised.
    """

    def __init__(self, root: Path, table: Path, model: Path | None) -> None:
        self.root, self.table, self.model = root, table, model
        self.target = free_target(Path())
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
                "least": LEAST,
                "target": str(self.target),
                "running": self._process is not None and code is None,
                "code": code,
                "stopped": self._stopped,
                "lines": list(self._lines),
            }

    def start(self) -> None:
        """Begin; raises UserError where one runs already, there is no model, or it cannot be started."""
        with self._lock:
            if self.model is None:
                raise UserError("found no model to adapt; start ldx annotate with --model FILE.ldx")
            if self._process is not None and self._process.poll() is None:
                raise UserError("an adaptation runs already; wait until it has ended, or stop it")
            if self.target.exists():
                self.target = free_target(Path())
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

    def taken(self, model: Path) -> None:
        """Go on from a new model."""
        with self._lock:
            self.model, self.target, self._process = model, free_target(Path()), None
            self._stopped = False

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.strip():
                    with self._lock:
                        self._lines.append(line.rstrip()[:400])
        process.wait()


def free_target(folder: Path) -> Path:
    """Name a model file that is not there: mine.ldx, mine_2.ldx and so on."""
    number = 1
    while (path := folder / ("mine.ldx" if number == 1 else f"mine_{number}.ldx")).exists():
        number += 1
    return path


def _quoted(name: str) -> str:
    """A name as YAML takes it within braces."""
    return "'" + name.replace("'", "''") + "'" if set(name) & set(" '\"{}[],:#&*!|>%@`") else name

"""Runs the open cells of a grid one after another, each in a process of its own, beside other processes on the grid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import writing
from landmark_diffusion.core.say import PART_OF_A_WHOLE
from landmark_diffusion.core.signals import handling, hang_up
from landmark_diffusion.studies.trainings.claims import Claim, Holder, acquire, living_holder
from landmark_diffusion.studies.trainings.job import Job, remove_checkpoints
from landmark_diffusion.studies.trainings.results import cell_folder, is_finished

CHILD = (sys.executable, "-m", "landmark_diffusion.cli.cell_process")
"""The process that a cell is given to, unless the runner is given another one."""
LOG = "log.txt"
POLL_SECONDS = 0.1
WAIT_SECONDS = 2.0


class Named(Protocol):
    """A cell of a grid, or a fold: what a process of its own brings to its end."""

    @property
    def name(self) -> str:
        """Name of its folder."""


Each = TypeVar("Each", bound=Named)


class Stopped(SystemExit):
    """The grid was stopped by a signal; its code is the exit status (130 for Ctrl-C, 143 for SIGTERM)."""


@dataclass
class Outcome:
    """What became of the cells that were asked for.

    Attributes:
        done: cells that this process finished.
        failed: {cell: what its log says at the end}.
        elsewhere: {cell: the living process that has it}.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, Holder] = field(default_factory=dict)


def state_of(folder: Path, cell: Named) -> str:
    """Say where a cell stands: finished, running (by whom), interrupted or open."""
    path = cell_folder(folder, cell.name)
    if is_finished(folder, cell.name):
        return "finished"
    if holder := living_holder(path):
        return f"running: {holder}"
    return "interrupted" if (path / LOG).is_file() else "open"


class Runner(Generic[Each]):
    """Run cells, skipping those that are finished or that another living process has.

    Args:
        folder: the grid's.
        jobs: makes the job of a cell.
        tell: takes lines for people.
        progress: is told the cells done, all cells and the current one, now and then.
        child: command of a cell's process, by default ``CHILD``; the path of its job is added.
    """

    def __init__(
        self, folder: Path, jobs: Callable[[Each], Job], tell: Callable[[str], None] = print,
        progress: Callable[[int, int, str], None] = lambda done, total, cell: None, child: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.folder, self.jobs, self.tell, self.progress, self.child = folder, jobs, tell, progress, child or CHILD
        self._process: subprocess.Popen[bytes] | None = None
        self._signals: list[int] = []

    def run(self, cells: Sequence[Each], wait: bool = False) -> Outcome:
        """Run all open cells; with ``wait`` also stay until other processes have finished theirs, or died.

        Raises Stopped after SIGINT, SIGTERM or SIGHUP, once the cell's process has saved its checkpoint and ended.
        """
        outcome = Outcome()
        with handling((signal.SIGINT, signal.SIGTERM, *hang_up()), self._on_signal):
            while True:
                before = len(outcome.done) + len(outcome.failed)
                outcome.elsewhere = {}
                for cell in cells:
                    if cell.name not in outcome.failed and not is_finished(self.folder, cell.name):
                        self._try(cell, cells, outcome)
                    self._stop_if_asked()
                if outcome.elsewhere and wait:
                    self._pause(WAIT_SECONDS, cells)
                elif len(outcome.done) + len(outcome.failed) == before or not outcome.elsewhere:
                    return outcome

    def _try(self, cell: Each, cells: Sequence[Each], outcome: Outcome) -> None:
        path = cell_folder(self.folder, cell.name)
        claim = acquire(path)
        if isinstance(claim, Holder):
            outcome.elsewhere[cell.name] = claim
            return
        how = "failed"
        try:
            if is_finished(self.folder, cell.name):  # by another process, just before our claim
                how = ""
                return
            status = self._run(cell, claim, cells)
            if is_finished(self.folder, cell.name):
                how = ""
                outcome.done.append(cell.name)
            elif self._signals:
                how = "stopped"
            elif claim.lost:
                self.tell(f"{cell.name}: another process took this cell over, as ours had been silent for minutes")
            else:
                outcome.failed[cell.name] = _ending(path / LOG, status)
                self.tell(f"{cell.name} failed: {outcome.failed[cell.name]}\n  its log: {path / LOG}")
        finally:
            claim.release(how)

    def _run(self, cell: Each, claim: Claim, cells: Sequence[Each]) -> int:
        """Run a cell's process to its end and return its exit status."""
        job = self.jobs(cell)
        path = job.write()
        checked = began = time.monotonic()
        self._show(cells, cell.name)
        with start([*self.child, str(path)], path.parent / LOG, "\n".join(job.commands())) as self._process:
            if self._signals:  # it came before there was a process to pass it on to
                self._process.terminate()
            while (status := self._process.poll()) is None:
                time.sleep(POLL_SECONDS)
                if time.monotonic() - checked > WAIT_SECONDS:
                    checked = time.monotonic()
                    self._show(cells, cell.name)
                    if claim.lost:
                        self._process.kill()
        self._process = None
        minutes = (time.monotonic() - began) / 60
        if status == 0:
            done, total = self._counts(cells)
            self.tell(f"{done}/{total} {cell.name}: finished in {minutes:.1f} min")
        return status

    def _show(self, cells: Sequence[Each], current: str) -> None:
        self.progress(*self._counts(cells), current)

    def _counts(self, cells: Sequence[Each]) -> tuple[int, int]:
        return sum(is_finished(self.folder, cell.name) for cell in cells), len(cells)

    def _pause(self, seconds: float, cells: Sequence[Each]) -> None:
        self._show(cells, "waiting for other processes")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._signals:
            time.sleep(POLL_SECONDS)

    def _on_signal(self, number: int, frame: Any) -> None:
        """Pass the first signal on to the cell's process, kill it at the second."""
        self._signals.append(number)
        if self._process is None or self._process.poll() is not None:
            return
        if len(self._signals) == 1:
            self._process.terminate()
            self.tell(f"{signal.Signals(number).name}: the cell saves a checkpoint; once more stops at once, unsaved")
        else:
            self._process.kill()

    def _stop_if_asked(self) -> None:
        if self._signals:
            raise Stopped(128 + self._signals[0])


@contextmanager
def start(command: Sequence[str], log: Path, heading: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Start a process whose output goes to the end of ``log``; it sees on its stdin when this one ends.

    It has a process group of its own, so that Ctrl-C in a terminal reaches it only through this process.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", PART_OF_A_WHOLE: "1"}
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab", buffering=0)  # else a full disk is noticed only when it is closed
    with file:
        with writing(log):
            file.write(f"\n== {time.strftime('%Y-%m-%d %H:%M:%S')}\n{heading}\n".encode())
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def check_commands(commands: Mapping[str, Sequence[str]]) -> None:
    """Let the parser of ``ldx`` see command lines by their names, in a process of its own.

    Raises UserError with its message and the name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, log, at = Path(folder, "commands.json"), Path(folder, LOG), Path(folder, "at.txt")
        path.write_text(json.dumps(commands), encoding="utf-8")
        with start([*CHILD, "--check", str(path), str(at)], log) as process:
            status = process.wait()
        if status:
            where = at.read_text() if at.is_file() else "the cells"
            raise UserError(f"an option of {where} is refused: {_message(log)}")


def tidy(folder: Path, cells: Sequence[Named]) -> None:
    """Remove the checkpoints of finished cells whose process was killed just before it could."""
    for cell in cells:
        if is_finished(folder, cell.name) and living_holder(cell_folder(folder, cell.name)) is None:
            remove_checkpoints(cell_folder(folder, cell.name))


def _ending(log: Path, status: int) -> str:
    return f"exit status {status}\n{_indented(_message(log))}"


def _message(log: Path, lines: int = 8) -> str:
    """The last lines of a log, or what stands there from "error: " on; of the last start alone."""
    text = log.read_text(encoding="utf-8", errors="replace").rpartition("\n== ")[2].rstrip()
    _, mark, message = text.rpartition("\nerror: ")
    return message if mark else "\n".join(text.splitlines()[-lines:])


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())

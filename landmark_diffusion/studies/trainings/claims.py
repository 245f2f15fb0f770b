"""Claims: which process works on a cell, kept as files in the cell's folder, so that machines share a grid by it alone.

Claims of a cell are numbered: ``claim-0001``, ``claim-0002``... The one with the highest number counts. Whoever wants
the cell makes the next number, which succeeds for exactly one process; a number is never used again while the cell is
unfinished, so that nobody who looked too long ago can take a claim from its living owner.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text, create_text

BEAT_SECONDS = 20.0
SILENCE_SECONDS = 300.0
"""A claim of another machine without a heartbeat for so long counts as abandoned."""
_FILE = re.compile(r"claim-(\d{4,})")


@dataclass(frozen=True)
class Holder:
    """Who made a claim: as long as this process lives, the cell is its own.

    Attributes:
        host: name of the machine, for people.
        machine: what tells machines, boots and containers apart; empty where processes cannot be looked up.
        pid, started: the process, and when it began in the system's own count, since numbers are used again.
        since: for people.
        released: "" while it works, then "stopped" or "failed".
    """

    host: str
    machine: str
    pid: int
    started: str
    since: str = ""
    released: str = ""

    @classmethod
    def this_process(cls) -> Holder:
        """Describe the process that asks."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()) or "", now)

    def text(self) -> str:
        """Write it as a claim's file holds it."""
        return json.dumps(vars(self)) + "\n"

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Claim:
    """A cell that this process holds; a thread keeps the claim's heartbeat until ``release``.

    Args:
        path: the claim's file, already made.
        holder: this process.
        beat: seconds between two heartbeats.
    """

    def __init__(self, path: Path, holder: Holder, beat: float = BEAT_SECONDS) -> None:
        self.path, self.holder = path, holder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(beat,), daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another process took the cell over, because no heartbeat had reached it for too long."""
        newest = _newest(self.path.parent)
        return newest is None or newest != self.path

    def release(self, how: str = "") -> None:
        """Give the cell back, "stopped" or "failed"; without ``how`` it is finished and the claims are removed."""
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # a full disk: the claim ends with this process too, and a result counts more
            if how and not self.lost:
                atomic_write_text(self.path, replace(self.holder, released=how).text())
            for path in () if how else self.path.parent.glob("claim-*"):
                path.unlink(missing_ok=True)

    def _keep(self, beat: float) -> None:
        while not self._ended.wait(beat):
            with suppress(OSError):
                os.utime(self.path)  # without a time: the file system's own clock


def acquire(cell: Path, beat: float = BEAT_SECONDS, silence: float = SILENCE_SECONDS) -> Claim | Holder:
    """Claim a cell for this process; returns the claim, or the living holder that has it already.

    Raises UserError where the folder cannot be written.
    """
    try:
        cell.mkdir(parents=True, exist_ok=True)
        newest = _newest(cell)
        if newest is not None and (other := living_holder(cell, silence)) is not None:
            return other
        number = 0 if newest is None else int(_FILE.fullmatch(newest.name)[1])  # type: ignore[index]
        path, holder = cell / f"claim-{number + 1:04d}", Holder.this_process()
        if create_text(path, holder.text()):  # not where another process was first
            return Claim(path, holder, beat)
    except OSError as error:
        raise UserError(
            f"{cell}: the cell cannot be claimed ({error.strerror or error}); mend that, or choose another folder"
        ) from error
    return _read(path) or Holder("another machine", "", 0, "")


def living_holder(cell: Path, silence: float = SILENCE_SECONDS) -> Holder | None:
    """Find the process that works on a cell, on whatever machine; None where there is none or it died."""
    path = _newest(cell)
    if path is None:
        return None
    holder = _read(path)
    if holder is None:  # being written, or damaged
        return Holder("unknown", "", 0, "") if _age(path) < silence else None
    if holder.released:
        return None
    if holder.machine and holder.machine == _machine():
        return holder if _started(holder.pid) == holder.started else None
    return holder if _age(path) < silence else None


def _newest(cell: Path) -> Path | None:
    found = [path for path in cell.glob("claim-*") if _FILE.fullmatch(path.name)] if cell.is_dir() else []
    return max(found, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _age(path: Path) -> float:
    """Seconds since a file's last heartbeat, by the clock of the file system: machines' own clocks differ."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock-") as probe:
            return os.stat(probe.name).st_mtime - path.stat().st_mtime
    except FileNotFoundError:  # the claim was removed meanwhile: its cell is finished
        return 0.0
    except OSError:  # nothing can be written there, so the machine's own clock has to do
        return time.time() - path.stat().st_mtime if path.is_file() else 0.0


def _machine() -> str:
    """Identity of machine, boot and process namespace; empty where the system does not tell (no /proc)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process began, in the system's ticks; None where there is no such process, or it is dead already."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in front may hold blanks
    return None if fields[0] in ("Z", "X") else fields[19]

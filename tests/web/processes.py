"""Servers in processes of their own, and clients that speak to them by plain sockets."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(
    command: Sequence[str], folder: Path, seconds: float = 60, environment: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a Python program that prints the address at which it answers; end it behind the block if it still runs."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})}
    errors = (folder / "stderr.txt").open("w+")
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, env=surroundings,
        preexec_fn=_ctrl_c_works,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        end, lines = time.monotonic() + seconds, []
        while not (found := re.search(r"http://\S+", lines[-1] if lines else "")):
            lines.append(process.stdout.readline())
            if not lines[-1] or time.monotonic() > end:
                raise AssertionError(f"no address: {lines} {(folder / 'stderr.txt').read_text()}")
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        errors.close()


def place(address: str) -> tuple[str, int]:
    """Host and port of an address."""
    host, port = address.removeprefix("http://").partition("/")[0].rsplit(":", 1)
    return host, int(port)


def exchange(address: str, request: bytes, seconds: float = 20) -> bytes:
    """Send bytes to a server and give all that comes until it closes the connection."""
    with socket.create_connection(place(address), seconds) as connection:
        connection.sendall(request)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; a connection that is reset ends too."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def _ctrl_c_works() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs start with it ignored

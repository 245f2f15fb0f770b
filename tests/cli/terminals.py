"""Standard outputs that fail, as files of this process."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TextIO


def closed_pipe() -> TextIO:
    """What `| head -1` leaves when head has ended; line buffered, so that each line meets it."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1, encoding="utf-8")


def full_disk() -> TextIO:
    """A log file on a full disk."""
    return open("/dev/full", "w", buffering=1, encoding="utf-8")


def ascii_console() -> TextIO:
    """A console that knows no other characters, as with PYTHONIOENCODING=ascii."""
    return io.TextIOWrapper(io.BytesIO(), "ascii")


def no_stdout() -> TextIO:
    """Python's sys.stdout after `>&-`."""
    return None  # type: ignore[return-value]


FAILING: dict[str, tuple[Callable[[], TextIO], int]] = {
    "closed pipe": (closed_pipe, 0),
    "full disk": (full_disk, 1),
    "ascii": (ascii_console, 0),
    "closed": (no_stdout, 0),
}
"""How to make each, and the exit status of work that is done all the same."""

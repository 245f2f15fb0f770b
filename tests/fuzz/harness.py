"""How inputs are judged and counted: accepted as they are, or refused by a line that names the file; all else fails."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings

from landmark_diffusion.core.errors import DataError, UserError

FULL = os.environ.get("LDX_FUZZ") == "full"
"""Set by ``make fuzz``: many inputs, other ones each time. Else few, and the same each time."""

_Value = TypeVar("_Value")


def inputs(small: int, full: int) -> settings:
    """Say how many inputs a property takes: an own profile, so that the other tests with hypothesis keep theirs."""
    return settings(
        max_examples=full if FULL else small,
        derandomize=not FULL,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@dataclass
class Count:
    """What came of the inputs of one format."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0


COUNTS: dict[str, Count] = {}
"""By format, of this process."""


def judge(kind: str, read: Callable[[], _Value], *places: Path, lines: int | None = None) -> _Value | None:
    """Read one input: return what was read, or None where it was refused in one line that names one of ``places``.

    Any other exception goes through and fails the test, as does numpy's warning of an overflow or a NaN. ``lines`` of
    the file is what a line number in the refusal may be at most (one more where something is missing at the end).
    """
    count = COUNTS.setdefault(kind, Count())
    count.inputs += 1
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            found = read()
    except UserError as error:
        count.refused += 1
        message = str(error)
        assert any(str(place) in message for place in places), f"names no file: {message}"
        assert "\n" not in message, f"not one line: {message!r}"
        if isinstance(error, DataError) and error.line is not None and lines is not None:
            assert 1 <= error.line <= lines + 1, f"line {error.line} of {lines}: {message}"
        return None
    finally:
        count.seconds += time.perf_counter() - start
    count.accepted += 1
    return found


def number(text: str) -> float | None:
    """Read a decimal number as a person would, by other means than the package: None for anything else."""
    text = text.strip()
    if not text or not set(text) <= set("0123456789+-.eE"):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def text_of(data: bytes) -> str | None:
    """Decode a text file as documented: UTF-8, with or without byte order mark, any line ends; None for another."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return None


def lines_of(data: bytes) -> int:
    """Count the lines of a text file, at most: what a line number may be."""
    return 1 + data.count(b"\n") + data.count(b"\r")


def on_image(x: float, y: float, size: tuple[int, int]) -> bool:
    """Whether a point lies on a pixel of an image of ``size`` (width, height): centres are whole numbers."""
    return -0.5 <= x < size[0] - 0.5 and -0.5 <= y < size[1] - 0.5

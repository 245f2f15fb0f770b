"""Numbers in annotation files: what counts as one, and which points lie inside an image."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


def parse_number(text: str) -> float:
    """Return a finite decimal number; raise ValueError that says what was found instead.

    Narrower than ``float``, which also takes ``nan``, ``inf`` and ``1_000``: in an annotation each is a mistake.
    """
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        finite = "finite " if _NOT_FINITE.fullmatch(text) else ""
        raise ValueError(f"found {text!r}, expected a {finite}number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"found {text!r}, which is too large for a number")
    return value


def split_pair(line: str) -> list[str]:
    """Split ``x,y`` or ``x y`` into its fields, empty ones kept: ``1,,2`` is no pair but one with a hole."""
    return re.split(r"\s*,\s*|\s+", line.strip())


def inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which points (..., 2) lie on a pixel of an image of ``size`` (width, height): (...,) bool, NaN is inside.

    Pixel centres are integers, so an image reaches from -0.5 to size - 0.5.
    """
    beyond = (points < -0.5) | (points >= np.asarray(size) - 0.5)
    return np.logical_not(beyond.any(-1))


def outside_fault(name: str, point: np.ndarray, size: tuple[int, int], path: Path | str, line: int | None) -> DataError:
    """Return the message for a point outside its image of ``size`` (width, height)."""
    return DataError(
        f"{name} lies at ({point[0]:g}, {point[1]:g}), outside its image of {size[0]}x{size[1]} px; "
        "expected pixels (x, y) of the full image, counted from the top left",
        path,
        line,
    )


def read_text(path: Path) -> str:
    """Return a file's text as UTF-8 with or without a byte order mark; raise DataError that names it."""
    try:
        return read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8 text (byte {error.start}); save it as plain text", path) from None


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; raise DataError that names it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError("the file does not exist", path) from None
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", path) from None

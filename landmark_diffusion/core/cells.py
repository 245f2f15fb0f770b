"""Numbers and texts as cells of tables that programs and spreadsheets read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from landmark_diffusion.core.files import atomic_write_text

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")


def number_cell(value: float) -> str:
    """Write a number for a table: six decimals, empty for NaN."""
    return "" if math.isnan(value) else f"{value:.6f}"


def spreadsheet_safe(text: str) -> str:
    """Put an apostrophe in front of a text that a spreadsheet would run as a formula.

    A text that itself begins with an apostrophe gets one too, so that reading can always take one away.
    """
    return "'" + text if text.startswith((*RUN_BY_SPREADSHEETS, "'")) else text


def write_csv(
    path: str | Path, rows: Iterable[Sequence[str | int | float | None]], number: Callable[[float], str] = number_cell
) -> Path:
    """Write rows as a table for people and spreadsheets, whole or not at all; returns the path.

    ``number`` writes those with a fraction; None is empty; a text that a spreadsheet would run as a formula gets an
    apostrophe in front.
    """

    def cell(value: str | int | float | None) -> str:
        if isinstance(value, float):
            return number(value)
        return "" if value is None else spreadsheet_safe(str(value))

    text = io.StringIO()
    csv.writer(text).writerows(map(cell, row) for row in rows)  # its own line ends quote a lone \r
    atomic_write_text(path, text.getvalue().replace("\r\n", "\n"))
    return Path(path)


def unescape(text: str) -> str:
    """Take away the apostrophe that ``spreadsheet_safe`` put in front."""
    return text[1:] if text.startswith("'") else text


def plain_name(text: str) -> str:
    """Take away the apostrophe that ``safe_name`` put in front, and no other: a name may begin with one."""
    return text[1:] if text.startswith("'") and _runs_behind_apostrophes(text) else text


def safe_name(text: str) -> str:
    """Put an apostrophe in front of what a spreadsheet would run, be it behind apostrophes of its own."""
    return "'" + text if _runs_behind_apostrophes(text) else text


def _runs_behind_apostrophes(text: str) -> bool:
    return text.lstrip("'").startswith(RUN_BY_SPREADSHEETS)

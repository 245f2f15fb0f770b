"""Numbers and texts as cells of tables that programs and spreadsheets read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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


def text_cell(text: str) -> str:
    """Write a text as one cell of a table. (csv.writer leaves a lone carriage return unquoted.)"""
    safe = spreadsheet_safe(text)
    return '"' + safe.replace('"', '""') + '"' if any(mark in safe for mark in ',"\r\n') else safe


def write_csv(path: str | Path, rows: Iterable[Sequence[str | int | float | None]]) -> Path:
    """Write rows as a table for people and spreadsheets, whole or not at all; returns the path.

    Numbers with a fraction get six decimals; None and NaN are empty; a text that a spreadsheet would run as a formula
    gets an apostrophe in front.
    """
    atomic_write_text(path, table_text([_cell(value) for value in row] for row in rows))
    return Path(path)


def table_text(rows: Iterable[Iterable[Any]]) -> str:
    """Lay out cells as the text of a CSV file with plain line ends."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)  # its own line ends, so that it quotes a lone carriage return
    return text.getvalue().replace("\r\n", "\n")


def _cell(value: str | int | float | None) -> str:
    if isinstance(value, float):
        return number_cell(value)
    return "" if value is None else spreadsheet_safe(str(value))


def unescape(text: str) -> str:
    """Take away the apostrophe that ``spreadsheet_safe`` put in front."""
    return text[1:] if text.startswith("'") else text

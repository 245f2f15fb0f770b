"""Numbers and texts as cells of tables that programs and spreadsheets read."""

from __future__ import annotations

import math

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


def unescape(text: str) -> str:
    """Take away the apostrophe that ``spreadsheet_safe`` put in front."""
    return text[1:] if text.startswith("'") else text

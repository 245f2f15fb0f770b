"""Numbers of a table as programs write them: one decimal mark for the whole file, missing values by their words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.sources.annotations_text import parse_number
from landmark_diffusion.data.sources.folder.text import Record

MISSING = frozenset(("na", "n/a", "#n/a", "nan", "none", "null", "-", "--", "\u2013", "\u2014"))
"""Words for a value that is not there, in lower case, beside the empty cell."""

_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)
_MAYBE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_POINT_THOUSANDS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+", re.ASCII)
_COMMA_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+|[+-]?\d{1,3}(,\d{3}){2,}", re.ASCII)
_SPACES = re.compile(r"(?<=\d)[ \u00a0\u202f'](?=\d{3}(?!\d))", re.ASCII)
_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Parse = Callable[[str], float]


def is_missing(text: str) -> bool:
    """Whether a cell stands for a value that is not there."""
    return not text or text.lower() in MISSING


def looks_like_number(text: str) -> bool:
    """Whether a cell is a number in any of the forms that are read."""
    try:
        parse_number(_SPACES.sub("", text).replace(",", "."))
    except ValueError:
        return False
    return True


def number_parser(records: Sequence[Record], places: Sequence[int], path: Path) -> tuple[Parse, list[str]]:
    """Return how the numbers in these columns of a table are read, and a note where they are no plain ones.

    A decimal comma is read where no cell has a decimal point and one at least can be nothing else (``12,5``), and then
    in all cells. Raises DataError with the count where a comma can be a decimal or a thousands mark (``1,234``), or
    stands beside decimal points.
    """
    commas = [(line, cells[place]) for line, cells in records for place in places if "," in cells[place]]
    commas = [(line, text) for line, text in commas if _COMMA.fullmatch(text) or _POINT_THOUSANDS.fullmatch(text)]
    if not commas:
        return _parse_point, []
    all_cells = ((line, cells[place]) for line, cells in records for place in places)
    points = [(line, text) for line, text in all_cells if _POINT.fullmatch(text) or _COMMA_THOUSANDS.fullmatch(text)]
    line, text = commas[0]
    if points:
        raise DataError(
            f"decimal comma in {_cells(len(commas))} ({text!r}) beside decimal points in {_cells(len(points))} "
            f"({points[0][1]!r} in line {points[0][0]}); write all numbers alike",
            path,
            line,
        )
    if all(_MAYBE_THOUSANDS.fullmatch(text) for _, text in commas):
        raise DataError(
            f"the comma in {_cells(len(commas))} ({text!r}) can be a decimal comma or one for thousands; write decimal "
            "points and no thousands separators",
            path,
            line,
        )
    return _parse_comma, [f"decimal comma in {_cells(len(commas))}, such as {text} in line {line}"]


def _cells(count: int) -> str:
    return counted(count, "cell")


def _parse_point(text: str) -> float:
    """Read a number with a decimal point, thousands marked by commas (beside a point), blanks or apostrophes."""
    try:
        return parse_number(text)
    except ValueError:
        plain = _SPACES.sub("", text)
        if _COMMA_THOUSANDS.fullmatch(plain):
            plain = plain.replace(",", "")
        elif plain == text:
            raise
        return parse_number(plain)


def _parse_comma(text: str) -> float:
    """Read a number with a decimal comma, thousands marked by points (beside a comma), blanks or apostrophes."""
    plain = _SPACES.sub("", text)
    if _POINT_THOUSANDS.fullmatch(plain):
        plain = plain.replace(".", "")
    return parse_number(plain.replace(",", ".", 1))

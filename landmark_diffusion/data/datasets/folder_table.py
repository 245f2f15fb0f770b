"""The CSV of the folder dataset: wide or long, read into one row an image, with every fault by its line."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np

from landmark_diffusion.data.annotations_text import parse_number, read_text
from landmark_diffusion.errors import DataError

IMAGE_COLUMNS = ("image", "image_id", "filename", "file_name", "file", "id")
"""Names that the column with the image may have (upper and lower case alike), the first one found counts."""

_NUMBERED = re.compile(r"([xy])_?(\d{1,9})", re.ASCII | re.IGNORECASE)
_NAMED = re.compile(r"(.+)_([xy])", re.DOTALL | re.IGNORECASE)
_RESERVED = ("spacing", "spacing_x", "spacing_y", "width", "height")
_SOLE_ANNOTATOR = "annotator"
_Record = tuple[int, list[str]]  # line and cells


Mark = tuple[str, str]
"""Annotator and landmark."""


@dataclass(slots=True)
class Row:
    """One image of the table. Its points lie in one array: an object a number would be half a GB for 100,000 images."""

    image: str
    line: int
    size: tuple[int, int] | None = None
    spacing: tuple[float, float] | None = None
    part: str = ""
    _marks: list[Mark] = field(default_factory=list)
    _values: array = field(default_factory=lambda: array("d"))

    def add(self, mark: Mark, x: float, y: float, line: int) -> None:
        """Add a point and the line that it stands in; the caller sees to it that there is one of each mark."""
        self._marks.append(mark)
        self._values.extend((x, y, line))

    @property
    def marks(self) -> dict[Mark, tuple[float, float, int]]:
        """(annotator, landmark) -> (x, y, line), made anew at each call; a missing point is absent."""
        values = self._values
        return {
            mark: (values[at], values[at + 1], int(values[at + 2]))
            for mark, at in zip(self._marks, range(0, len(values), 3), strict=True)
        }


@dataclass
class Table:
    """A CSV as read: rows by image in the file's order, names in order, and one fault for each thing that is wrong."""

    path: Path
    landmark_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    rows: dict[str, Row]
    faults: list[DataError]
    columns: tuple[str, ...]
    split_column: str | None
    mentioned: set[str]
    """Names of images in rows that could be read and in those that could not."""

    def annotations(self, row: Row) -> np.ndarray:
        """Points of one image, (A, N, 2) original pixels, NaN where a point was not marked."""
        points = np.full((len(self.annotator_names), len(self.landmark_names), 2), np.nan)
        for mark, (x, y, _) in row.marks.items():
            points[self._places[mark]] = x, y
        return points

    @cached_property
    def _places(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(annotator, landmark) -> its place in ``annotations``."""
        annotators, landmarks = enumerate(self.annotator_names), list(enumerate(self.landmark_names))
        return {(annotator, name): (a, n) for a, annotator in annotators for n, name in landmarks}


def read_table(path: Path, split_column: str) -> Table:
    """Read a wide or long CSV (separated by commas, semicolons or tabs).

    Wide: an image column and x1,y1,x2,y2,... or name_x,name_y,...; long: image,landmark,x,y[,annotator]. Both may have
    ``spacing`` (or ``spacing_x`` and ``spacing_y``, mm a pixel), ``width`` and ``height``, and ``split_column``.
    Raises DataError if the header cannot be understood; faults of single lines are collected in ``Table.faults``.
    """
    text = read_text(path)
    header, records = _records(text, path)
    faults: list[DataError] = []
    columns = _Columns(header, path, split_column)
    mentioned = {cells[columns.image] for _, cells in records if len(cells) > columns.image}
    if not records:
        faults.append(DataError("found a header but no row, expected one for each image", path, 1))
    records = _of_full_length(records, len(header), path, faults)
    fill = _fill_long if columns.long else _fill_wide
    rows, names, annotators = fill(columns, records, faults, path)
    return Table(path, names, annotators, rows, faults, tuple(header), columns.split, mentioned)


class _Columns:
    """What each column means; raises DataError where the header is no table of landmarks."""

    def __init__(self, header: list[str], path: Path, split_column: str) -> None:
        lower = [name.lower() for name in header]
        for name in lower:
            if name and lower.count(name) > 1:
                raise DataError(f"the column {name!r} is there twice", path, 1)
        image = next((name for name in IMAGE_COLUMNS if name in lower), None)
        if image is None:
            raise DataError(
                f"no column for the image: found {_shown(header)}, expected a header line with 'image' and "
                "x1,y1,... or name_x,name_y,... (wide), or landmark,x,y (long)",
                path,
                1,
            )
        self.image = lower.index(image)
        self.split = next((name for name in header if name.lower() == split_column.lower()), None)
        self.part = header.index(self.split) if self.split is not None else None
        self.extra = {name: lower.index(name) for name in _RESERVED if name in lower}
        self._check_pair("spacing_x", "spacing_y", path)
        self._check_pair("width", "height", path)
        self.long = {"landmark", "x", "y"} <= set(lower)
        self.annotator = lower.index("annotator") if self.long and "annotator" in lower else None
        if self.long:
            self.landmark, self.x, self.y = (lower.index(name) for name in ("landmark", "x", "y"))
        else:
            self.pairs = _coordinate_pairs(header, {self.image, self.part, *self.extra.values()}, path)

    def _check_pair(self, first: str, second: str, path: Path) -> None:
        if (first in self.extra) != (second in self.extra):
            found, missing = (first, second) if first in self.extra else (second, first)
            raise DataError(f"found the column {found!r} without {missing!r}", path, 1)
        if first == "spacing_x" and first in self.extra and "spacing" in self.extra:
            raise DataError("found 'spacing' beside 'spacing_x' and 'spacing_y', expected one of the two", path, 1)


def _coordinate_pairs(header: list[str], taken: set[int | None], path: Path) -> list[tuple[str, int, int]]:
    """Return (name, x column, y column) for each landmark, numbered ones by number, else in the header's order."""
    numbered: dict[str, dict[str, int]] = {}
    named: dict[str, dict[str, int]] = {}
    for index, name in enumerate(header):
        if index in taken:
            continue
        if match := _NUMBERED.fullmatch(name):
            _add(numbered.setdefault(str(int(match[2])), {}), match[1].lower(), index, header, path)
        elif match := _NAMED.fullmatch(name):
            _add(named.setdefault(match[1], {}), match[2].lower(), index, header, path)
    if numbered and named:
        first, second = (header[next(iter(next(iter(kind.values())).values()))] for kind in (numbered, named))
        raise DataError(
            f"found both numbered columns ({first!r}) and named ones ({second!r}), expected one kind: rename or remove "
            "the others",
            path,
            1,
        )
    found = dict(sorted(numbered.items(), key=lambda item: int(item[0]))) if numbered else named
    for pair in found.values():
        if len(pair) != 2:
            index = next(iter(pair.values()))
            raise DataError(f"the column {header[index]!r} has no partner for the other axis", path, 1)
    if not found:
        raise DataError(
            f"no landmark columns: found {_shown(header)}, expected x1,y1,x2,y2,... or name_x,name_y,... (wide), "
            "or landmark,x,y (long)",
            path,
            1,
        )
    return [(name, pair["x"], pair["y"]) for name, pair in found.items()]


def _add(pair: dict[str, int], axis: str, index: int, header: list[str], path: Path) -> None:
    """Note the column of one axis; x1, x01 and x_1 are the same one, of which all but the last would be lost."""
    if axis in pair:
        raise DataError(f"the columns {header[pair[axis]]!r} and {header[index]!r} are the same coordinate", path, 1)
    pair[axis] = index


def _records(text: str, path: Path) -> tuple[list[str], list[_Record]]:
    """Split into the header and (line, cells) for each row that is not empty."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    if not first:
        raise DataError("the file is empty, expected a header line and one row for each image", path)
    separator = max(",;\t", key=first.count)
    # Strict: else a quote that is never closed takes in all rows that follow.
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    header: list[str] = []
    records: list[_Record] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
            else:
                records.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"cannot be read as CSV ({error})", path, reader.line_num) from None
    return header, records


def _of_full_length(records: list[_Record], length: int, path: Path, faults: list[DataError]) -> list[_Record]:
    """Rows with as many cells as the header; each other one is a fault."""
    faults += [
        DataError(f"found {len(cells)} cells, expected {length} as in the header", path, line)
        for line, cells in records
        if len(cells) != length
    ]
    return [(line, cells) for line, cells in records if len(cells) == length]


_Filled = tuple[dict[str, Row], tuple[str, ...], tuple[str, ...]]


def _fill_wide(
    columns: _Columns, records: list[_Record], faults: list[DataError], path: Path
) -> _Filled:
    rows: dict[str, Row] = {}
    marks = [((_SOLE_ANNOTATOR, name), x, y) for name, x, y in columns.pairs]  # one key each for all rows
    for line, cells in records:
        row = _row(columns, cells, line, path, faults)
        if row is None:
            continue
        if row.image in rows:
            faults.append(
                DataError(f"the image {row.image!r} is there twice, first in line {rows[row.image].line}", path, line)
            )
            continue
        rows[row.image] = row
        for mark, x, y in marks:
            point = _point(cells[x], cells[y], mark[1], line, path, faults)
            if point is not None:
                row.add(mark, *point, line)
    return rows, tuple(name for name, _, _ in columns.pairs), (_SOLE_ANNOTATOR,)


def _fill_long(
    columns: _Columns, records: list[_Record], faults: list[DataError], path: Path
) -> _Filled:
    rows: dict[str, Row] = {}
    names: dict[str, None] = {}
    annotators: dict[str, None] = {}
    lines: dict[tuple[str, str, str], int] = {}
    for line, cells in records:
        row = _row(columns, cells, line, path, faults)
        if row is None:
            continue
        row = _merged(rows, row, line, path, faults)
        name = cells[columns.landmark]
        annotator = cells[columns.annotator] if columns.annotator is not None else _SOLE_ANNOTATOR
        if not name or not annotator:
            empty = "landmark" if not name else "annotator"
            faults.append(DataError(f"the column {empty!r} is empty", path, line))
            continue
        key = (row.image, annotator, name)
        if key in lines:
            by = f" by {annotator!r}" if columns.annotator is not None else ""
            again = f"landmark {name!r} of {row.image!r}{by} is there twice, first in line {lines[key]}"
            faults.append(DataError(again, path, line))
            continue
        lines[key] = line
        names[name], annotators[annotator] = None, None
        point = _point(cells[columns.x], cells[columns.y], name, line, path, faults)
        if point is not None:
            row.add((annotator, name), *point, line)
    return rows, _in_order(names), tuple(annotators) or (_SOLE_ANNOTATOR,)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by value, names as they first appear."""
    names = list(names)
    return tuple(sorted(names, key=int)) if all(re.fullmatch(r"\d{1,9}", n, re.ASCII) for n in names) else tuple(names)


def _row(columns: _Columns, cells: list[str], line: int, path: Path, faults: list[DataError]) -> Row | None:
    image = cells[columns.image]
    if not image:
        faults.append(DataError("the image's name is empty", path, line))
        return None
    row = Row(image, line, part=cells[columns.part] if columns.part is not None else "")
    values = {name: cells[index] for name, index in columns.extra.items() if cells[index]}
    try:
        row.size = _pair(values, "width", "height", _whole_number)
        row.spacing = _pair(values, "spacing_x", "spacing_y", _positive)
        if "spacing" in values:
            row.spacing = (_positive("spacing", values["spacing"]),) * 2
    except ValueError as error:
        faults.append(DataError(str(error), path, line))
    return row


def _pair(values: dict[str, str], first: str, second: str, parse: Callable) -> tuple | None:
    if (first in values) != (second in values):
        raise ValueError(f"found only one of {first!r} and {second!r}, expected both or neither")
    return (parse(first, values[first]), parse(second, values[second])) if first in values else None


def _positive(name: str, text: str) -> float:
    value = _named_number(name, text)
    if value <= 0:
        raise ValueError(f"{name}: found {text}, expected mm a pixel, above 0")
    return value


def _whole_number(name: str, text: str) -> int:
    value = _named_number(name, text)
    if value < 1 or value != math.floor(value):
        raise ValueError(f"{name}: found {text}, expected whole pixels, at least 1")
    return int(value)


def _named_number(name: str, text: str) -> float:
    try:
        return parse_number(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _merged(rows: dict[str, Row], new: Row, line: int, path: Path, faults: list[DataError]) -> Row:
    """Return the image's row, with a fault if a later line of the long form says something else about the image."""
    row = rows.setdefault(new.image, new)
    for what, old, now in (
        ("width and height", row.size, new.size), ("spacing", row.spacing, new.spacing), ("split", row.part, new.part)
    ):  # fmt: skip
        if old != now:
            faults.append(
                DataError(f"{what} of {row.image!r}: found {now!r}, but {old!r} in line {row.line}", path, line)
            )
    return row


def _point(
    x: str, y: str, name: str, line: int, path: Path, faults: list[DataError]
) -> tuple[float, float] | None:
    """Return one point, or None where both cells are empty or (with a fault) cannot be used."""
    if not x and not y:
        return None
    try:
        if not x or not y:
            raise ValueError("found only one of x and y, expected both, or both empty for a missing point")
        return parse_number(x), parse_number(y)
    except ValueError as error:
        faults.append(DataError(f"landmark {name!r}: {error}", path, line))
        return None


def _shown(names: list[str]) -> str:
    shown = [name if name.isprintable() else repr(name) for name in names[:8]]
    return ", ".join(shown) + (f", ... ({len(names)} columns)" if len(names) > 8 else "")


def nearest_column(name: str, columns: Iterable[str]) -> str:
    """Return `` Did you mean A?`` for a column that is not there, or the columns' names."""
    columns = list(columns)
    close = get_close_matches(name.lower(), [column.lower() for column in columns], n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Columns: {_shown(columns)}."

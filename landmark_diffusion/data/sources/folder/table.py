"""The CSV of the folder dataset: wide or long, read into one row an image, with every fault by its line."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from landmark_diffusion.core.cells import plain_name
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels.label_set import SOLE_ANNOTATOR
from landmark_diffusion.data.sources.folder.columns import (
    ABSENT,
    SAID_COLUMNS,
    Columns,
    fold,
    read_columns,
    unused_columns,
)
from landmark_diffusion.data.sources.folder.numbers import Parse, is_missing, number_parser
from landmark_diffusion.data.sources.folder.splits import find_split
from landmark_diffusion.data.sources.folder.text import Record, read_cells

ALIKE = "and no image has both"
"""In the fault of two names that may be one."""

Number = TypeVar("Number", int, float)


Mark = tuple[str, str]
"""Annotator and landmark."""


@dataclass(slots=True)
class LabelRow:
    """One image of the table. Its points lie in one array: an object a number would be half a GB for 100,000 images."""

    image: str
    line: int
    size: tuple[int, int] | None = None
    spacing: tuple[float, float] | None = None
    part: str = ""
    patient: str = ""
    absent: bool = False
    """Whether a landmark is said not to be in the image."""
    source: str = ""
    """Where a tool's labels say it, "file" or "file:line", where that is not their one file."""
    _marks: list[Mark] = field(default_factory=list)
    _values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, mark: Mark, x: float, y: float, line: int) -> None:
        """Add a point and the line that it stands in; the caller sees to it that there is one of each mark."""
        self._marks.append(mark)
        self._values.extend((x, y, line))

    @property
    def said(self) -> str:
        """What other messages call it: its line, or its name where it has none."""
        return f"in line {self.line}" if self.line else repr(self.image)

    @property
    def marked(self) -> Sequence[Mark]:
        """Annotator and landmark of each point."""
        return self._marks

    @property
    def marks(self) -> dict[Mark, tuple[float, float, int]]:
        """(annotator, landmark) -> (x, y, line), made anew at each call; a missing point is absent."""
        values = self._values
        return {
            mark: (values[at], values[at + 1], int(values[at + 2]))
            for mark, at in zip(self._marks, range(0, len(values), 3), strict=True)
        }


@dataclass
class LabelTable:
    """A CSV as read: rows by image in the file's order, names in order, and one fault for each thing that is wrong."""

    path: Path
    landmark_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    rows: dict[str, LabelRow]
    faults: list[DataError]
    columns: tuple[str, ...]
    split_column: str | None
    mentioned: set[str]
    """Names of images in rows that could be read and in those that could not."""
    split_doubt: DataError | None = None
    """Why a column that looks like a split cannot be taken for one."""
    patient_column: str | None = None
    notes: list[str] = field(default_factory=list)
    """How the file was read where that is not plain: its encoding, decimal commas, columns that are not used."""

    folder: Path | None = None
    """Where the images' names begin, where that is not beside the file: the folder of a tool's labels."""

    def fault(self, message: str, row: LabelRow) -> DataError:
        """Give the error that says what is wrong with a row."""
        return DataError(message, self.path, row.line) if row.line else DataError(message, row.source or self.path)

    def where(self, row: LabelRow, line: int | None = None) -> str:
        """Say where a row, or a point of it in ``line``, stands: "file:line", or "file" where there are no lines."""
        return f"{self.path}:{line or row.line}" if row.line else row.source or str(self.path)

    def drop_unmarked(self) -> None:
        """Leave out, with a note, images of which no point is marked yet; where none has one, each is a fault."""
        faulty = {fault.line for fault in self.faults}
        kept = {name: row for name, row in self.rows.items() if row.marked or (row.line and row.line in faulty)}
        left = [name for name in self.rows if name not in kept]
        if not left or not any(row.marked for row in kept.values()):
            return
        names = ", ".join(left[:3]) + ", ..." * (len(left) > 3)
        verb = "has no point and is" if len(left) == 1 else "have no point and are"
        self.notes.append(f"{len(left)} of {len(self.rows)} images {verb} left out: {names}")
        self.rows = kept

    def annotations(self, row: LabelRow) -> np.ndarray:
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


def read_table(
    path: Path, split_column: str, patient_column: str | None = None, read_elsewhere: Collection[str] = ()
) -> LabelTable:
    """Read a wide or long CSV, as docs/csv.md tells it.

    Wide: an image column and x1,y1,x2,y2,... or name_x,name_y,...; long: image,landmark,x,y[,annotator]. Both may have
    ``spacing`` (or ``spacing_x`` and ``spacing_y``, mm a pixel), ``width`` and ``height``, a patient, and
    ``split_column`` (where its name is "split", also one of another name that divides the images). Columns named in
    ``read_elsewhere`` are not told as unused.
    Raises DataError if the header cannot be understood; faults of single lines are collected in ``Table.faults``.
    """
    cells = read_cells(path)
    faults: list[DataError] = []
    columns = read_columns(cells, split_column, patient_column)
    mentioned = {row[columns.image] for _, row in cells.records if len(row) > columns.image}
    if not cells.records:
        faults.append(cells.fault("found a header but no row, expected one for each image"))
    records = _of_full_length(cells.records, len(cells.header), cells.separator, path, faults)
    doubt = None
    if columns.part is None and split_column == "split":
        columns.part, doubt = find_split(cells, columns, records)
    parse, notes = number_parser(records, columns.numbers(), path)
    filling = _Filling(columns, parse, path, faults)
    fill = filling.long if columns.long else filling.wide
    rows, names, annotators = fill(records)
    split, patient = (None if at is None else columns.header[at] for at in (columns.part, columns.patient))
    notes = [*cells.notes, *notes, *filling.notes(), *_unused(columns, records, {*read_elsewhere, *_said(columns)})]
    return LabelTable(
        path, names, annotators, rows, faults, tuple(cells.header), split, mentioned, doubt, patient, notes
    )


def _said(columns: Columns) -> tuple[str, ...]:
    """Columns beside the flag that say something of a point: `ldx annotate` and `ldx data convert` write them."""
    return SAID_COLUMNS if columns.flag is not None else ()


def _unused(columns: Columns, records: list[Record], but: Collection[str]) -> list[str]:
    names = [name for name in unused_columns(columns, records) if fold(name) not in but]
    return [f"not used: the column{'s' * (len(names) > 1)} {', '.join(names)}"] if names else []


def _of_full_length(
    records: list[Record], length: int, separator: str, path: Path, faults: list[DataError]
) -> list[Record]:
    """Rows with as many cells as the header, empty ones at the end left out; each other one is a fault."""
    if any(len(cells) > length for _, cells in records):
        records = [(line, _cut(cells, length)) for line, cells in records]
    wrong = [(line, cells) for line, cells in records if len(cells) != length]
    if len(wrong) == len(records) > 1 and separator == "," and all(len(cells) > length for _, cells in wrong):
        counts = sorted({len(cells) for _, cells in wrong})
        found = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        message = (
            f"found {found} cells in all {len(records)} rows, expected {length} as in the header: decimal commas "
            "between separating commas? Write decimal points, or separate by semicolons"
        )
        faults.append(DataError(message, path, wrong[0][0]))
        return []
    faults += [
        DataError(f"found {len(cells)} cells, expected {length} as in the header", path, line) for line, cells in wrong
    ]
    return [(line, cells) for line, cells in records if len(cells) == length] if wrong else records


def _cut(cells: list[str], length: int) -> list[str]:
    return cells[:length] if len(cells) > length and not any(cells[length:]) else cells


_Filled = tuple[dict[str, LabelRow], tuple[str, ...], tuple[str, ...]]


class _Filling:
    """Rows of cells into rows of points, with a fault for each line that cannot be used."""

    def __init__(self, columns: Columns, parse: Parse, path: Path, faults: list[DataError]) -> None:
        self.columns, self.parse, self.path, self.faults = columns, parse, path, faults
        self.missing: dict[str, int] = {}  # words for a missing value, and how many cells have each
        self.spacing_names = tuple(columns.header[place] for place in columns.spacing)
        self.size_names = tuple(columns.header[place] for place in columns.size)

    def notes(self) -> list[str]:
        """What was read as a missing value."""
        if not self.missing:
            return []
        words = ", ".join(f"{word!r} in {counted(count, 'cell')}" for word, count in self.missing.items())
        return [f"read as missing: {words}"]

    def wide(self, records: list[Record]) -> _Filled:
        """One row an image."""
        rows: dict[str, LabelRow] = {}
        marks = [((SOLE_ANNOTATOR, name), x, y) for name, x, y in self.columns.pairs]  # one key each for all rows
        for line, cells in records:
            row = self._row(cells, line)
            if row is None:
                continue
            if row.image in rows:
                self._fault(f"the image {row.image!r} is there twice, first in line {rows[row.image].line}", line)
                continue
            rows[row.image] = row
            for mark, x, y in marks:
                point = self._point(cells[x], cells[y], mark[1], line)
                if point is not None:
                    row.add(mark, *point, line)
        return rows, tuple(name for name, _, _ in self.columns.pairs), (SOLE_ANNOTATOR,)

    def long(self, records: list[Record]) -> _Filled:
        """One row a point, or a point and annotator."""
        columns = self.columns
        rows: dict[str, LabelRow] = {}
        names: dict[str, int] = {}
        annotators: dict[str, int] = {}
        lines: dict[tuple[str, str, str], int] = {}
        for line, cells in records:
            row = self._row(cells, line)
            if row is None:
                continue
            row = self._merged(rows, row, line)
            row.absent |= self._absent(cells)
            name = plain_name(cells[columns.landmark])
            annotator = plain_name(cells[columns.annotator]) if columns.annotator is not None else SOLE_ANNOTATOR
            if not name or not annotator:
                empty = columns.landmark if not name else columns.annotator
                self._fault(f"the column {columns.header[empty or 0]!r} is empty", line)
                continue
            key = (row.image, annotator, name)
            if key in lines:
                by = f" by {annotator!r}" if columns.annotator is not None else ""
                self._fault(f"landmark {name!r} of {row.image!r}{by} is there twice, first in line {lines[key]}", line)
                continue
            lines[key] = line
            names.setdefault(name, line)
            annotators.setdefault(annotator, line)
            point = self._point(cells[columns.x], cells[columns.y], name, line)
            if point is not None:
                row.add((annotator, name), *point, line)
        self._refuse_alike("annotator", annotators, lines, 1)
        self._refuse_alike("landmark", names, lines, 2)
        return rows, _in_order(names), tuple(annotators) or (SOLE_ANNOTATOR,)

    def _refuse_alike(self, what: str, names: dict[str, int], marks: Collection[tuple[str, ...]], at: int) -> None:
        """A fault for two names that differ in case, separators or Unicode form alone and never stand side by side.

        ``marks`` hold the name at ``at``. Where an image has both they are two landmarks (N and n of a cephalogram).
        """
        first: dict[str, str] = {}
        for name, line in names.items():
            other = first.setdefault(fold(name), name)
            if other != name and not any(
                mark[at] == name and (*mark[:at], other, *mark[at + 1 :]) in marks for mark in marks
            ):
                self._fault(
                    f"the {what} {name!r} is written {other!r} in line {names[other]}, {ALIKE}; write "
                    "one of them everywhere",
                    line,
                )

    def _absent(self, cells: list[str]) -> bool:
        """Whether a row says that its landmark is not in the image: it is no point that is missing."""
        at, places = self.columns.flag, (self.columns.x, self.columns.y)
        return at is not None and cells[at].lower() == ABSENT and not any(cells[place] for place in places)

    def _fault(self, message: str, line: int) -> None:
        self.faults.append(DataError(message, self.path, line))

    def _row(self, cells: list[str], line: int) -> LabelRow | None:
        columns = self.columns
        image = plain_name(cells[columns.image])
        if not image:
            self._fault("the image's name is empty", line)
            return None
        row = LabelRow(image, line, part=cells[columns.part] if columns.part is not None else "")
        if columns.patient is not None and not is_missing(cells[columns.patient]):
            row.patient = cells[columns.patient]
        try:
            row.size = self._pair(cells, columns.size, self.size_names, self._whole_number)
            if len(columns.spacing) == 1:
                text = self._known(cells[columns.spacing[0]])
                row.spacing = (self._positive(self.spacing_names[0], text),) * 2 if text else None
            else:
                row.spacing = self._pair(cells, columns.spacing, self.spacing_names, self._positive)
        except ValueError as error:
            self._fault(str(error), line)
        return row

    def _pair(
        self, cells: list[str], places: tuple[int, ...], names: tuple[str, ...], read: Callable[[str, str], Number]
    ) -> tuple[Number, Number] | None:
        if not places:
            return None
        texts = [self._known(cells[place]) for place in places]
        if bool(texts[0]) != bool(texts[1]):
            raise ValueError(f"found only one of {names[0]!r} and {names[1]!r}, expected both or neither")
        return (read(names[0], texts[0]), read(names[1], texts[1])) if texts[0] else None

    def _known(self, text: str) -> str:
        """The cell, or nothing for a word that stands for a missing value, which is counted."""
        if not text or not is_missing(text):
            return text
        self.missing[text] = self.missing.get(text, 0) + 1
        return ""

    def _positive(self, name: str, text: str) -> float:
        value = self._named_number(name, text)
        if value <= 0:
            raise ValueError(f"{name}: found {text}, expected mm a pixel, above 0")
        return value

    def _whole_number(self, name: str, text: str) -> int:
        value = self._named_number(name, text)
        if value < 1 or value != math.floor(value):
            raise ValueError(f"{name}: found {text}, expected whole pixels, at least 1")
        return int(value)

    def _named_number(self, name: str, text: str) -> float:
        try:
            return self.parse(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _merged(self, rows: dict[str, LabelRow], new: LabelRow, line: int) -> LabelRow:
        """Return the image's row, with a fault if a later line of the long form says something else of the image."""
        row = rows.setdefault(new.image, new)
        for what, old, now in (
            ("width and height", row.size, new.size), ("spacing", row.spacing, new.spacing),
            ("split", row.part, new.part), ("patient", row.patient, new.patient),
        ):  # fmt: skip
            if old != now:
                self._fault(f"{what} of {row.image!r}: found {now!r}, but {old!r} in line {row.line}", line)
        return row

    def _point(self, x: str, y: str, name: str, line: int) -> tuple[float, float] | None:
        """Return one point, or None where both cells are missing or (with a fault) cannot be used."""
        if not x and not y:
            return None
        try:
            return self.parse(x), self.parse(y)
        except ValueError as error:
            x, y = self._known(x), self._known(y)
            if not x and not y:
                return None
            half = "found only one of x and y, expected both, or both empty for a missing point"
            self._fault(f"landmark {name!r}: {error if x and y else half}", line)
            return None


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by value, names as they first appear."""
    names = list(names)
    return tuple(sorted(names, key=int)) if all(re.fullmatch(r"\d{1,9}", n, re.ASCII) for n in names) else tuple(names)

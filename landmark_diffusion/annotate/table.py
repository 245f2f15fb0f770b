"""MarksTable: the long CSV that people and ``data.dataset: folder`` read, changed cell by cell, all else as it was."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple

from landmark_diffusion.core.cells import plain_name, safe_name
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels.label_set import ORIGINS, SOLE_ANNOTATOR, Flag, Mark
from landmark_diffusion.data.sources.folder.columns import FLAG_COLUMN, Columns, fold, read_columns
from landmark_diffusion.data.sources.folder.numbers import Parse, is_missing, number_parser
from landmark_diffusion.data.sources.folder.splits import find_split
from landmark_diffusion.data.sources.folder.table import ALIKE, LabelRow, LabelTable, read_table
from landmark_diffusion.data.sources.folder.text import Cells, read_cells

BASIC = ("image", "annotator", "landmark", "x", "y")
ADDED = (FLAG_COLUMN, "origin", "time")
COLUMNS = (*BASIC, *ADDED)
"""Of a new table."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?")
_USED: dict[str, Callable[[str], object]] = {
    FLAG_COLUMN: lambda text: text.lower() in list(Flag),
    "origin": lambda text: text.lower() in ORIGINS,
    "time": _TIME.fullmatch,
}
"""What a cell of a column of ours may hold beside nothing."""


class Key(NamedTuple):
    """Whose mark it is, each as the table names it."""

    image: str
    annotator: str
    landmark: str


class ImageCells(NamedTuple):
    """What a table may want to know of an image that it has no row of: width and height in px, mm a pixel (x, y)."""

    size: tuple[int, int]
    spacing: tuple[float, float] | None = None


class OtherFormError(DataError):
    """A table whose points can be read, but which marks cannot be written into."""


class MarksTable:
    """Rows of a long table in the file's order; those that say nothing new keep all their cells.

    Columns that are not there are added behind the others when the first mark is written.

    Args:
        cells: the header and the rows; the header has to be that of a long table (raises DataError).
        parse: reads a number of the table.
        comma: whether numbers are written with a decimal comma.
        before: what stands before the header: a byte order mark, a line ``sep=;``.
    """

    def __init__(self, cells: Cells, parse: Parse = float, comma: bool = False, before: str = "") -> None:
        self.header, self.separator, self.comma, self.before = list(cells.header), cells.separator, comma, before
        self._parse = parse
        columns = read_columns(cells, "split", None)
        if columns.part is None:
            columns.part, _ = find_split(cells, columns, cells.records)
        self._columns = columns
        self.rows = [_Row([*row[: len(self.header)]]) for _, row in cells.records]
        self._annotator = -1 if columns.annotator is None else columns.annotator
        keys = [fold(name) for name in self.header]
        self._added = {name: keys.index(name) for name in ADDED if name in keys}
        self._of_key = {self._key(row): row for row in self.rows}

    @classmethod
    def empty(cls) -> MarksTable:
        """A table of no row."""
        return cls(Cells(Path(), list(COLUMNS), [], 1, ","))

    @classmethod
    def read(cls, path: Path) -> MarksTable:
        """Read a long table; raises DataError for one that cannot be read or has faults, naming the first.

        Raises OtherFormError where it is wide, a workbook, or a column that would be written holds something else.
        """
        cells = read_cells(path)
        for fault in (
            read_table(path, "split").faults if cells.records else []
        ):  # a header alone is where marking begins
            if ALIKE not in str(fault):  # names that a training asks about, and that may be right once more is marked
                raise fault
        _check_form(cells)
        columns = read_columns(cells, "split", None)
        parse, notes = number_parser(cells.records, columns.numbers(), path)
        return cls(cells, parse, any(note.startswith("decimal comma") for note in notes), _before(path))

    @classmethod
    def copied(cls, table: LabelTable) -> MarksTable:
        """A long table of the points that another one holds, with spacing, split and patient where it has them."""
        give: dict[str, Callable[[LabelRow], str]] = {
            "spacing_x": lambda row: "" if row.spacing is None else repr(row.spacing[0]),
            "spacing_y": lambda row: "" if row.spacing is None else repr(row.spacing[1]),
            "split": lambda row: row.part,
            "patient": lambda row: row.patient,
        }
        held = [name for name in give if any(map(give[name], table.rows.values()))]
        records = []
        for row in table.rows.values():
            more = [*[""] * len(ADDED), *(give[name](row) for name in held)]
            for (annotator, landmark), (x, y, _) in row.marks.items():
                names = map(safe_name, (row.image, annotator, landmark))
                records.append((0, [*names, repr(x), repr(y), *more]))
        return cls(Cells(Path(), [*COLUMNS, *held], records, 1, ","))

    def clone(self) -> MarksTable:
        """A copy that can be changed without this one; rows are never changed, but exchanged."""
        other = copy(self)
        other.header, other.rows, other._added = list(self.header), list(self.rows), dict(self._added)
        other._of_key = dict(self._of_key)
        return other

    def marks(self) -> dict[Key, Mark]:
        """What the table says; rows that say nothing are left out."""
        found = {key: self._mark(row) for key, row in self._of_key.items()}
        return {key: mark for key, mark in found.items() if mark is not None}

    def landmarks(self) -> list[str]:
        """Names of the landmarks, in the order of the rows."""
        return list(dict.fromkeys(key.landmark for key in self._of_key))

    def put(self, key: Key, mark: Mark | None, order: Mapping[str, int], image: ImageCells) -> None:
        """Write one mark; None takes it away, with its row where nothing else is said in it.

        ``order`` places landmarks by name; ``image`` is for one that has no row yet.
        """
        self._complete()
        key = Key(*(text.strip() for text in key))
        row = self._of_key.get(key)
        if mark is None:
            if row is not None:
                self._take_away(key, row)
            return
        if row is None:
            row = self._insert(key, order, image)
        point = (number_text(mark.x, self.comma), number_text(mark.y, self.comma)) if mark.placed else ("", "")
        places = (self._columns.x, self._columns.y, *(self._added[name] for name in ADDED))
        written = (*point, str(mark.flag), mark.origin or "", mark.time)
        self._exchange(key, row, dict(zip(places, written, strict=True)))

    def text(self) -> str:
        """The whole file."""
        lines = [_line(self.header, self.separator), *(row.line(self.separator) for row in self.rows)]
        return self.before + "\n".join(lines) + "\n"

    def _complete(self) -> None:
        """Add the columns of ours that are not there; rows that name no annotator get the usual name."""
        if self._annotator < 0:
            self._add("annotator", SOLE_ANNOTATOR)
        for name in ADDED:
            if name not in self._added:
                self._added[name] = self._add(name, "")

    def _add(self, name: str, value: str) -> int:
        self.rows = [_Row([*row.cells, value]) for row in self.rows]
        self.header.append(name)
        at = len(self.header) - 1
        if name == "annotator":
            self._annotator = at
        self._of_key = {self._key(row): row for row in self.rows}
        return at

    def _exchange(self, key: Key, row: _Row, cells: Mapping[int, str]) -> None:
        new = _Row([cells.get(place, text) for place, text in enumerate(row.cells)])
        self.rows[self._place_of(row)] = new
        self._of_key[key] = new

    def _place_of(self, row: _Row) -> int:
        return next(place for place, each in enumerate(self.rows) if each is row)

    def _key(self, row: _Row) -> Key:
        annotator = SOLE_ANNOTATOR if self._annotator < 0 else row.cells[self._annotator]
        return Key(*map(plain_name, (row.cells[self._columns.image], annotator, row.cells[self._columns.landmark])))

    def _mark(self, row: _Row) -> Mark | None:
        word, origin, time = (row.cells[self._added[name]] if name in self._added else "" for name in ADDED)
        flag = Flag(word.lower() or Flag.VISIBLE)
        came = next((each for each in ORIGINS if each == origin.lower()), None)
        x, y = (self._number(row.cells[place]) for place in (self._columns.x, self._columns.y))
        if flag is Flag.ABSENT:
            return Mark(math.nan, math.nan, flag, came, time)
        return None if x is None or y is None else Mark(x, y, flag, came, time)

    def _number(self, text: str) -> float | None:
        return None if is_missing(text) else self._parse(text)

    def _take_away(self, key: Key, row: _Row) -> None:
        mine = {self._columns.x, self._columns.y, *self._added.values()}
        named = {self._columns.image, self._annotator, self._columns.landmark, *self._image_places()}
        if any(cell for place, cell in enumerate(row.cells) if place not in mine | named):
            self._exchange(key, row, dict.fromkeys(mine, ""))  # somebody's own column says something in it
            return
        del self._of_key[key]
        del self.rows[self._place_of(row)]

    def _insert(self, key: Key, order: Mapping[str, int], image: ImageCells) -> _Row:
        alike = next((each for each in self.rows if plain_name(each.cells[self._columns.image]) == key.image), None)
        of_image = self._new_image(image) if alike is None else {at: alike.cells[at] for at in self._image_places()}
        places = (self._columns.image, self._annotator, self._columns.landmark)
        cells = of_image | dict(zip(places, map(safe_name, key), strict=True))
        row = _Row([cells.get(place, "") for place in range(len(self.header))])
        self.rows.insert(self._place_for(key, order), row)
        self._of_key[key] = row
        return row

    def _place_for(self, key: Key, order: Mapping[str, int]) -> int:
        """Where a new row goes: before the first later landmark of the annotator's in that image, else behind these."""
        at, image = self._columns.image, safe_name(key.image)
        of_image = [place for place, row in enumerate(self.rows) if row.cells[at] in (key.image, image)]
        own = [place for place in of_image if self._key(self.rows[place]).annotator == key.annotator]
        mine = order.get(key.landmark, len(order))
        later = (place for place in own if order.get(self._key(self.rows[place]).landmark, len(order)) > mine)
        behind = (own or of_image or [len(self.rows) - 1])[-1] + 1
        return next(later, behind)

    def _image_places(self) -> set[int]:
        """Places of the columns that say something of the image, the same in all of its rows."""
        columns = self._columns
        single = {columns.part, columns.patient} - {None}
        return {*columns.spacing, *columns.size, *(place for place in single if place is not None)}

    def _new_image(self, image: ImageCells) -> dict[int, str]:
        """Cells of an image that the table has no row of: what a column asks for and is known; it is trained on."""
        columns = self._columns
        found = dict(zip(columns.size, map(str, image.size), strict=False))
        if image.spacing is not None and (len(columns.spacing) == 2 or image.spacing[0] == image.spacing[1]):
            texts = (number_text(each, self.comma, 9) for each in image.spacing)
            found |= dict(zip(columns.spacing, texts, strict=False))
        return found if columns.part is None else {**found, columns.part: "train"}


class _Row:
    """Cells, and the line that they make, which is made once."""

    __slots__ = ("_line", "cells")

    def __init__(self, cells: list[str]) -> None:
        self.cells = cells
        self._line: str | None = None

    def line(self, separator: str) -> str:
        if self._line is None:
            self._line = _line(self.cells, separator)
        return self._line


def number_text(value: float, comma: bool = False, digits: int = 3) -> str:
    """Write a number with as many decimals as it needs, up to ``digits``.

    With a decimal comma it has never three, which could as well be a comma for thousands.
    """
    text = f"{value + 0.0:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    text = "0" if text == "-0" else text
    if comma and re.fullmatch(r"-?\d+\.\d{3}", text):
        text += "0"
    return text.replace(".", ",") if comma else text


def _check_form(cells: Cells) -> None:
    if not cells.separator:
        raise OtherFormError("found a workbook, expected a CSV", cells.path)
    columns: Columns = read_columns(cells, "split", None)
    if not columns.long:
        raise OtherFormError("found one row an image (wide), expected one row a point (image,landmark,x,y)", cells.path)
    for place, name in enumerate(map(fold, cells.header)):
        if name in ADDED:
            wrong = next((row[place] for _, row in cells.records if row[place] and not _USED[name](row[place])), None)
            if wrong is not None:
                raise OtherFormError(f"the column {name!r} holds {wrong!r:.40}, which is something else", cells.path)


def _before(path: Path) -> str:
    """The byte order mark of UTF-8 and the line ``sep=`` that a file begins with."""
    data = path.read_bytes()[:40]
    mark = "\ufeff" if data.startswith(b"\xef\xbb\xbf") else ""
    first = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0].decode("latin-1").strip()
    return mark + (first + "\n" if re.match(r'"?sep=.', first, re.IGNORECASE) else "")


def _line(cells: Sequence[str], separator: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerow(cells)  # its own line ends quote a lone \r
    return text.getvalue().removesuffix("\r\n")

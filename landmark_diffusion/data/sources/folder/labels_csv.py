"""Our own table as a form of labels: any that docs/csv.md tells is read, the long one with flags is written."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

from landmark_diffusion.core.cells import plain_name, safe_name, spreadsheet_safe
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels.building import LabelBuilder, coordinate, image_name
from landmark_diffusion.data.labels.label_format import Holds, LabelFormat
from landmark_diffusion.data.labels.label_set import ORIGINS, Flag, LabelledImage, LabelSet, Mark, Origin
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource
from landmark_diffusion.data.sources.folder.columns import SAID_COLUMNS, Columns, fold, read_columns
from landmark_diffusion.data.sources.folder.table import LabelRow, LabelTable, read_table
from landmark_diffusion.data.sources.folder.text import Cells, read_cells

COLUMNS = ("image", "annotator", "landmark", "x", "y", *SAID_COLUMNS, "width", "height", "spacing_x", "spacing_y")
"""Columns of the table that is written; those of sizes, spacings and flags only where something is known."""


class CsvFormat(LabelFormat):
    """One row for each point of each annotator of each image, missing ones with empty cells."""

    name, title, suffix = "csv", "our CSV", ".csv"
    holds = frozenset(get_args(Holds)) - {"skeleton"}

    def recognises(self, source: LabelSource) -> bool:
        """A text with a header that names an image and points."""
        if source.is_folder or b"\0" in source.head.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")[:1]:
            return False
        if source.beginning.startswith(("{", "[", "<")) or source.head.startswith(b"PK\x03\x04"):
            return False
        return names_points(source.path)

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read a wide or long table; the first fault of any row is raised."""
        return read_label_table(source.path, images)

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the one table."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table_rows(labels))
        return {"": text.getvalue().encode()}

    def more_losses(self, labels: LabelSet) -> list[str]:
        """Numbers for names are put in their order when they are read."""
        names = labels.landmark_names
        if all(name.isascii() and name.isdigit() for name in names) and list(names) != sorted(names, key=int):
            return ["is read with landmarks that are numbers in the numbers' order"]
        return []


def names_points(path: Path) -> bool:
    """Tell whether a table has a header that names an image and points."""
    try:
        read_columns(read_cells(path), "split", None)
    except DataError:
        return False
    return True


def table_rows(labels: LabelSet) -> Iterator[list[str]]:
    """Give the long table's header and rows, as text."""
    columns = _used_columns(labels)
    yield columns
    for image in labels.images:
        for cells in _rows(labels, image):
            yield [cells[name] for name in columns]


def read_label_table(path: Path, images: ImageFolder) -> LabelSet:
    """Read a table, CSV or workbook, with what it says of points; raises DataError for the first fault."""
    cells = read_cells(path)
    said = _Said(cells, read_columns(cells, "split", None))
    table = read_table(path, "split", read_elsewhere=said.places)
    for fault in table.faults:
        raise fault
    builder = LabelBuilder(path)
    beside = [name for name in (table.split_column, table.patient_column) if name]
    builder.notes += [*table.notes, *(f"not kept: the column {name}" for name in beside)]
    for annotator in table.annotator_names:
        builder.annotator(annotator)
    made = {}
    for row in table.rows.values():
        try:
            name = images.name_of(image_name(row.image, "image"))
            made[row.image] = builder.image(name, row.size, row.spacing)
            _add_marks(builder, made[row.image], row, said)
        except DataError:
            raise
        except UserError as error:
            raise builder.fault(str(error), line=row.line) from None
    _add_absent(builder, made, table, said)
    return builder.build(list(table.landmark_names))


def _add_marks(builder: LabelBuilder, image: LabelledImage, row: LabelRow, said: _Said) -> None:
    for (annotator, landmark), (x, y, line) in row.marks.items():
        flag = said.flag(line)
        if flag is Flag.ABSENT:
            raise builder.fault(f"flag: found 'absent' beside a point of {landmark!r}; empty x and y", line=line)
        origin = said.origin(line)
        mark = Mark(coordinate(x, "x"), coordinate(y, "y"), flag, origin, said.text("time", line), said.score(line))
        builder.mark(image, annotator, landmark, mark)


def _add_absent(builder: LabelBuilder, made: dict[str, LabelledImage], table: LabelTable, said: _Said) -> None:
    """Rows without a point whose flag says that it is not in the image."""
    columns = said.columns
    if not columns.long or "flag" not in said.places:
        return
    for line, cells in said.cells.records:
        if said.flag(line) is not Flag.ABSENT:
            continue
        image, landmark = made.get(plain_name(cells[columns.image])), plain_name(cells[columns.landmark])
        if image is not None:
            annotator = table.annotator_names[0] if columns.annotator is None else plain_name(cells[columns.annotator])
            absent = Mark(math.nan, math.nan, Flag.ABSENT, said.origin(line), said.text("time", line), said.score(line))
            builder.mark(image, annotator, landmark, absent)


class _Said:
    """What the columns ``SAID_COLUMNS`` of a long table say, by line."""

    def __init__(self, cells: Cells, columns: Columns) -> None:
        self.cells, self.columns = cells, columns
        keys = [fold(name) for name in cells.header]
        self.places = {name: keys.index(name) for name in SAID_COLUMNS if columns.long and name in keys}
        self._rows = dict(cells.records) if self.places else {}

    def text(self, column: str, line: int) -> str:
        """The cell of a line, empty where there is none."""
        place = self.places.get(column)
        return "" if place is None else self._rows[line][place]

    def flag(self, line: int) -> Flag:
        """Visible where nothing is said."""
        word = self.text("flag", line).lower() or Flag.VISIBLE
        if word not in list(Flag):
            raise self._fault("flag", word, f"{', '.join(list(Flag)[:-1])} or {list(Flag)[-1]}", line)
        return Flag(word)

    def origin(self, line: int) -> Origin | None:
        """None where nothing is said."""
        word = self.text("origin", line).lower()
        if word and word not in ORIGINS:
            raise self._fault("origin", word, ", ".join(ORIGINS), line)
        return next((each for each in ORIGINS if each == word), None)

    def score(self, line: int) -> float | None:
        """None where nothing is said."""
        word = self.text("score", line)
        try:
            return coordinate(float(word), "score") if word else None
        except ValueError:
            raise self._fault("score", word, "a number", line) from None

    def _fault(self, column: str, found: str, expected: str, line: int) -> DataError:
        hint = f"expected {expected}; a column that means something else needs another name"
        return DataError(f"{column}: found {found!r:.60}, {hint}", self.cells.path, line)


_OPTIONAL: dict[tuple[str, ...], Callable[[LabelledImage], bool]] = {
    ("flag",): lambda image: any(mark.flag is not Flag.VISIBLE for mark in image.marks.values()),
    ("origin",): lambda image: any(mark.origin for mark in image.marks.values()),
    ("time",): lambda image: any(mark.time for mark in image.marks.values()),
    ("score",): lambda image: any(mark.score is not None for mark in image.marks.values()),
    ("width", "height"): lambda image: image.size is not None,
    ("spacing_x", "spacing_y"): lambda image: image.spacing is not None,
}


def _used_columns(labels: LabelSet) -> list[str]:
    """The columns, without those of which nothing is known."""
    idle = {name for names, known in _OPTIONAL.items() if not any(map(known, labels.images)) for name in names}
    return [name for name in COLUMNS if name not in idle]


def _rows(labels: LabelSet, image: LabelledImage) -> Iterator[dict[str, str]]:
    width, height = map(str, image.size or ("", ""))
    spacing_x, spacing_y = map(str, image.spacing or ("", ""))
    for annotator in labels.annotator_names:
        for landmark in labels.landmark_names:
            mark = image.marks.get((annotator, landmark))
            placed = mark is not None and mark.placed
            yield {
                "image": safe_name(image.name),
                "annotator": safe_name(annotator),
                "landmark": safe_name(landmark),
                "x": repr(mark.x) if mark and placed else "",
                "y": repr(mark.y) if mark and placed else "",
                "flag": mark.flag if mark else "",
                "origin": (mark.origin or "") if mark else "",
                "time": spreadsheet_safe(mark.time) if mark else "",
                "score": repr(mark.score) if mark and mark.score is not None else "",
                "width": width, "height": height, "spacing_x": spacing_x, "spacing_y": spacing_y,
            }  # fmt: skip

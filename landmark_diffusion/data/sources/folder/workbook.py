"""The one filled sheet of an Excel workbook (.xlsx: XML in a zip archive, ECMA-376) as rows of text.

The parts are read as a stream: what is kept is the text of the cells, however large or deep the XML around it is.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar
from xml.parsers import expat

from landmark_diffusion.core import safe_xml
from landmark_diffusion.core.errors import DataError

_MOST_CELLS = 50_000_000
_LAST_COLUMN, _LAST_ROW, _LONGEST_TEXT = 16_384, 1_048_576, 32_767
"""Limits of Excel; cells may share a text, so that a small file could hold terabytes of longer ones."""
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, expat.ExpatError, KeyError, ValueError, EOFError, NotImplementedError,
    RuntimeError, OSError,
)  # fmt: skip
"""What broken, encrypted or exotic archives raise."""
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main "
_LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships id"
_CELL = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})", re.ASCII)
_BOOK, _LINKS, _TEXTS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml"
_Attributes = Mapping[str, str]


def read_workbook(path: Path) -> list[tuple[int, list[str]]]:
    """Return (row number, cells) of the rows that are not empty, all of one length.

    Numbers come as they are stored, formulas as their last value. Nothing is run or followed: no formula, macro, link
    or entity. Raises DataError for a file that is no workbook, or whose filled sheets are not one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _read(archive, _TEXTS, _Texts(), path).texts if _TEXTS in archive.namelist() else []
            sheets = {name: _rows(archive, part, texts, path) for name, part in _sheets(archive, path).items()}
    except _DAMAGED as error:
        raise DataError(f"the file is no whole Excel workbook ({error}); save it as CSV in UTF-8", path) from None
    filled = {name: rows for name, rows in sheets.items() if rows}
    if len(filled) != 1:
        names = ", ".join(map(repr, list(filled)[:4])) or "none"
        raise DataError(f"the workbook has {len(filled)} filled sheets ({names}), expected one; save it as CSV", path)
    return next(iter(filled.values()))


class _Handler:
    """Takes the elements of a part one by one; names begin with their namespace and a blank."""

    def start(self, name: str, attributes: _Attributes) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """It ends."""

    def data(self, text: str) -> None:
        """Text within it."""


_Part = TypeVar("_Part", bound=_Handler)


def _read(archive: zipfile.ZipFile, name: str, handler: _Part, path: Path) -> _Part:
    """Read one part into its handler, without any definition of its own: such entities can grow without bound."""

    def refuse(what: str) -> DataError:
        return DataError(f"the workbook's part {name} {what}; save it as CSV", path)

    with archive.open(name) as file:
        safe_xml.feed(iter(lambda: file.read(safe_xml.BLOCK), b""), handler, refuse)
    return handler


class _Book(_Handler):
    """Attributes of all elements of a kind."""

    def __init__(self, kind: str) -> None:
        self.kind, self.found = kind, list[_Attributes]()

    def start(self, name: str, attributes: _Attributes) -> None:
        if name.rpartition(" ")[2] == self.kind:
            self.found.append(dict(attributes))


def _sheets(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Name of each sheet, and the part of the archive that holds it; charts and macros are none."""
    links = {link.get("Id"): link for link in _read(archive, _LINKS, _Book("Relationship"), path).found}
    found = {}
    for sheet in _read(archive, _BOOK, _Book("sheet"), path).found:
        link = links[sheet.get(_LINK)]
        if link.get("Type", "").endswith("/worksheet"):
            target = link.get("Target", "")
            found[sheet.get("name", "")] = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return found


class _Text:
    """The text of an item in all its runs, without the readings (phonetic runs) that stand beside it."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.open = self.aside = False

    def start(self, name: str) -> None:
        self.aside = self.aside or name == f"{_MAIN}rPh"
        self.open = name == f"{_MAIN}t" and not self.aside

    def end(self, name: str) -> None:
        self.aside = self.aside and name != f"{_MAIN}rPh"
        self.open = False

    def data(self, text: str) -> None:
        if self.open:
            self.parts.append(text)


class _Texts(_Handler):
    """The texts that cells share, in their order."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._item: _Text | None = None

    def start(self, name: str, attributes: _Attributes) -> None:
        if name == f"{_MAIN}si":
            self._item = _Text()
        elif self._item is not None:
            self._item.start(name)

    def end(self, name: str) -> None:
        if self._item is not None:
            self._item.end(name)
            if name == f"{_MAIN}si":
                self.texts.append("".join(self._item.parts).strip())
                self._item = None

    def data(self, text: str) -> None:
        if self._item is not None:
            self._item.data(text)


def _rows(archive: zipfile.ZipFile, part: str, texts: list[str], path: Path) -> list[tuple[int, list[str]]]:
    rows = _read(archive, part, _Sheet(texts, path), path).rows
    width = 1 + max((max(cells) for _, cells in rows), default=0)
    if width * len(rows) > _MOST_CELLS:
        raise DataError(f"the workbook has {len(rows)} rows of {width} columns; save it as CSV", path)
    return [(number, [cells.get(place, "") for place in range(width)]) for number, cells in rows]


class _Sheet(_Handler):
    """The rows of a sheet that say something: number, and text of each cell by its column, from 0."""

    def __init__(self, texts: list[str], path: Path) -> None:
        self.rows: list[tuple[int, dict[int, str]]] = []
        self._texts, self._path = texts, path
        self._count = self._number = self._length = 0
        self._place, self._name, self._kind = -1, "", ""
        self._cells: dict[int, str] = {}
        self._value: list[str] | None = None  # of the cell that goes on
        self._inline = _Text()
        self._in_value = self._in_row = False

    def start(self, name: str, attributes: _Attributes) -> None:
        if name == f"{_MAIN}row":
            self._begin_row(attributes)
        elif name == f"{_MAIN}c" and self._in_row:
            self._begin_cell(attributes)
        elif self._value is not None:
            self._in_value = name == f"{_MAIN}v"
            self._inline.start(name)

    def end(self, name: str) -> None:
        if name == f"{_MAIN}c" and self._value is not None:
            self._keep(self._cell().strip())
            self._value = None
        elif name == f"{_MAIN}row":
            self._in_row = False
            if self._cells:
                self.rows.append((self._number, self._cells))
        elif self._value is not None:
            self._in_value = False
            self._inline.end(name)

    def data(self, text: str) -> None:
        if self._value is not None:
            if self._in_value:
                self._value.append(text)
            self._inline.data(text)

    def _begin_row(self, attributes: _Attributes) -> None:
        self._count += 1
        number = attributes.get("r", str(self._count))
        if not re.fullmatch(r"[1-9]\d{0,6}", number, re.ASCII) or int(number) > _LAST_ROW:
            raise self._damaged(f"found row {number[:20]!r}, expected 1 to {_LAST_ROW}")
        self._number, self._cells, self._place, self._in_row = int(number), {}, -1, True

    def _begin_cell(self, attributes: _Attributes) -> None:
        self._name = attributes.get("r", "")
        place = _CELL.fullmatch(self._name)
        self._place = _column(place[1]) if place else self._place + 1
        if self._place >= _LAST_COLUMN:
            raise self._damaged(f"a cell of row {self._number} lies behind the last column, {_LAST_COLUMN}")
        self._kind, self._value, self._inline, self._in_value = attributes.get("t", "n"), [], _Text(), False

    def _keep(self, text: str) -> None:
        self._length += len(text)
        if len(text) > _LONGEST_TEXT or self._length > safe_xml.MOST_BYTES:
            what = f"cell {self._name} has {len(text)} characters, all cells so far {self._length}"
            raise self._damaged(f"{what}; expected at most {_LONGEST_TEXT} and {safe_xml.MOST_BYTES}")
        if text:
            self._cells[self._place] = text

    def _cell(self) -> str:
        """The text of the cell that ends."""
        value = "".join(self._value or [])
        if self._kind == "inlineStr":
            return "".join(self._inline.parts)
        if self._kind != "s":
            return value
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or int(value) >= len(self._texts):
            raise self._damaged(f"cell {self._name} has no text")
        return self._texts[int(value)]

    def _damaged(self, what: str) -> DataError:
        return DataError(f"the workbook is damaged: {what}; save it anew", self._path)


def _column(letters: str) -> int:
    place = 0
    for letter in letters:
        place = 26 * place + ord(letter) - ord("A") + 1
    return place - 1

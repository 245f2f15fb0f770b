"""The one filled sheet of an Excel workbook (.xlsx: XML in a zip archive, ECMA-376) as rows of text."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from landmark_diffusion.core.errors import DataError

_MOST_BYTES = 256 * 2**20
"""Of one part, unpacked: a million rows are less, and an archive that unpacks to more is no table."""
_MOST_CELLS = 50_000_000
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, ElementTree.ParseError, KeyError, ValueError, EOFError, NotImplementedError,
    RuntimeError, OSError,
)  # fmt: skip
"""What broken, encrypted or exotic archives raise."""
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_CELL = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})", re.ASCII)
_BOOK, _LINKS, _TEXTS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml"


def read_workbook(path: Path) -> list[tuple[int, list[str]]]:
    """Return (row number, cells) of the rows that are not empty, all of one length.

    Numbers come as they are stored, formulas as their last value. Raises DataError for a file that is no workbook, or
    whose filled sheets are not one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _shared_texts(archive, path)
            sheets = {name: _rows(archive, part, texts, path) for name, part in _sheets(archive, path).items()}
    except _DAMAGED as error:
        raise DataError(f"the file is no whole Excel workbook ({error}); save it as CSV in UTF-8", path) from None
    filled = {name: rows for name, rows in sheets.items() if rows}
    if len(filled) != 1:
        names = ", ".join(map(repr, list(filled)[:4])) or "none"
        raise DataError(f"the workbook has {len(filled)} filled sheets ({names}), expected one; save it as CSV", path)
    return next(iter(filled.values()))


def _part(archive: zipfile.ZipFile, name: str, path: Path) -> ElementTree.Element:
    """Parse one part, without any definition of its own: such entities can grow without bound."""
    with archive.open(name) as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(f"the workbook's part {name} is larger than a table, or defines entities; save it as CSV", path)
    return ElementTree.fromstring(data)


def _sheets(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Name of each sheet, and the part of the archive that holds it; charts and macros are none."""
    links = {link.get("Id"): link for link in _part(archive, _LINKS, path)}
    found = {}
    for sheet in _part(archive, _BOOK, path).iter(f"{_MAIN}sheet"):
        link = links[sheet.get(_LINK)]
        if link.get("Type", "").endswith("/worksheet"):
            target = link.get("Target", "")
            found[sheet.get("name", "")] = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return found


def _shared_texts(archive: zipfile.ZipFile, path: Path) -> list[str]:
    if _TEXTS not in archive.namelist():
        return []
    return [_text(item) for item in _part(archive, _TEXTS, path).iter(f"{_MAIN}si")]


def _text(item: ElementTree.Element) -> str:
    """The text of an item in all its runs, without the readings (phonetic runs) that stand beside it."""
    runs = [item, *item.findall(f"{_MAIN}r")]
    return "".join(text.text or "" for run in runs for text in run.findall(f"{_MAIN}t"))


def _rows(archive: zipfile.ZipFile, part: str, texts: list[str], path: Path) -> list[tuple[int, list[str]]]:
    rows: list[tuple[int, dict[int, str]]] = []
    for number, row in enumerate(_part(archive, part, path).iter(f"{_MAIN}row"), 1):
        cells = dict(_cells(row, texts, path))
        if any(cells.values()):
            rows.append((int(row.get("r", number)), cells))
    width = 1 + max((place for _, cells in rows for place, text in cells.items() if text), default=0)
    if width * len(rows) > _MOST_CELLS:
        raise DataError(f"the workbook has {len(rows)} rows of {width} columns; save it as CSV", path)
    return [(number, [cells.get(place, "") for place in range(width)]) for number, cells in rows]


def _cells(row: ElementTree.Element, texts: list[str], path: Path) -> Iterator[tuple[int, str]]:
    """Column, from 0, and text of each cell of a row."""
    place = -1
    for cell in row.iter(f"{_MAIN}c"):
        name = _CELL.fullmatch(cell.get("r", ""))
        place = _column(name[1]) if name else place + 1
        kind, value = cell.get("t", "n"), cell.findtext(f"{_MAIN}v") or ""
        if kind == "s":
            if not value.isascii() or not value.isdigit() or int(value) >= len(texts):
                raise DataError(f"the workbook is damaged: cell {cell.get('r')} has no text; save it anew", path)
            value = texts[int(value)]
        elif kind == "inlineStr":
            inline = cell.find(f"{_MAIN}is")
            value = _text(inline) if inline is not None else ""
        yield place, value.strip()


def _column(letters: str) -> int:
    place = 0
    for letter in letters:
        place = 26 * place + ord(letter) - ord("A") + 1
    return place - 1

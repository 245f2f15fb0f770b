"""The bytes of a table as cells: encodings, delimiters and line ends of the programs that write CSV files."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.annotations_text import read_bytes
from landmark_diffusion.data.sources.folder.workbook import read_workbook

Record = tuple[int, list[str]]
"""Line and cells."""

_ZIP = b"PK\x03\x04"
SEPARATORS = ",;\t|"
_NOT_TEXT = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls) or another Office file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
)
_MARKUP = re.compile(r"\s*(<!doctype|<html|<\?xml|<table|<head|<meta|<style)", re.IGNORECASE)
_SEP_LINE = re.compile(r'"?sep=(.)"?\1*', re.IGNORECASE)
SAVE_AS = "save it as CSV (in Excel: File, Save As, CSV UTF-8) and name that file"


@dataclass
class Cells:
    """A table as cells, and what had to be known to read it."""

    path: Path
    header: list[str]
    records: list[Record]
    header_line: int
    separator: str
    notes: list[str] = field(default_factory=list)

    def fault(self, message: str) -> DataError:
        """Give the error that says what is wrong with the header."""
        return DataError(message, self.path, self.header_line)


def read_cells(path: Path) -> Cells:
    """Split a file into its header and the rows that are not empty; cells without blanks at their ends.

    UTF-8 and UTF-16 with or without byte order mark, and Windows-1252 where the file is no UTF-8 at all. Separated by
    commas, semicolons, tabs or ``|``, whichever the header has most of, or by what a first line ``sep=;`` names. Also
    an Excel workbook (.xlsx) with one filled sheet.
    Raises DataError for a file that is no such text, is empty, or has a quote that is never closed.
    """
    data = read_bytes(path)
    if data.startswith(_ZIP):
        (header_line, header), *records = read_workbook(path)
        return Cells(path, header, records, header_line, "")
    text, notes = _decoded(data, path)
    lines = text.split("\n")
    at = next((number for number, line in enumerate(lines) if line.strip()), None)
    if at is None:
        raise DataError("the file is empty, expected a header line and one row for each image", path)
    named = _SEP_LINE.fullmatch(lines[at].strip(" "))
    if named:
        if named[1] not in SEPARATORS:
            raise DataError(f"sep={named[1]}: expected a comma, semicolon, tab or |", path, at + 1)
        lines[at] = ""
    first = next((line for line in lines[at:] if line.strip()), "")
    if not first:
        raise DataError("found only the line sep=, expected a header line and rows", path, at + 1)
    separator = named[1] if named else max(SEPARATORS, key=first.count)
    header_line, header, records = _split("\n".join(lines), separator, path)
    return Cells(path, header, records, header_line, separator, notes)


def _decoded(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Text with line ends as \\n, and a note where the encoding was a guess."""
    kind = next((name for mark, name in _NOT_TEXT if data.startswith(mark)), None)
    if kind is not None:
        raise DataError(f"the file is {kind} and no CSV; {SAVE_AS}", path)
    notes: list[str] = []
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(f"the file is damaged UTF-16 text (byte {error.start}); save it anew", path) from None
        text = _windows_1252(data, error.start, path)
        notes = ["the file is not UTF-8; it was read as Windows-1252 (Western European)"]
    text = text.removeprefix("\ufeff")
    if _MARKUP.match(text):
        raise DataError(f"the file is a web page or XML and no CSV; {SAVE_AS}", path)
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _encoding(data: bytes) -> str:
    """Tell UTF-16 by its mark, or without one by a first letter of ASCII, of whose two bytes one is 0."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(data) % 2 == 0 and len(data) >= 4:
        if data[0] and not data[1] and not data[3]:
            return "utf-16-le"
        if data[1] and not data[0] and not data[2]:
            return "utf-16-be"
    return "utf-8"


def _windows_1252(data: bytes, place: int, path: Path) -> str:
    """Decode what is not UTF-8; a file with letters in UTF-8 as well is damaged rather than of another encoding."""
    if data.decode("utf-8", errors="ignore").isascii():
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            pass
    raise DataError(
        f"the file is neither UTF-8 nor Windows-1252 text (byte {place}); save it as CSV in UTF-8", path
    ) from None


def _split(text: str, separator: str, path: Path) -> tuple[int, list[str], list[Record]]:
    # Strict: else a quote that is never closed takes in all rows that follow.
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    header: list[str] = []
    header_line = before = 1
    records: list[Record] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                before = reader.line_num + 1
                continue
            if not header:
                header, header_line = cells, before
            else:
                records.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"cannot be read as CSV ({error})", path, reader.line_num) from None
    if not header:
        raise DataError("found no header line, expected one and one row for each image", path, 1)
    return header_line, header, records

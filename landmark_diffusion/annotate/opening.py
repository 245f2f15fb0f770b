"""Which table of a folder the marks go to, and what it begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from landmark_diffusion.annotate.table import MarksTable, OtherFormError
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.sources.folder.table import read_table
from landmark_diffusion.studies.suggest.pool import own_table

TABLE = "annotations.csv"
"""The table that is made where a folder has none that marks can be written into."""


@dataclass(frozen=True)
class TableChoice:
    """A table.

    Attributes:
        path: where marks are written; it need not exist.
        first: what it begins with where it does not exist.
        note: what to tell of that; empty where it is plain.
    """

    path: Path
    first: MarksTable
    note: str = ""

    def content(self) -> MarksTable:
        """What it holds now; raises DataError for one that cannot be read or has faults."""
        return MarksTable.read(self.path) if self.path.exists() else self.first


def choose_table(root: Path, asked: str | None) -> TableChoice:
    """Choose the table of a folder: ``asked``, else annotations.csv, else the only one that there is, else a new one.

    One that is wide, a workbook, or has a column that means something else stays as it is: a new table begins with its
    points. Raises DataError where there are several or one has faults, UserError for ``asked`` of another form.
    """
    if asked is not None:
        return _asked(root, asked)
    usual = (root / TABLE).resolve()
    if usual.exists():
        return TableChoice(usual, MarksTable.empty())
    try:
        found = own_table(root)
    except DataError as error:
        raise DataError(f"{str(error).partition('; ')[0]}; name the one to write into by --table FILE", None) from error
    if found is None:
        return TableChoice(usual, MarksTable.empty())
    try:
        MarksTable.read(found)
    except OtherFormError as error:
        points = read_table(found, "split")
        for fault in points.faults:
            raise fault from None
        note = f"{error}: it stays as it is, and {TABLE} begins with its points"
        return TableChoice(usual, MarksTable.copied(points), note)
    return TableChoice(found.resolve(), MarksTable.empty())


def _asked(root: Path, asked: str) -> TableChoice:
    given = Path(asked).expanduser()
    path = (given if given.is_absolute() or given.exists() else root / given).resolve()
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise UserError(f"--table {asked}: expected a file that ends in .csv or .tsv")
    if path.exists():
        try:
            MarksTable.read(path)
        except OtherFormError as error:
            raise UserError(
                f"{error}; name another --table, or leave it out: then a new one begins with its points"
            ) from error
    elif not path.parent.is_dir():
        raise UserError(f"--table {asked}: the folder {path.parent} is not there")
    return TableChoice(path, MarksTable.empty())

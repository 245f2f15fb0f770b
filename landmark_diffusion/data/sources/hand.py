"""Hand radiographs of the Digital Hand Atlas: 37 landmarks, as Payer et al. redistribute them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.annotations_text import inside, outside_fault, parse_number, read_text
from landmark_diffusion.data.sources.paper_b import PaperBDataset

LANDMARK_NAMES = tuple(f"landmark {number}" for number in range(1, 38))
WRIST_MM = 50.0
"""The field's convention: so far apart are the two ends of the wrist, landmarks 1 and 5."""
WRIST_ENDS = (0, 4)

_TABLE = "all.csv"
_HEADER_NAMES = ("id", "image")  # the public table has no header; one that begins so is skipped


class HandDataset(PaperBDataset):
    """Hands in ``jpg/*.jpg`` with one table ``all.csv`` (``id,x1,y1,...,x37,y37``, with or without a header).

    The scale differs with the image: its landmarks 1 and 5 are 50 mm apart. Without labels it is not known.

    Args:
        root: the folder that holds ``jpg`` and ``all.csv``.
        split: "paper_b" (the rows by sorted name: 550 train, 59 val, the other 301 of 910 test) or "all_train".
        labels: False reads the images alone; ``all.csv`` serves the split if it is there, else the sorted files do.
        require_all: whether rows of a part of "paper_b" without image are refused (DataError) or left out.

    Raises UserError on an unknown split, DataError on a missing root.
    """

    name = "hand"
    landmark_names: tuple[str, ...] = LANDMARK_NAMES
    radii = (2.0, 4.0, 10.0)
    unit = "mm"
    terms = "Trained on the hand radiographs of the Digital Hand Atlas, for research use."
    image_files = "jpg/*.jpg"
    split_counts = (550, 59, 301)
    """The paper prints 300 test images; the public table has 910 rows and not 909 (docs/conventions.md)."""

    def _annotated_names(self) -> set[str] | None:
        path = self.root / _TABLE
        if not path.is_file():
            if not self.labels:
                return None
            raise DataError(f"no table of landmarks; expected {_TABLE} in this folder", self.root)
        return {cells[0] for _, cells in _records(path) if cells[0]}

    def _annotations(
        self, names: Iterable[str], sizes: Mapping[str, tuple[int, int]]
    ) -> tuple[dict[str, tuple[np.ndarray, str]], list[DataError]]:
        path = self.root / _TABLE
        rows, faults = read_table(path)
        found = {}
        for name in names:
            if name in rows and name in sizes:
                row = rows[name]
                for index in np.flatnonzero(~inside(row.points, sizes[name])):
                    what = f"{LANDMARK_NAMES[index]} of {name}"
                    faults.append(outside_fault(what, row.points[index], sizes[name], path, row.line))
                found[name] = row.points, f"{path}:{row.line}"
        return found, faults

    def _spacing(self, size: tuple[int, int], points: np.ndarray) -> tuple[float, float] | None:
        if not len(points):
            return None
        first, second = points[list(WRIST_ENDS)]
        return (WRIST_MM / float(np.linalg.norm(first - second)),) * 2


@dataclass(frozen=True)
class HandRow:
    """Landmarks of one hand, (37, 2) original pixels, and the table's line with them."""

    points: np.ndarray
    line: int


def read_table(path: Path) -> tuple[dict[str, HandRow], list[DataError]]:
    """Read ``id,x1,y1,...,x37,y37`` into rows by image name, and a DataError with its line for each fault.

    A row with a fault is left out. Raises DataError if the file cannot be read or has no row.
    """
    rows: dict[str, HandRow] = {}
    lines: dict[str, int] = {}
    faults: list[DataError] = []
    for line, cells in _records(path):
        name = cells[0]
        if name in lines:
            faults.append(DataError(f"the image {name!r} is there twice, first in line {lines[name]}", path, line))
            continue
        lines[name] = line
        points, more = _points(cells, path, line)
        faults += more
        if not more:
            rows[name] = HandRow(points, line)
    return rows, faults


def _records(path: Path) -> list[tuple[int, list[str]]]:
    """Line and cells of each row that is not empty, without a header."""
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip(" ,\t\r")]
    records = [(number, [cell.strip() for cell in line.split(",")]) for number, line in lines]
    if records and records[0][1][0].lower() in _HEADER_NAMES:
        records = records[1:]
    if not records:
        raise DataError("found no row, expected id,x1,y1,...,x37,y37 for each image", path)
    return records


def _points(cells: list[str], path: Path, line: int) -> tuple[np.ndarray, list[DataError]]:
    """Landmarks of one row, (37, 2), and its faults."""
    count = 2 * len(LANDMARK_NAMES)
    if not cells[0]:
        return np.empty((0, 2)), [DataError("the image's name is empty", path, line)]
    if len(cells) != 1 + count:
        message = f"found {len(cells) - 1} values behind {cells[0]!r}, expected {count} (x,y of 37 landmarks)"
        return np.empty((0, 2)), [DataError(message, path, line)]
    values, faults = np.full(count, np.nan), []
    for index, cell in enumerate(cells[1:]):
        try:
            values[index] = parse_number(cell)
        except ValueError as error:
            where = f"{'xy'[index % 2]} of {LANDMARK_NAMES[index // 2]}"
            faults.append(DataError(f"{error} for {where} of {cells[0]!r}", path, line))
    points = values.reshape(-1, 2)
    first, second = points[list(WRIST_ENDS)]
    if np.linalg.norm(first - second) < 1:  # false for NaN, which has its own fault
        message = f"landmark 1 and landmark 5 of {cells[0]!r}, the ends of the wrist, are less than a pixel apart"
        faults.append(DataError(f"{message}; expected {WRIST_MM:g} mm between them, which give the scale", path, line))
    return points, faults

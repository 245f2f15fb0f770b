"""The folder of a study: every error, the table of them, and what they were made of, so that a second call goes on."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.cells import unescape, write_csv
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.json_files import read_json, write_json
from landmark_diffusion.studies.shifts.judge import FamilyErrors
from landmark_diffusion.studies.shifts.rows import ShiftRow

ERRORS, TABLE, SUMMARY, PICTURE = "errors.csv", "shifts.csv", "shifts.json", "shifts.png"
COLUMNS = ("family", "image", "landmark", "error", "covered", "unlike", "doubtful")
"""Of errors.csv, a line a family, image and landmark."""
CURE = "remove it, or give --overwrite, to measure anew"


@dataclass(frozen=True)
class ShiftFolder:
    """A folder of results.

    Attributes:
        path: the folder.
        made_of: plain values that decide the errors: model, options and images.
        image_ids, landmark_names: of the rows and columns of all errors.
    """

    path: Path
    made_of: Mapping[str, Any]
    image_ids: tuple[str, ...]
    landmark_names: tuple[str, ...]

    def begin(self, overwrite: bool) -> dict[str, FamilyErrors]:
        """Give the families that were finished by an earlier call of the same model, options and images.

        Raises UserError where the folder holds the results of others, unless ``overwrite``, which discards them;
        DataError where what is there is damaged.
        """
        if overwrite:
            for name in (SUMMARY, ERRORS, TABLE, PICTURE):  # the summary first: without it nothing is gone on with
                (self.path / name).unlink(missing_ok=True)
        try:
            before = read_json(self.path / SUMMARY, lambda content: dict(content["made_of"]), "is no summary", CURE)
        except FileNotFoundError:
            if (self.path / ERRORS).exists():
                raise UserError(
                    f"{self.path / ERRORS} is there without {SUMMARY}, which tells of what; {CURE}"
                ) from None
            return {}
        if differing := [name for name in self.made_of if before.get(name) != self.made_of[name]]:
            raise UserError(
                f"{self.path}: found results that differ from these in {', '.join(differing)}; name another --output, "
                "or give --overwrite to discard them"
            )
        return self._read() if (self.path / ERRORS).exists() else {}

    def write(self, found: Mapping[str, FamilyErrors], rows: Sequence[ShiftRow], facts: Mapping[str, Any]) -> None:
        """Write all families that are finished: errors.csv, shifts.json with ``facts`` as well, shifts.csv."""
        write_csv(self.path / ERRORS, self._lines(found), number=_exact)
        known = [{name: _plain(value) for name, value in asdict(row).items()} for row in rows]
        write_json(self.path / SUMMARY, {"made_of": dict(self.made_of), **facts, "rows": known}, indent=1)
        names = tuple(each.name for each in fields(ShiftRow))
        write_csv(self.path / TABLE, [names, *(tuple(asdict(row).values()) for row in rows)])

    def _lines(self, found: Mapping[str, FamilyErrors]) -> Iterator[tuple[str | float, ...]]:
        yield COLUMNS
        for family, each in found.items():
            for row, image in enumerate(self.image_ids):
                for column, landmark in enumerate(self.landmark_names):
                    place = row, column
                    numbers = each.errors[place], each.covered[place], each.unlike[row], each.doubtful[place]
                    yield family, image, landmark, *map(float, numbers)

    def _read(self) -> dict[str, FamilyErrors]:
        """Read errors.csv back; a family is whole or absent, since the file is."""
        path = self.path / ERRORS
        values: dict[str, list[tuple[float, ...]]] = {}
        places = [(image, landmark) for image in self.image_ids for landmark in self.landmark_names]
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != COLUMNS:
                raise DataError(f"expected the columns {', '.join(COLUMNS)}; {CURE}", path, 1)
            for line, cells in enumerate(reader, 2):
                family, place, numbers = _read_line(cells, path, line)
                rows = values.setdefault(family, [])
                expected = places[len(rows)] if len(rows) < len(places) else None
                if place != expected:
                    raise DataError(f"found {', '.join(place)}, expected {expected}; {CURE}", path, line)
                rows.append(numbers)
        return {family: self._stacked(family, rows) for family, rows in values.items()}

    def _stacked(self, family: str, rows: list[tuple[float, ...]]) -> FamilyErrors:
        shape = (len(self.image_ids), len(self.landmark_names), 4)
        if len(rows) != shape[0] * shape[1]:
            raise DataError(f"{family} is cut short; {CURE}", self.path / ERRORS)
        errors, covered, unlike, doubtful = np.moveaxis(np.reshape(rows, shape), -1, 0)
        return FamilyErrors(errors, covered, unlike[:, 0], doubtful)


def _read_line(cells: Sequence[str], path: Path, line: int) -> tuple[str, tuple[str, str], tuple[float, ...]]:
    """Read the family, image and landmark, and four numbers of a line; NaN for an empty one."""
    try:
        family, image, landmark, *numbers = map(unescape, cells)
        if len(numbers) != len(COLUMNS) - 3:
            raise ValueError(f"{len(cells)} cells, expected {len(COLUMNS)}")
        return family, (image, landmark), tuple(float(each) if each else math.nan for each in numbers)
    except ValueError as fault:
        raise DataError(f"is damaged ({fault}); {CURE}", path, line) from fault


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _plain(value: Any) -> Any:
    """None for NaN, which JSON has not."""
    return None if isinstance(value, float) and math.isnan(value) else value

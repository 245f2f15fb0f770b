"""What a view of a test says landmark by landmark: a line each and one for all together, as cells and as a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.grid import rounded
from landmark_diffusion.pictures.figures import numbered

L = TypeVar("L", bound="Line")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One landmark, or all of them together: ``number`` counts from 1 and is None for all."""

    number: int | None
    landmark: str

    @property
    def label(self) -> str:
        """Number and name."""
        return self.landmark if self.number is None else numbered(self.number - 1, self.landmark)

    def cells(self, attributes: Iterable[str]) -> tuple[str, ...]:
        """Round these numbers for people to read; texts stay as they are."""
        values = (getattr(self, each) for each in attributes)
        return tuple(rounded(value) if isinstance(value, float) else str(value) for value in values)


@dataclass(frozen=True, kw_only=True)
class Lines(Generic[L]):
    """N lines in the landmarks' order, and the one of all together."""

    lines: tuple[L, ...]
    overall: L

    def column(self, name: str) -> np.ndarray:
        """Gather one number of all landmarks, (N,)."""
        return np.array([getattr(line, name) for line in self.lines], dtype=np.float64)

    def sections(self, attributes: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """Lay out some numbers for a grid: the landmarks, and below a rule all together."""
        return tuple(line.cells(attributes) for line in self.lines), (self.overall.cells(attributes),)

    def write_csv(self, path: str | Path, columns: Mapping[str, str], **same: str) -> Path:
        """Write one row a landmark and one for all (without a number); returns the path.

        ``columns`` maps headings to attributes; ``same`` are attributes that every row shares.
        """
        rows: list[list[Any]] = [
            [same[each] if each in same else getattr(line, each) for each in columns.values()]
            for line in (*self.lines, self.overall)
        ]
        return write_csv(path, [tuple(columns), *rows])


def mean_of_known(values: np.ndarray) -> float:
    """Average what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")

"""A grid in a narrow terminal: no word is cut to letters, and no number is lost."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from landmark_diffusion.core.grid import Grid

NUMBERS = ("86.0 [82.0, 90.0]", "0.75 [0.66, 0.83]", "1.23 [1.02, 1.45]")
GRID = Grid("t", (), ("", "same", "kappa", "shift"), ("", "same", "kappa", "shift"), ((("menton", *NUMBERS),),))


def printed(grid: Grid, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(grid.to_rich())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_row_that_fits_stays_a_row() -> None:
    assert any(line.startswith("menton") and all(each in line for each in NUMBERS) for line in printed(GRID, 70))


def test_a_row_that_does_not_fit_has_a_line_a_cell() -> None:
    assert printed(GRID, 50)[1:] == ["menton", *(f"  {head}: {each}" for head, each in zip(
        GRID.headings[1:], NUMBERS, strict=True))]  # fmt: skip


@pytest.mark.parametrize("width", [40, 80])
def test_a_column_of_words_is_broken_at_spaces(width: int) -> None:
    row = ("ANB", "3.0", "skeletal class III, uncertain since near its limit")
    grid = Grid("t", (), ("", "value", "class"), ("", "value", "class"), ((row,),), words=(2,))
    lines = printed(grid, width)
    assert max(map(len, lines)) <= width
    assert set(row[2].split()) <= set(" ".join(lines).split())

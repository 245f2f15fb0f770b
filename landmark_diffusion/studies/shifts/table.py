"""The rows as a table for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from landmark_diffusion.core.grid import Grid, rounded
from landmark_diffusion.data.shifts import FAMILIES
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.metrics.summary import FAR_MM
from landmark_diffusion.studies.shifts.judge import PLAIN
from landmark_diffusion.studies.shifts.rows import MEAN, ShiftRow


def shifts_grid(
    rows: Sequence[ShiftRow], radius: float, unit: str, level: float, above: Sequence[str], notes: Sequence[str] = ()
) -> Grid:
    """Lay the rows out: the images as they are, the families, their mean; ``level`` is the regions' stated coverage."""
    length = unit_words(unit)
    near, far, inside = f"< {radius:g} {length}, %", f"> {FAR_MM:g} mm, %", f"in the {100 * level:g} % regions, %"
    sections = [
        [row for row in rows if row.family == PLAIN],
        [row for row in rows if row.family not in (PLAIN, MEAN)],
        [row for row in rows if row.family == MEAN],
    ]
    return Grid(
        title="Other devices",
        above=tuple(above),
        headings=("family", "MRE", "95 %", "ratio", f"<{radius:g}", f">{FAR_MM:g}", "in", "unlike", "good", "bad"),
        long_headings=(
            "family", f"MRE, {length}", "95 % interval", "ratio to the plain images", near, far, inside,
            "called unlike, %", f"of images with MRE <= {radius:g}",
            f"of images with a point > {FAR_MM:g} mm: all such marked, or unlike",
        ),
        sections=tuple(tuple(map(_cells, section)) for section in sections if section),
        notes=(
            f"MRE in {length} of the original image, its 95 % interval over images, its ratio to the plain images; "
            f"{near}; {far}; of the points with a region those {inside}; images called unlike, %; the same of images "
            f"with an MRE of at most {radius:g} {length}; of images with a point beyond {FAR_MM:g} mm those of which "
            "each such point is marked as doubtful, or that are called unlike",
            *notes,
        ),
    )  # fmt: skip


def families_grid() -> Grid:
    """List the families with what each does."""
    headings = ("family", "what is done")
    rows = tuple((name, family.says) for name, family in FAMILIES.items())
    return Grid("", (), headings, headings, (rows,), words=(1,))


def _cells(row: ShiftRow) -> tuple[str, ...]:
    interval = "" if math.isnan(row.mre_low) else f"{_short(row.mre_low)}-{_short(row.mre_high)}"
    shares = [rounded(each, 1) for each in (row.near, row.far, row.coverage, row.unlike)]
    calls = [rounded(each, 0) for each in (row.unlike_good, _marked(row))]
    return row.family, _short(row.mre), interval, _short(row.ratio), *shares, *calls


def _marked(row: ShiftRow) -> float:
    """Images with far points of which all are marked; where no point is, those called unlike."""
    return row.unlike_bad if math.isnan(row.marked_bad) else row.marked_bad


def _short(value: float) -> str:
    """Two decimals, one from 10 on: a table of ten columns has to fit into a terminal."""
    return rounded(value, 2 if value < 10 else 1)

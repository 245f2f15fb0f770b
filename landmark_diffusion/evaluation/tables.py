"""The table of results: each variant, the people beside it, and the protocol of the figures (docs/conventions.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from landmark_diffusion.core.grid import Grid, LaidOut
from landmark_diffusion.core.texts import counted
from landmark_diffusion.metrics.annotators import (
    against_each,
    between_annotators,
    distance_ratio,
    each_against_mean,
    nearer_annotator,
)
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.metrics.summary import FAR_MM, ErrorSummary
from landmark_diffusion.pictures.figures import annotator_labels, shorten

Group = Literal["method", "people", "each annotator"]
GROUPS: tuple[Group, ...] = ("method", "people", "each annotator")
NAME = 12  # characters of an annotator's name in a row's label


@dataclass(frozen=True, kw_only=True)
class ResultsRow(ErrorSummary):
    """One line of the table: errors in the table's unit, summed up.

    Args:
        label: the variant's name, or who is measured against whom.
        group: "method" (variant against the protocol's truth), "people", or "each annotator" (variant against one).
        ratio: mean of the annotators' distance over the sum of the prediction's distances to both; None elsewhere.
        flattering: whether the truth contains the one who is measured, or is chosen to suit.
    """

    label: str
    group: Group
    ratio: float | None = None
    flattering: bool = False


@dataclass(frozen=True)
class ResultsTable(LaidOut):
    """Results as numbers, which print with rich, as Markdown, and as a dict for JSON.

    ``console.print(table)`` shows it in 80 columns; ``protocol`` is the line that says how it was measured, ``counts``
    the one that says on how much.
    """

    title: str
    protocol: str
    counts: str
    unit: Unit
    strict: bool
    radii: tuple[float, ...]
    rows: tuple[ResultsRow, ...]

    def grid(self) -> Grid:
        """Round the numbers and lay them out."""
        sign, unit = "<" if self.strict else "≤", unit_words(self.unit)
        far, ratio = self.unit == "mm", any(row.ratio is not None for row in self.rows)
        short = ["", "MRE ± SD", "median", *(f"{sign}{radius:g}" for radius in self.radii)]
        long = ["", f"MRE ± SD, {unit}", f"median, {unit}", *(f"{sign} {radius:g} {unit}, %" for radius in self.radii)]
        short += [f">{FAR_MM:g}"] * far + ["ratio"] * ratio
        long += [f"> {FAR_MM:g} mm, %"] * far + ["ratio"] * ratio
        sections = [[_cells(row, far, ratio) for row in self.rows if row.group == group] for group in GROUPS]
        return Grid(
            title=self.title,
            above=(self.protocol, f"{self.counts}; errors in {unit}, the columns {short[3]} and on in % of the points"),
            headings=tuple(short),
            long_headings=tuple(long),
            sections=tuple(tuple(section) for section in sections if section),
            notes=self.notes,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the rows that are there."""
        notes = []
        if any(row.flattering and row.group == "people" for row in self.rows):
            notes.append("* flattering: each annotator is a part of the mean that he or she is measured against")
        if any(row.flattering and row.group == "each annotator" for row in self.rows):
            notes.append("† flattering: at each point, whichever annotator is nearer counts")
        if any(row.ratio is not None for row in self.rows):
            notes.append(
                "ratio: annotators' distance / sum of the prediction's distances to both, mean; 1: on the line between"
            )
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values, unrounded; radii become the keys "2", "2.5" and so on."""
        rows = [
            {
                "label": row.label, "group": row.group, "points": row.points, "mre": row.mre, "std": row.std,
                "median": row.median, "sdr": {f"{radius:g}": rate for radius, rate in row.sdr.items()},
                "beyond_10mm": row.beyond, "annotator_ratio": row.ratio, "flattering": row.flattering,
            }
            for row in self.rows
        ]  # fmt: skip
        head = {"title": self.title, "protocol": self.protocol, "counts": self.counts, "unit": self.unit}
        return {**head, "radii": list(self.radii), "strict": self.strict, "rows": rows}


def results_table(evaluation: Evaluation, title: str = "Results") -> ResultsTable:
    """Lay out every variant's errors, and the annotators beside them where there are two or more.

    Annotators are measured in the original frame only: a protocol on another grid gives the variants' rows alone.
    Raises MetricError where no landmark has a truth, and what ``Evaluation`` raises.
    """
    people = evaluation.annotations.shape[1] > 1 and evaluation.protocol.frame == "original"
    names = annotator_labels(evaluation.annotator_names, evaluation.annotations.shape[1]) if people else []
    rows = [
        _row(name, "method", each, ratio=_ratio(evaluation, name) if people else None)
        for name, each in evaluation.summaries.items()
    ]
    if people:
        labels = [shorten(name, NAME) for name in names]
        rows += _people_rows(evaluation, labels)
        rows += [row for variant in evaluation.points for row in _rows_of_each(evaluation, variant, labels)]
    points = evaluation.summaries[evaluation.main].points
    counts = f"{counted(len(evaluation.image_ids), 'image')}, {counted(points, 'point')}"
    counts += f" ({evaluation.missing} without truth)" if evaluation.missing else ""
    counts += f"; annotators: {', '.join(names)}" if people else ""
    kept = tuple(row for row in rows if row.points)
    rules = evaluation.protocol
    line = rules.describe(evaluation.radii, evaluation.unit)
    return ResultsTable(title, line, counts, evaluation.unit, rules.strict, evaluation.radii, kept)


def other_table(evaluation: Evaluation) -> ResultsTable:
    """Lay out an evaluation under another protocol, to be printed below the honest table under that one's caution."""
    rules = evaluation.protocol
    return results_table(evaluation, rules.caution or f"Under protocol {rules.name}")


def _ratio(evaluation: Evaluation, variant: str) -> float | None:
    ratios = distance_ratio(evaluation.points[variant], evaluation.annotations, evaluation.scale)
    return float(np.nanmean(ratios)) if np.isfinite(ratios).any() else None


def _people_rows(evaluation: Evaluation, labels: Sequence[str]) -> list[ResultsRow]:
    annotations, scale, summary = evaluation.annotations, evaluation.scale, evaluation.summary
    # A point that only one annotator marked is that annotator's own: its distance to the mean, 0, says nothing.
    both = (~np.isnan(annotations).any(-1)).sum(1) > 1
    to_mean = np.where(both[:, None], each_against_mean(annotations, scale), np.nan)
    rows = [
        _row(f"{label} to the mean *", "people", summary(to_mean[:, i]), flattering=True)
        for i, label in enumerate(labels)
    ]
    return rows + [
        _row(f"{labels[i]} to {labels[j]}", "people", summary(between_annotators(annotations, scale, i, j)))
        for i, j in combinations(range(len(labels)), 2)
    ]


def _rows_of_each(evaluation: Evaluation, variant: str, labels: Sequence[str]) -> list[ResultsRow]:
    given = evaluation.points[variant], evaluation.annotations, evaluation.scale
    each, nearer, summary = against_each(*given), nearer_annotator(*given), evaluation.summary
    rows = [_row(f"{variant} to {label}", "each annotator", summary(each[:, i])) for i, label in enumerate(labels)]
    return [*rows, _row(f"{variant} to nearer †", "each annotator", summary(nearer), flattering=True)]


def _row(label: str, group: Group, summary: ErrorSummary, **more: Any) -> ResultsRow:
    return ResultsRow(label=label, group=group, **vars(summary), **more)


def _cells(row: ResultsRow, far: bool, ratio: bool) -> tuple[str, ...]:
    cells = [row.label, f"{row.mre:.2f} ± {row.std:.2f}", f"{row.median:.2f}"]
    cells += [_percent(rate) for rate in row.sdr.values()]
    cells += [_percent(row.beyond) if row.beyond is not None else ""] * far
    return (*cells, *([f"{row.ratio:.2f}" if row.ratio is not None else ""] * ratio))


def _percent(rate: float) -> str:
    """One decimal, but none at 100, which would make every column wider."""
    return f"{rate:.1f}".replace("100.0", "100")

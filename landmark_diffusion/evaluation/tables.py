"""The table of results: each variant, the people beside it, and the protocol of the figures (docs/conventions.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch

from landmark_diffusion.core.grid import Grid
from landmark_diffusion.core.texts import counted
from landmark_diffusion.metrics.annotators import (
    against_each,
    between_annotators,
    distance_ratio,
    each_against_mean,
    nearer_annotator,
    stack_predictions,
)
from landmark_diffusion.metrics.functional import MetricError, within
from landmark_diffusion.metrics.protocols import FAR_MM, Protocol, error_table, evaluate, get_protocol
from landmark_diffusion.metrics.records import Prediction, Unit, in_dataset_order, unit_words
from landmark_diffusion.pictures.figures import annotator_labels, shorten

Group = Literal["method", "people", "each annotator"]
GROUPS: tuple[Group, ...] = ("method", "people", "each annotator")
NAME = 12  # characters of an annotator's name in a row's label


@dataclass(frozen=True)
class Row:
    """One line of the table: K errors in the table's unit, summed up.

    Args:
        label: the variant's name, or who is measured against whom.
        group: "method" (variant against the protocol's truth), "people", or "each annotator" (variant against one).
        points: K, the number of errors.
        mre, std, median: mean, standard deviation (divided by K) and median of the errors.
        sdr: radius -> percent of points within it.
        beyond: percent of points farther than 10 mm; None unless in mm.
        ratio: mean of the annotators' distance over the sum of the prediction's distances to both; None elsewhere.
        flattering: whether the truth contains the one who is measured, or is chosen to suit.
    """

    label: str
    group: Group
    points: int
    mre: float
    std: float
    median: float
    sdr: dict[float, float]
    beyond: float | None = None
    ratio: float | None = None
    flattering: bool = False


@dataclass(frozen=True)
class Table:
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
    rows: tuple[Row, ...]

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

    def to_rich(self) -> Any:
        """Build what rich's console prints."""
        return self.grid().to_rich()

    def __rich__(self) -> Any:
        return self.to_rich()

    def to_markdown(self) -> str:
        """Write a Markdown section."""
        return self.grid().to_markdown()

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


def results_table(
    variants: Mapping[str, Sequence[Prediction]],
    annotator_names: Sequence[str] = (),
    radii: Sequence[float] | None = None,
    unit: Unit | None = None,
    protocol: Protocol | str = "default",
    title: str = "Results",
) -> Table:
    """Measure every variant under a protocol, and the annotators beside it where there are two or more.

    Annotators are measured in the original frame only: a protocol on another grid gives the variants' rows alone.

    Args:
        variants: name -> predictions, each image once or more (repeats are dropped); all of the same images.
        annotator_names: A names; a missing one becomes "annotator 2".
        radii, unit: fill in, or override, the protocol's.

    Raises:
        MetricError: without variants, or where ``metrics.protocols.evaluate`` raises.
    """
    if not variants:
        raise MetricError("no variants to put into a table")
    rules = get_protocol(protocol) if isinstance(protocol, str) else protocol
    found = {name: evaluate(predictions, rules, radii, unit) for name, predictions in variants.items()}
    first = next(iter(found.values()))
    used, shown = tuple(first["sdr"]), first["unit"]
    _, annotations, spacing = stack_predictions(next(iter(variants.values())), shown)
    names = annotator_labels(annotator_names, annotations.shape[1])
    rows = [_method_row(name, variants[name], rules, used, shown) for name in variants]
    people = annotations.shape[1] > 1 and rules.frame == "original"
    if people:
        rows += _people_rows(annotations, spacing, names, used, rules.strict, shown)
        for name, predictions in variants.items():
            rows += _rows_of_each(name, predictions, names, used, rules.strict, shown)
    kept = tuple(row for row in rows if row.points)
    return Table(title, first["protocol"], _counts(found, names if people else ()), shown, rules.strict, used, kept)


def other_table(
    variants: Mapping[str, Sequence[Prediction]], protocol: Protocol | str, radii: Sequence[float] | None = None
) -> Table:
    """Measure the variants under another protocol, to be printed below the honest table under that one's caution.

    ``radii`` are the dataset's, for a protocol without its own. Raises what :func:`results_table` raises.
    """
    rules = get_protocol(protocol) if isinstance(protocol, str) else protocol
    title = rules.caution or f"Under protocol {rules.name}"
    return results_table(variants, radii=rules.radii or radii, protocol=rules, title=title)


def _method_row(
    name: str, predictions: Sequence[Prediction], rules: Protocol, radii: tuple[float, ...], unit: Unit
) -> Row:
    errors = error_table(in_dataset_order(predictions), rules, unit)
    points, annotations, spacing = stack_predictions(predictions, unit)
    ratio = None
    if annotations.shape[1] > 1 and rules.frame == "original":
        ratios = distance_ratio(points, annotations, spacing)
        ratio = float(np.nanmean(ratios)) if np.isfinite(ratios).any() else None
    return _row(name, "method", errors, radii, rules.strict, unit, ratio=ratio)


def _people_rows(
    annotations: np.ndarray, spacing: Any, names: Sequence[str], radii: tuple[float, ...], strict: bool, unit: Unit
) -> list[Row]:
    # A point that only one annotator marked is that annotator's own: its distance to the mean, 0, says nothing.
    both = (~np.isnan(annotations).any(-1)).sum(1) > 1
    to_mean = np.where(both[:, None], each_against_mean(annotations, spacing), np.nan)
    rows = [
        _row(f"{shorten(name, NAME)} to the mean *", "people", to_mean[:, i], radii, strict, unit, flattering=True)
        for i, name in enumerate(names)
    ]
    for i, j in combinations(range(len(names)), 2):
        label = f"{shorten(names[i], NAME)} to {shorten(names[j], NAME)}"
        rows.append(_row(label, "people", between_annotators(annotations, spacing, i, j), radii, strict, unit))
    return rows


def _rows_of_each(
    variant: str,
    predictions: Sequence[Prediction],
    names: Sequence[str],
    radii: tuple[float, ...],
    strict: bool,
    unit: Unit,
) -> list[Row]:
    points, annotations, spacing = stack_predictions(predictions, unit)
    each = against_each(points, annotations, spacing)
    nearer = nearer_annotator(points, annotations, spacing)
    rows = [
        _row(f"{variant} to {shorten(name, NAME)}", "each annotator", each[:, i], radii, strict, unit)
        for i, name in enumerate(names)
    ]
    return [*rows, _row(f"{variant} to nearer †", "each annotator", nearer, radii, strict, unit, flattering=True)]


def _row(
    label: str, group: Group, errors: np.ndarray, radii: tuple[float, ...], strict: bool, unit: Unit, **more: Any
) -> Row:
    known = errors[np.isfinite(errors)]
    if not known.size:
        return Row(label, group, 0, np.nan, np.nan, np.nan, dict.fromkeys(radii, np.nan), **more)
    inside = {radius: within(torch.from_numpy(known), radius, strict).numpy() for radius in radii}
    return Row(
        label, group, known.size, float(known.mean()), float(known.std()), float(np.median(known)),
        {radius: 100.0 * float(hits.mean()) for radius, hits in inside.items()},
        100.0 * float((known > FAR_MM).mean()) if unit == "mm" else None, **more,
    )  # fmt: skip


def _cells(row: Row, far: bool, ratio: bool) -> tuple[str, ...]:
    cells = [row.label, f"{row.mre:.2f} ± {row.std:.2f}", f"{row.median:.2f}"]
    cells += [_percent(rate) for rate in row.sdr.values()]
    cells += [_percent(row.beyond) if row.beyond is not None else ""] * far
    return (*cells, *([f"{row.ratio:.2f}" if row.ratio is not None else ""] * ratio))


def _percent(rate: float) -> str:
    """One decimal, but none at 100, which would make every column wider."""
    return f"{rate:.1f}".replace("100.0", "100")


def _counts(found: Mapping[str, Mapping[str, Any]], annotators: Sequence[str]) -> str:
    """Say how many images and points were counted; once where all variants agree, else for each."""
    texts = {
        name: f"{counted(each['images'], 'image')}, {counted(each['points'], 'point')}"
        + (f" ({each['missing']} without truth)" if each["missing"] else "")
        for name, each in found.items()
    }
    same = len(set(texts.values())) == 1
    text = next(iter(texts.values())) if same else "; ".join(f"{name}: {text}" for name, text in texts.items())
    return text + (f"; annotators: {', '.join(annotators)}" if len(annotators) > 1 else "")

"""One table of all folds: the figures of each, and of all images, each tested by a model that never saw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.grid import Grid
from landmark_diffusion.core.json_files import read_json, write_json
from landmark_diffusion.core.plain import plain
from landmark_diffusion.core.texts import counted
from landmark_diffusion.studies.crossval.plan import FoldCell
from landmark_diffusion.studies.trainings.job import CHOSEN
from landmark_diffusion.studies.trainings.results import DAMAGED, RESULT, cell_folder

if TYPE_CHECKING:
    from landmark_diffusion.metrics.predictions_file import PredictionTable

TABLE, PREDICTIONS, METRICS = "crossval.md", "predictions.csv", "metrics.json"
FOLD_PREDICTIONS = f"predictions_{CHOSEN}.csv"


@dataclass(frozen=True)
class FoldResult:
    """What a fold's test found: its predictions, the radii of its table and the file they are in."""

    cell: FoldCell
    table: PredictionTable
    radii: tuple[float, ...]
    path: Path


def read_folds(folder: Path, cells: Sequence[FoldCell]) -> list[FoldResult]:
    """Read the finished folds, in their order; raises DataError for a damaged one."""
    from landmark_diffusion.metrics.predictions_file import read_predictions_csv

    found = []
    for cell in cells:
        place = cell_folder(folder, cell.name)
        if (place / RESULT).is_file():
            radii = read_json(place / RESULT, _radii, *DAMAGED)
            path = place / FOLD_PREDICTIONS
            found.append(FoldResult(cell, read_predictions_csv(path), radii, path))
    return found


def _radii(content: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(radius) for radius in content["checkpoints"][CHOSEN]["sdr"])


def summarise(results: Sequence[FoldResult], total: int) -> dict[str, Any]:
    """Sum up the folds: ``unit``, ``radii``, ``folds`` (finished and all), ``rows`` (a fold each) and ``all``.

    Of all images the figures come with their 95 % interval over images, None with fewer than two.
    """
    radii, unit = results[0].radii, results[0].table.unit
    names = results[0].table.landmark_names
    errors = [result.table.errors[:, [result.table.landmark_names.index(name) for name in names]] for result in results]
    rows = [
        {"fold": result.cell.number, **_figures(each, radii, unit, False)}
        for result, each in zip(results, errors, strict=True)
    ]
    return {
        "unit": unit,
        "radii": list(radii),
        "folds": {"finished": len(results), "all": total},
        "rows": rows,
        "all": _figures(np.concatenate(errors), radii, unit, True),
    }


def write_summary(folder: Path, results: Sequence[FoldResult], summary: dict[str, Any], title: str) -> Grid:
    """Write predictions.csv of all folds, metrics.json and crossval.md, each whole or not at all; returns the table."""
    texts = [result.path.read_text(encoding="utf-8") for result in results]
    rows = [text.partition("\n")[2] for text in texts]
    atomic_write_text(folder / PREDICTIONS, texts[0].partition("\n")[0] + "\n" + "".join(rows))
    write_json(folder / METRICS, plain(summary), indent=2, allow_nan=False)
    grid = summary_grid(summary, title)
    atomic_write_text(folder / TABLE, grid.to_markdown())
    return grid


def summary_grid(summary: dict[str, Any], title: str) -> Grid:
    """Lay the summary out: a row for each fold, and all images together."""
    from landmark_diffusion.metrics.records import unit_words

    unit, radii = unit_words(summary["unit"]), summary["radii"]
    whole = summary["all"]
    finished, total = summary["folds"]["finished"], summary["folds"]["all"]
    short = ("", "images", "MRE", "median", *(f"<{radius:g}" for radius in radii))
    long = ("", "images", f"MRE, {unit}", f"median, {unit}", *(f"< {radius:g} {unit}, %" for radius in radii))
    intervals = [f"MRE {_interval(whole['mre_interval'])} {unit}"] if whole["mre_interval"] else []
    intervals += [
        f"< {radius:g} {unit} {_interval(whole['sdr_interval'][radius])} %" for radius in radii if whole["mre_interval"]
    ]
    return Grid(
        title=title,
        above=(
            f"{finished} of {counted(total, 'fold')}; each image is tested by a model that never saw it; errors in "
            f"{unit}, the columns {short[4] if radii else short[3]} and on in % of the points",
        ),
        headings=short,
        long_headings=long,
        sections=(
            tuple(_cells(f"fold {row['fold']}", row, radii) for row in summary["rows"]),
            (_cells("all images", whole, radii),),
        ),
        notes=("95 % intervals over all images: " + "; ".join(intervals),) if intervals else (),
    )


def _figures(errors: np.ndarray, radii: Sequence[float], unit: str, intervals: bool) -> dict[str, Any]:
    from landmark_diffusion.metrics.bootstrap import bootstrap_interval
    from landmark_diffusion.metrics.summary import ErrorSummary, within

    found: dict[str, Any] = {"images": len(errors), **vars(ErrorSummary.of(errors, radii, unit))}
    del found["beyond"]
    if intervals:
        there = ~np.isnan(errors).all(1)
        tables = {radius: np.where(np.isnan(errors), np.nan, 100.0 * within(errors, radius))[there] for radius in radii}
        enough = int(there.sum()) > 1
        found["mre_interval"] = vars(bootstrap_interval(errors[there])) if enough else None
        found["sdr_interval"] = (
            {radius: vars(bootstrap_interval(table)) for radius, table in tables.items()} if enough else None
        )
    return found


def _cells(label: str, row: dict[str, Any], radii: Sequence[float]) -> tuple[str, ...]:
    rates = [f"{row['sdr'][radius]:.1f}" for radius in radii]
    return (label, str(row["images"]), f"{row['mre']:.2f} ± {row['std']:.2f}", f"{row['median']:.2f}", *rates)


def _interval(found: dict[str, float]) -> str:
    return f"{found['low']:.2f} to {found['high']:.2f}"

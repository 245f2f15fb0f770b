"""Compare two methods over the same images: means over seeds, paired 95 % bootstrap intervals over images.

    python tools/compare_runs.py --a runs/x_s*/test/predictions.csv --b runs/y_s*/test/predictions.csv

Each side takes the predictions.csv of one or several seeds. Printed: MRE and SDR of each side (mean and spread of the
seeds), and a - b with its interval (docs/conventions.md: an image is averaged over seeds, then images are drawn).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from landmark_diffusion.metrics.bootstrap import bootstrap_interval, paired_difference
from landmark_diffusion.metrics.records import read_predictions_csv

RADII = (2.0, 2.5, 3.0, 4.0)


def read_errors(paths: list[Path]) -> np.ndarray:
    """Errors (S, I, N) of the seeds, which must hold the same images and landmarks."""
    tables = [read_predictions_csv(path) for path in paths]
    if len({(table.image_ids, table.landmark_names, table.unit) for table in tables}) > 1:
        raise SystemExit(f"the files hold different images, landmarks or units: {', '.join(map(str, paths))}")
    return np.stack([table.errors for table in tables])


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", type=Path, nargs="+", required=True)
    parser.add_argument("--b", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    a, b = read_errors(options.a), read_errors(options.b)
    views = {"MRE": lambda e: e, "median": None, **{f"SDR {r:g}": r for r in RADII}, "beyond 10": 10.0}
    table = Table("figure", "a", "b", "a - b (paired 95 %)")
    for name, view in views.items():
        if name == "median":
            medians = [np.nanmedian(errors, (1, 2)) for errors in (a, b)]
            table.add_row(name, *(f"{m.mean():.2f} ± {m.std():.2f}" for m in medians), "")
            continue
        x, y = (_values(errors, view) for errors in (a, b))
        cells = [f"{bootstrap_interval(e)} ± {np.nanmean(e, (1, 2)).std():.3f}" for e in (x, y)]
        table.add_row(name, *cells, str(paired_difference(x, y)))
    console = Console(width=140)
    console.print(table)
    counts = f"{a.shape[0]} and {b.shape[0]} seeds, {a.shape[1]} images, {a.shape[2]} landmarks"
    console.print(f"{counts}; ±: spread of the seeds")


def _values(errors: np.ndarray, view: object) -> np.ndarray:
    """Errors themselves, or percent of points within (beyond, for 10) a radius; NaN stays NaN."""
    if not isinstance(view, float):
        return errors
    hit = errors > view if view == 10.0 else errors < view
    return np.where(np.isnan(errors), np.nan, 100.0 * hit)


if __name__ == "__main__":
    main()

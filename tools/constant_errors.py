"""What of the errors on ISBI 2015 is constant: figures of predictions.csv with each landmark's mean error removed.

    python tools/constant_errors.py runs/ceph/test/predictions.csv [more seeds] --root ../shared/data/isbi2015

A row each: as measured against the mean of both doctors; with the landmark's mean error (a vector, of all other images)
subtracted, as a model could that knew this part's habits; against whichever doctor is nearer at each point, which
flatters; and both. Several files are seeds: an image is averaged over them. 95 % intervals over images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from landmark_diffusion.data.sources.isbi2015 import SPACING_MM, Isbi2015Dataset
from landmark_diffusion.metrics.annotators import nearer_annotator
from landmark_diffusion.metrics.bootstrap import bootstrap_interval
from landmark_diffusion.metrics.predictions_file import read_predictions_csv

SPACING = (SPACING_MM, SPACING_MM)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", nargs="+", type=Path)
    parser.add_argument("--root", required=True, type=Path, help="of ISBI 2015")
    options = parser.parse_args()
    data = Isbi2015Dataset(options.root)
    known = {sample.image_id: sample.annotations for part in ("train", "val", "test") for sample in data.samples(part)}
    errors: dict[str, list[np.ndarray]] = {}
    for path in options.predictions:
        table = read_predictions_csv(path)
        doctors = np.stack([known[name] for name in table.image_ids])
        freed = table.points - others_mean(table.points - table.truth)
        for name, points in (("as measured", table.points), ("each landmark's mean error removed", freed)):
            far = SPACING_MM * np.linalg.norm(points - table.truth, axis=-1)
            errors.setdefault(name, []).append(far)
            errors.setdefault(f"{name}, nearer doctor", []).append(nearer_annotator(points, doctors, SPACING))
    print("| | MRE mm | \\< 2 mm, % | \\> 10 mm, % |\n|---|---:|---:|---:|")
    for name, each in errors.items():
        seeds = np.array(each)
        cells = (_cell(seeds, 3), _cell(100.0 * (seeds < 2), 1), _cell(100.0 * (seeds > 10), 2))
        print(f"| {' | '.join((name, *cells))} |")


def others_mean(offsets: np.ndarray) -> np.ndarray:
    """Mean of all other images' offsets, (I, N, 2)."""
    found: np.ndarray = (offsets.sum(0) - offsets) / (len(offsets) - 1)
    return found


def _cell(values: np.ndarray, digits: int) -> str:
    found = bootstrap_interval(values.mean((0, 2)))
    spread = f" ± {values.mean((1, 2)).std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]{spread}"


if __name__ == "__main__":
    main()

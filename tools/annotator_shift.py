"""How the two doctors of ISBI 2015 differ on training (001-150) and on Test 1 (151-300), and what moved between.

    python tools/annotator_shift.py --root ../shared/data/isbi2015 [--csv docs/experiments/annotators.csv]

Reads the annotation files alone, no image. For each landmark: the constant offset from the senior to the junior
(x right, y down), its length, the rest of their difference, in mm; and the offset on Test 1 less that on training, with
95 % intervals from a bootstrap over the images of both sets. Printed as Markdown; ``--csv`` writes the numbers as well.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.data.sources.isbi2015 import ANNOTATOR_FOLDERS, LANDMARK_NAMES, SPACING_MM, read_points
from landmark_diffusion.data.splits import ISBI2015_SPLITS
from landmark_diffusion.metrics.annotators import Disagreement, offset_shift, split_disagreement

SPACING = (SPACING_MM, SPACING_MM)
FIELDS = (
    "number", "landmark", "train_x", "train_y", "train_offset", "train_rest", "test1_x", "test1_y", "test1_offset",
    "test1_rest", "shift_x", "shift_x_low", "shift_x_high", "shift_y", "shift_y_low", "shift_y_high", "shift",
)  # fmt: skip
HEADINGS = (
    "landmark", "train: x, y", "offset", "rest", "Test 1: x, y", "offset", "rest", "shift of x", "shift of y", "shift",
)  # fmt: skip


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds 400_senior and 400_junior")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    parts = ISBI2015_SPLITS["official"]
    try:
        train, test = (read_annotations(options.root, parts[stage]) for stage in ("train", "test"))
    except DataError as error:
        raise SystemExit(str(error)) from None
    splits = [split_disagreement(each, SPACING) for each in (train, test)]
    shifts = offset_shift(train, test, SPACING)
    print(to_markdown(splits, shifts))
    print(f"\n{summary(splits, shifts)}")
    if options.csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([FIELDS, *rows(splits, shifts)])
        atomic_write_text(options.csv, text.getvalue())


def read_annotations(root: Path, numbers: range) -> np.ndarray:
    """Senior and junior of the images, (I, 2, 19, 2) original pixels; raises DataError on the first faulty file."""
    annotations = np.empty((len(numbers), len(ANNOTATOR_FOLDERS), len(LANDMARK_NAMES), 2))
    for place, number in enumerate(numbers):
        for annotator, folder in enumerate(ANNOTATOR_FOLDERS.values()):
            annotations[place, annotator], faults = read_points(root / folder / f"{number:03d}.txt")
            if faults:
                raise faults[0]
    return annotations


def rows(splits: list[Disagreement], shifts: list[tuple[Interval, Interval]]) -> list[list[str]]:
    """One row a landmark with four decimals, as ``FIELDS``."""
    found = []
    for number, (name, (x, y)) in enumerate(zip(LANDMARK_NAMES, shifts, strict=True)):
        habits = [(*each.offset[number], each.constant[number], each.rest[number]) for each in splits]
        moved = (x.mean, x.low, x.high, y.mean, y.low, y.high, np.hypot(x.mean, y.mean))
        found.append([str(number + 1), name, *(f"{v:.4f}" for v in (*habits[0], *habits[1], *moved))])
    return found


def to_markdown(splits: list[Disagreement], shifts: list[tuple[Interval, Interval]]) -> str:
    """Lay the same numbers out for people; bold where an interval leaves zero out."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    for number, (name, (x, y)) in enumerate(zip(LANDMARK_NAMES, shifts, strict=True)):
        cells = [f"{number + 1} {name}"]
        for each in splits:
            across, down = each.offset[number]
            cells += [f"{across:z.2f}, {down:z.2f}", f"{each.constant[number]:.2f}", f"{each.rest[number]:.2f}"]
        cells += [_interval(x), _interval(y), f"{np.hypot(x.mean, y.mean):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(splits: list[Disagreement], shifts: list[tuple[Interval, Interval]]) -> str:
    """Say in lines what holds over all landmarks."""
    train, test = (
        f"offset {np.sqrt(np.average(s.constant**2, weights=s.count)):.2f}, "
        f"rest {np.sqrt(np.average(s.rest**2, weights=s.count)):.2f} mm" for s in splits
    )  # fmt: skip
    components = [each for pair in shifts for each in pair]
    beyond = sum(each.sign != 0 for each in components)
    return (
        f"Root mean square over points: train {train}; Test 1 {test}. {beyond} of {len(components)} components moved "
        f"(95 % interval without zero; by chance alone about {0.05 * len(components):.0f} would)."
    )


def _interval(interval: Interval) -> str:
    text = f"{interval.mean:z.2f} [{interval.low:z.2f}, {interval.high:z.2f}]"
    return f"**{text}**" if interval.sign else text


if __name__ == "__main__":
    main()

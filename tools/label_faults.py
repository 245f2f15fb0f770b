"""How many gross faults in the labels of few real images `ldx data check` finds, and what it doubts wrongly.

python tools/label_faults.py isbi2015 ../shared/data/isbi2015 --images 10 --subsets 50
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from landmark_diffusion.data.checks.labels import check_labels
from landmark_diffusion.data.checks.outliers import Outlier, find_outliers
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources import build_dataset

FAULTS = ("two landmarks exchanged", "row mirrored", "row of another image", "digit lost", "x and y of a point swapped")


def spoil(samples: list[LandmarkSample], fault: str, rng: np.random.Generator) -> int:
    """Put one fault into one image, in place; return its index."""
    image, other = rng.choice(len(samples), 2, replace=False)
    points = samples[image].annotations[0]
    first, second = rng.choice(len(points), 2, replace=False)
    if fault == FAULTS[0]:
        points[[first, second]] = points[[second, first]]
    elif fault == FAULTS[1]:
        points[:, 0] = samples[image].size[0] - 1 - points[:, 0]
    elif fault == FAULTS[2]:
        points[:] = samples[other].annotations[0]
    elif fault == FAULTS[3]:
        axis = rng.integers(2)
        points[first, axis] = points[first, axis] // 10
    else:
        points[first] = points[first, ::-1].copy()
    return int(image)


def _tells(fault: str, doubt: Outlier) -> bool:
    """Whether a doubt names the fault that was put in."""
    if doubt.cause is None:
        return False
    by_fault = {
        FAULTS[0]: doubt.cause.partner is not None, FAULTS[1]: doubt.cause.row == "mirrored",
        FAULTS[3]: "10 times too small" in doubt.cause.text, FAULTS[4]: "its x and y" in doubt.cause.text,
    }  # fmt: skip
    return by_fault.get(fault, False)


def main() -> None:
    """Print recall by fault and the false alarms of subsets without any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--subsets", type=int, default=50)
    arguments = parser.parse_args()
    dataset = build_dataset(arguments.dataset, arguments.root)
    pool = {sample.image_id: sample for stage in ("train", "val", "test") for sample in dataset.samples(stage)}
    rng, alarms, points, values = np.random.default_rng(0), 0, 0, 0
    found, explained = dict.fromkeys(FAULTS, 0), dict.fromkeys(FAULTS, 0)
    for _ in range(arguments.subsets):
        names = rng.choice(sorted(pool), arguments.images, replace=False)
        clean = [replace(pool[name], annotations=pool[name].annotations[:1]) for name in names]
        doubts = find_outliers(clean)
        alarms, points = alarms + bool(doubts), points + len(doubts)
        values += bool(check_labels(clean, dataset.landmark_names))
        for fault in FAULTS:
            spoilt = [replace(sample, annotations=sample.annotations.copy()) for sample in clean]
            image = spoil(spoilt, fault, rng)
            doubts = find_outliers(spoilt)
            named = {doubt.sample for doubt in doubts}
            explained[fault] += any(_tells(fault, doubt) for doubt in doubts if doubt.sample == image)
            copied = any("exactly the same" in each.message for each in check_labels(spoilt, dataset.landmark_names))
            found[fault] += image in named or copied
    for fault, count in found.items():
        print(f"{fault}: found in {count} of {arguments.subsets} subsets of {arguments.images} images, "
              f"the cause told in {explained[fault]}")  # fmt: skip
    print(f"without a fault: {alarms} of {arguments.subsets} subsets with a doubt, {points / arguments.subsets:.2f} "
          f"points each; {values} with a doubt about values")  # fmt: skip


if __name__ == "__main__":
    main()

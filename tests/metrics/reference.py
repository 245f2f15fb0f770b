"""An independent numpy computation of the metrics, written as plain loops: what the package is held to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

RADII = (2.0, 2.5, 3.0, 4.0)


@dataclass
class Cases:
    """A made-up data set: predictions around truths, anisotropic spacing, some landmarks missing."""

    predicted: np.ndarray
    target: np.ndarray
    spacing: np.ndarray
    visible: np.ndarray
    index: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.index = np.arange(len(self.predicted))


def make_cases(images: int, landmarks: int = 7, seed: int = 0) -> Cases:
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 2000, (images, landmarks, 2))
    predicted = target + rng.normal(0, 20, target.shape)
    visible = rng.uniform(size=(images, landmarks)) > 0.2
    visible[0, 0] = False
    target[rng.uniform(size=(images, landmarks)) > 0.9] = np.nan
    visible[:, -1] = True
    target[:, -1] = 7.0
    return Cases(predicted, target, rng.uniform(0.05, 0.2, (images, 2)), visible)


def reference_errors(cases: Cases, in_mm: bool = True) -> list[list[float]]:
    """Errors of each image's landmarks, nan where missing."""
    table = []
    for image in range(len(cases.predicted)):
        row = []
        for landmark in range(cases.predicted.shape[1]):
            x, y = cases.predicted[image, landmark] - cases.target[image, landmark]
            sx, sy = cases.spacing[image] if in_mm else (1.0, 1.0)
            there = cases.visible[image, landmark] and not math.isnan(cases.target[image, landmark, 0])
            row.append(math.sqrt((x * sx) ** 2 + (y * sy) ** 2) if there else math.nan)
        table.append(row)
    return table


def reference_summary(cases: Cases, in_mm: bool = True) -> dict[str, object]:
    """MRE, standard deviation, SDR and the means of the landmarks, with exactly rounded sums."""
    table = reference_errors(cases, in_mm)
    points = [error for row in table for error in row if not math.isnan(error)]
    mean = math.fsum(points) / len(points)
    columns = [[row[n] for row in table if not math.isnan(row[n])] for n in range(len(table[0]))]
    return {
        "mre": mean,
        "std": math.sqrt(math.fsum((error - mean) ** 2 for error in points) / len(points)),
        "sdr": {radius: 100 * sum(error < radius for error in points) / len(points) for radius in RADII},
        "landmarks": [math.fsum(column) / len(column) if column else math.nan for column in columns],
    }

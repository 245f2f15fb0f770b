"""Made-up material: shapes that vary, a model that finds them but for noise, and looks at turned images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landmark_diffusion.studies.label_faults.material import ORIENTATIONS, LabelMaterial, TurnedLooks

SHAPE = np.random.default_rng(5).uniform(100, 500, (8, 2))
NAMES = tuple(f"point {letter}" for letter in "abcdefgh")
SIZE = (600, 700)
SPACING = 0.5


def material(
    count: int = 60, seed: int = 0, annotators: int = 1, model_noise: float = 4.0, covariance: bool = True
) -> LabelMaterial:
    """Shapes that vary by place, scale and turn, labels 3 px and model's points ``model_noise`` px (an axis) beside.

    The model's noise is of a t distribution with 5 degrees of freedom.
    """
    rng = np.random.default_rng(seed)
    truth = np.empty((count, 8, 2))
    for image in range(count):
        angle, scale = rng.normal(0, 0.05), rng.normal(1, 0.05)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        truth[image] = (SHAPE - 300) @ turn.T + 300 + rng.normal(0, 30, 2)
    labels = truth[:, None] + rng.normal(0, 3, (count, annotators, 8, 2))
    points = truth + model_noise * rng.standard_t(5, (count, 8, 2))
    return LabelMaterial(
        ids=tuple(f"{place:03d}" for place in range(count)),
        sources=("table.csv",) * count,
        landmarks=NAMES,
        annotators=("senior", "junior", "third")[:annotators],
        labels=labels,
        points=points,
        covariance=np.broadcast_to(20.0 * np.eye(2), (count, 8, 2, 2)).copy() if covariance else None,
        sizes=np.tile(np.array(SIZE, dtype=np.float64), (count, 1)),
        spacing=np.full((count, 2), SPACING),
        unlike=np.zeros(count, dtype=bool),
        doubtful=np.zeros((count, 8), dtype=bool),
        unit="mm",
    )


def no_looks(seed: int = 1) -> Callable[[int], TurnedLooks]:
    """What a model finds in images that are turned and should not be: points anywhere."""
    rng = np.random.default_rng(seed)

    def look(image: int) -> TurnedLooks:
        points = rng.uniform(0, 600, (len(ORIENTATIONS), 8, 2))
        return TurnedLooks(points, np.broadcast_to(20.0 * np.eye(2), (len(ORIENTATIONS), 8, 2, 2)))

    return look

"""A small set of predictions with known errors, shared by the reporting tests."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.metrics.records import Prediction


@pytest.fixture
def variants() -> dict[str, list[Prediction]]:
    """Two variants over 7 images of 3 landmarks, two annotators, 0.1 and 0.2 mm a pixel; one point is unmarked."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Prediction]] = {"single-step": [], "multi-step": []}
    for index in range(7):
        truth = rng.uniform(40, 160, (3, 2))
        annotations = truth + rng.normal(0, 6, (2, 3, 2))
        if index == 2:
            annotations[:, 1] = np.nan
        for name, spread in (("single-step", 25.0), ("multi-step", 15.0)):
            points = truth + rng.normal(0, spread, (3, 2))
            found[name].append(Prediction(f"image_{index}", index, points, annotations, (0.1, 0.2)))
    return found

"""The mean over annotators: by point, and the same wherever a mean is taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.heatmaps.targets import make_target
from landmark_diffusion.methods.base import mean_annotation
from landmark_diffusion.metrics.annotators import offset_shift
from landmark_diffusion.metrics.records import Prediction

HALF = np.array([
    [[2.0, 4.0], [np.nan, 8.0], [1.0, np.nan], [5.0, 5.0]],
    [[4.0, 8.0], [6.0, 10.0], [np.nan, np.nan], [7.0, np.nan]],
])  # fmt: skip
MEAN = [[3.0, 6.0], [6.0, 10.0], [np.nan, np.nan], [5.0, 5.0]]
"""Of two annotators: both, the second alone, nobody (one gave x alone), the first alone."""


def sample_mean(annotations: np.ndarray) -> np.ndarray:
    return LandmarkSample("a", (20, 20), annotations).mean_points


def record_mean(annotations: np.ndarray) -> np.ndarray:
    return Prediction("a", 0, np.zeros(annotations.shape[1:]), annotations).truth


def tensor_mean(annotations: np.ndarray) -> np.ndarray:
    found = mean_annotation(torch.from_numpy(annotations)[None])
    assert found.dtype == torch.float64
    return found[0].numpy()


@pytest.mark.parametrize("mean", [mean_of_annotators, sample_mean, record_mean, tensor_mean])
def test_half_a_point_is_no_point(mean) -> None:
    """By coordinate the second would lie at (6, 9): at no place that anybody marked, and in other figures elsewhere."""
    np.testing.assert_array_equal(mean(HALF), MEAN)


def test_half_a_point_is_no_target() -> None:
    maps = make_target(torch.from_numpy(HALF)[None].float(), (20, 20))
    assert maps[0].sum((-2, -1)).tolist() == [2, 1, 0, 1]


def test_half_a_point_moves_no_offset() -> None:
    """The interval is of the same points as the mean in its middle."""
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(6, 2, 1, 2)), rng.normal(size=(6, 2, 1, 2))
    without = after.copy()
    after[2, 0, 0, 0], without[2, 0, 0] = np.nan, np.nan
    assert offset_shift(before, after, n=200) == offset_shift(before, without, n=200)

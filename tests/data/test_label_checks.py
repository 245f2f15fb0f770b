"""Labels in another unit or frame, and marks for missing points, are told; labels as they should be are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.checks.labels import check_labels, tell_labels
from landmark_diffusion.data.checks.outliers import find_outliers
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources import build_dataset

SIZE = np.array((600, 800))
SHAPE = np.random.default_rng(5).uniform(0.2, 0.9, (8, 2)) * SIZE
NAMES = [f"p{number}" for number in range(8)]
Change = Callable[[int, np.ndarray], np.ndarray]


def _samples(change: Change = lambda index, points: points, count: int = 24) -> list[LandmarkSample]:
    rng = np.random.default_rng(0)
    points = SHAPE + rng.normal(0, 10, (count, 1, 1, 2)) + rng.normal(0, 4, (count, 1, 8, 2))
    changed = [change(index, each) for index, each in enumerate(points)]
    return [LandmarkSample(f"{i:02d}", (600, 800), each, None, None, "t.csv:2") for i, each in enumerate(changed)]


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        (lambda i, p: p / SIZE, "error", "all points of all 24 images lie within 0..1: shares"),
        (lambda i, p: 2 * p / SIZE - 1, "error", "lie within -1..1: shares"),
        (lambda i, p: 100 * p / SIZE, "error", "percent of its size?"),
        (lambda i, p: p / 2, "warning", "a copy up to 2 times smaller?"),
        (lambda i, p: p / (1 + i % 2), "warning", "12 of 24 images are 0.51 times as large"),
        (lambda i, p: p / (SIZE if i < 3 else 1), "error", "all points of 3 of 24 images lie within 0..1"),
        (lambda i, p: p * 2, "error", "marked on a copy 2 times as large?"),
        (lambda i, p: p[..., ::-1], "error", "with x and y exchanged: are they exchanged?"),
        (lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 16), 0.0, p), "warning", "(0, 0) stands 16 times"),
        (lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 5), 7.0, p), "warning", "(7, 7) stands 5 times"),
    ],
)  # fmt: skip
def test_what_is_no_pixel_of_the_image_is_named(change: Change, level: str, said: str) -> None:
    (finding,) = check_labels(_samples(change), NAMES)
    assert finding.level == level and said in finding.message


def test_pixels_are_left_in_peace_and_an_error_has_a_way_out() -> None:
    assert check_labels(_samples(), NAMES) == []
    dataset = build_dataset("phantom", None)
    with pytest.raises(UserError, match=r"--data\.check_labels false"):
        tell_labels(_samples(lambda i, p: p / SIZE), dataset)


def test_marks_for_missing_points_do_not_make_the_right_ones_suspects() -> None:
    samples = _samples(lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 16), 0.0, p))
    assert find_outliers(samples) == []


@pytest.mark.parametrize("name", ["isbi2015", "chest15", "hand", "phantom"])
def test_real_labels_are_left_in_peace(name: str, shared_data: Callable[[str], Path]) -> None:
    root = None if name == "phantom" else shared_data(name)
    options = {"split": "all_train"} if name == "hand" else {}
    dataset = build_dataset("folder" if name == "chest15" else name, root, **options)
    stages = ("train", "val", "test")
    samples = [sample for stage in stages for sample in dataset.samples(stage)]  # type: ignore[arg-type]
    assert len(samples) >= 9 and check_labels(samples, dataset.landmark_names) == []

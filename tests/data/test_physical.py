"""A spacing that makes a radiograph metres large, or smaller than a tooth, is told before mm are believed."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.data.checks.labels import check_labels
from landmark_diffusion.data.checks.physical import size_doubt
from landmark_diffusion.data.sample import LandmarkSample


@pytest.mark.parametrize(
    ("size", "spacing", "said"),
    [
        ((1935, 2400), (0.1, 0.1), None),
        ((1935, 2400), (139.0, 139.0), "139 mm a pixel makes an image of 1935x2400 px 269 m wide and 334 m high"),
        ((1935, 2400), (139.0, 139.0), "is the spacing in micrometres?"),
        ((1935, 2400), (0.0001, 0.0002), "a spacing of 0.0001 and 0.0002 mm a pixel makes"),
        ((1935, 2400), (0.0001, 0.0001), "is the spacing in metres?"),
        ((300, 400), (2.5, 2.5), None),  # one metre
        ((300, 401), (2.5, 2.5), "750 mm wide and 1 m high"),
        ((100, 100), (0.1, 0.1), None),  # one centimetre
        ((100, 99), (0.0999, 0.1), "9.99 mm wide and 9.9 mm high"),
    ],
)
def test_the_size_is_told_in_words(size: tuple[int, int], spacing: tuple[float, float], said: str | None) -> None:
    found = size_doubt(size, spacing)
    assert found is None if said is None else said in str(found)


def test_all_images_share_one_warning() -> None:
    rng = np.random.default_rng(0)
    samples = [
        LandmarkSample(f"{i}", (600, 800), rng.uniform(100, 500, (1, 4, 2)), (100.0, 100.0), None, f"t.csv:{i + 2}")
        for i in range(8)
    ]
    (finding,) = check_labels(samples, ["a", "b", "c", "d"])
    assert finding.level == "warning" and finding.message == (
        "t.csv:2: a spacing of 100 mm a pixel makes an image of 600x800 px 60 m wide and 80 m high (is the spacing in "
        "micrometres?); so for 8 of 8 images (0, 1, 2, 3, 4, ...). All mm would be wrong"
    )

"""A resized image lies where Frame puts its points: half a pixel off would shift every landmark by 0.1 mm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.geometry import Frame, ResizeMode
from landmark_diffusion.data.resize import resize_image

SIZES = [
    ((1935, 2400), (640, 800)),
    ((1935, 2400), (96, 128)),
    ((1935, 2400), (256, 256)),
    ((1000, 700), (333, 271)),
    ((299, 299), (64, 64)),
    ((200, 150), (640, 480)),  # both axes grow
    ((123, 157), (301, 299)),
    ((400, 100), (200, 230)),  # one shrinks, one grows
    ((100, 400), (230, 200)),
]


def _spot(size: tuple[int, int], centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
    """A Gaussian spot on black, (H, W) uint8, cut off where it falls below half a grey level."""
    x = np.exp(-0.5 * ((np.arange(size[0]) - centre[0]) / sigma[0]) ** 2)
    y = np.exp(-0.5 * ((np.arange(size[1]) - centre[1]) / sigma[1]) ** 2)
    return np.rint(255 * np.outer(y, x)).astype(np.uint8)


def _centroid(image: np.ndarray) -> np.ndarray:
    weights = image.astype(np.float64)
    x, y = np.arange(image.shape[1]), np.arange(image.shape[0])
    return np.array([(weights.sum(0) * x).sum(), (weights.sum(1) * y).sum()]) / weights.sum()


@pytest.mark.parametrize("mode", ["stretch", "pad"])
@pytest.mark.parametrize(("original", "network"), SIZES)
def test_spot_moves_where_frame_says(original: tuple[int, int], network: tuple[int, int], mode: ResizeMode) -> None:
    frame = Frame.fit(original, network, mode)
    rng = np.random.default_rng(0)
    # Wide enough to be sampled well on both grids: at least 2 px on each.
    sigma = (2.0 * max(1.0, 1 / frame.scale[0]), 2.0 * max(1.0, 1 / frame.scale[1]))
    errors = []
    for _ in range(8):
        centre = (rng.uniform(0.3, 0.7) * original[0], rng.uniform(0.3, 0.7) * original[1])
        image = _spot(original, centre, sigma)
        found = _centroid(resize_image(image, frame))
        errors.append(found - frame.to_network(_centroid(image)))
    assert np.abs(errors).max() < 0.02


@pytest.mark.parametrize(("original", "network"), SIZES)
def test_pad_fills_right_and_bottom_with_zero(original: tuple[int, int], network: tuple[int, int]) -> None:
    frame = Frame.fit(original, network, "pad")
    resized = resize_image(np.full(original[::-1], 200, np.uint8), frame)
    width, height = frame.content_size
    assert resized.shape == network[::-1] and resized.dtype == np.uint8
    assert (resized[:height, :width] == 200).all()
    assert not resized[height:].any() and not resized[:, width:].any()


def test_shrinking_by_whole_factors_is_the_mean_of_blocks() -> None:
    image = np.random.default_rng(3).integers(0, 256, (60, 80), dtype=np.uint8)
    resized = resize_image(image, Frame.fit((80, 60), (20, 20)))
    blocks = image.reshape(20, 3, 20, 4).mean(axis=(1, 3))
    assert np.abs(resized - blocks).max() <= 0.5 + 1e-6


def test_same_size_is_unchanged() -> None:
    image = np.random.default_rng(4).integers(0, 256, (33, 21), dtype=np.uint8)
    np.testing.assert_array_equal(resize_image(image, Frame.fit((21, 33), (21, 33))), image)


def test_image_of_another_size_than_its_frame_is_refused() -> None:
    with pytest.raises(UserError, match="20x10"):
        resize_image(np.zeros((10, 20), np.uint8), Frame.fit((10, 20), (5, 5)))


@settings(max_examples=60, deadline=None)
@given(
    original=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    network=st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
    mode=st.sampled_from(["stretch", "pad"]),
    seed=st.integers(0, 99),
)
def test_frame_round_trip(original: tuple[int, int], network: tuple[int, int], mode: ResizeMode, seed: int) -> None:
    frame = Frame.fit(original, network, mode)
    points = np.random.default_rng(seed).uniform(-0.5, np.asarray(original) - 0.5, (20, 2))
    assert np.abs(frame.to_original(frame.to_network(points)) - points).max() < 1e-9

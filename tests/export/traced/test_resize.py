"""Resizing in a graph gives the pixels of data/resize.py, whose OpenCV is the oracle."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark_diffusion.data.geometry import Frame, ResizeMode
from landmark_diffusion.data.resize import resize_image
from landmark_diffusion.export.traced.resize import resize

MODES: tuple[ResizeMode, ...] = ("stretch", "pad")


def _both(shape: tuple[int, int], size: tuple[int, int], mode: ResizeMode) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels by OpenCV, and those of the graph."""
    noise = np.random.default_rng(shape[0]).integers(0, 256, shape).astype(np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 1.2) if min(shape) > 4 else noise
    frame = Frame.fit(shape[::-1], size, mode)
    found = resize(torch.from_numpy(image), size, mode)
    assert np.allclose(found.scale.numpy(), frame.scale, rtol=1e-12)
    return resize_image(image, frame).astype(int), found.grey.numpy()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2400, 1935), (960, 768), (1440, 1152), (1234, 999), (481, 385), (480, 384)])
def test_what_shrinks_is_the_same_to_the_grey_level(shape: tuple[int, int], mode: ResizeMode) -> None:
    """Radiographs are larger than the network's image."""
    ours, theirs = _both(shape, (384, 480), mode)
    assert (ours != theirs).mean() < 2e-5 and np.abs(ours - theirs).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 160), st.integers(1, 160), st.integers(1, 70), st.integers(1, 70), st.sampled_from(MODES))
def test_any_size_to_any_other(height: int, width: int, side_y: int, side_x: int, mode: ResizeMode) -> None:
    """Also where an axis grows: OpenCV rounds there by the processor's instructions, to a grey level."""
    ours, theirs = _both((height, width), (side_x, side_y), mode)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("shape", [(300, 200), (96, 77), (479, 300)])
def test_what_grows_is_rounded_as_opencv_does(shape: tuple[int, int]) -> None:
    """Rounding the exact value would change every eighth pixel."""
    ours, theirs = _both(shape, (384, 480), "stretch")
    assert (ours != theirs).mean() < 0.005

"""Resizing an image into a Frame's grid, exactly where the Frame maps its points."""

from __future__ import annotations

import cv2
import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.geometry import Frame


def resize_image(image: np.ndarray, frame: Frame) -> np.ndarray:
    """Resize (H, W) uint8 original pixels to the network's (H, W) uint8, padded with 0 at the right and bottom.

    An axis that shrinks is averaged over areas, one that grows is interpolated linearly; both keep pixel centres where
    ``Frame`` puts them (docs/conventions.md). Raises UserError if the image is not of the frame's original size.
    """
    height, width = image.shape
    if (width, height) != frame.original_size:
        raise UserError(f"the image is {width}x{height} px, but its frame was fitted to {frame.original_size}")
    content = _resize(image, frame.content_size)
    pad_right, pad_bottom = (n - c for n, c in zip(frame.network_size, frame.content_size, strict=True))
    if pad_right or pad_bottom:
        content = np.pad(content, ((0, pad_bottom), (0, pad_right)))
    return np.ascontiguousarray(content)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) to ``size`` (width, height), each axis by what suits it."""
    height, width = image.shape
    if size == (width, height):
        return image
    shrunk = (min(size[0], width), min(size[1], height))
    if shrunk == size:
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if shrunk == (width, height):
        return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    # One axis shrinks, the other grows: cv2 would interpolate both, so each has its own pass (float in between).
    passed = cv2.resize(image.astype(np.float32), shrunk, interpolation=cv2.INTER_AREA)
    return np.rint(cv2.resize(passed, size, interpolation=cv2.INTER_LINEAR)).clip(0, 255).astype(np.uint8)

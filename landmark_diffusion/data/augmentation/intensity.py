"""Intensity steps on uint8 images (H, W): exact 8-bit lookup tables, and the cutout.

A table maps each of the 256 grey levels by the formula and rounds once, to the nearest level. albumentations 2.0.8 cuts
off instead of rounding (half a grey level too dark on average) and takes 2 s to import, so its steps are not used here;
the tests compare with it.
"""

from __future__ import annotations

import cv2
import numpy as np

LEVELS = np.arange(256, dtype=np.float64)
CUTOUT_FILL = 128  # imgaug's default: mid grey


def multiply_table(factor: float) -> np.ndarray:
    """Return round(factor v), clipped to [0, 255]: a (256,) uint8 table."""
    return to_levels(LEVELS * factor)


def gamma_table(gamma: float) -> np.ndarray:
    """Return round(255 (v / 255)^gamma): a (256,) uint8 table."""
    return to_levels(255.0 * (LEVELS / 255.0) ** gamma)


def contrast_table(contrast: float, brightness: float) -> np.ndarray:
    """Return round(contrast (v - 127.5) + 127.5 + 255 brightness), clipped to [0, 255]: a (256,) uint8 table."""
    return to_levels(contrast * (LEVELS - 127.5) + 127.5 + 255.0 * brightness)


def apply_table(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look each pixel of a uint8 image up in a (256,) uint8 table; an identity table returns the image itself."""
    return image if (table == LEVELS).all() else cv2.LUT(image, table)


def cutout(image: np.ndarray, centre: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
    """Fill one rectangle of a copy of the image (H, W) with mid grey.

    ``centre`` and ``size`` are (x, y) fractions of width and height; the part outside the image is lost.
    """
    sides = np.array(image.shape[::-1], dtype=np.float64)
    low = (np.array(centre) - np.array(size) / 2.0) * sides
    x0, y0 = np.maximum(np.rint(low), 0).astype(int)
    x1, y1 = np.rint(low).astype(int) + np.floor(np.array(size) * sides).astype(int)
    filled = image.copy()
    filled[y0 : max(y1, 0), x0 : max(x1, 0)] = CUTOUT_FILL
    return filled


def to_levels(values: np.ndarray) -> np.ndarray:
    """Round values of any shape to the nearest grey level, uint8."""
    levels: np.ndarray = np.clip(np.rint(values), 0, 255)
    return levels.astype(np.uint8)

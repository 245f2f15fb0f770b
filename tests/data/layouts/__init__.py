"""Every layout that an image file can have here, written by other programs, with what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

H, W = 40, 47
"""An odd width, so that rows of packed bits end within a byte."""
LEVELS = np.add.outer(np.arange(H) * 4, np.arange(W) * 2).astype(np.uint8)
LEVELS[0, 0], LEVELS[-1, -1] = 0, 255
COLOUR = np.stack([LEVELS, LEVELS[::-1], 255 - LEVELS // 2], -1)
"""Red, green and blue, (H, W, 3) uint8."""
ALPHA = LEVELS[:, ::-1].copy()


@dataclass(frozen=True)
class Layout:
    """One layout: how to write it, and how another reader or the samples themselves tell the grey.

    ``write`` writes the file; ``grey`` takes its path and returns (H, W) uint8, None where the file must be refused
    with ``says``.
    """

    name: str
    write: Callable[[Path], object]
    grey: Callable[[Path], np.ndarray] | None = None
    says: str = "of a kind that is not read"
    tolerance: int = 0
    """Grey levels, where two decoders of a lossy stream may round otherwise."""
    apart: bool = False
    """Decoded in a process of its own, which takes seconds."""


def of_depth(levels: np.ndarray, bits: int) -> np.ndarray:
    """The picture on the grid of ``bits`` bits."""
    return np.rint(levels * ((2**bits - 1) / 255)).astype(np.uint8 if bits <= 8 else np.uint16)


def grey_of(values: np.ndarray, bits: int) -> np.ndarray:
    """Grey of (H, W) or luminance of (H, W, 3) by the documented formula, in whole numbers of any size."""
    if values.ndim == 3:
        weights = np.array([19595, 38470, 7471], np.int64)  # 0.299, 0.587, 0.114 of 65536
        return ((values.astype(np.int64) @ weights * 510 + 65536 * (2**bits - 1)) // (131072 * (2**bits - 1))).astype(
            np.uint8
        )
    return ((values.astype(np.int64) * 510 + 2**bits - 1) // (2 * (2**bits - 1))).astype(np.uint8)


def least_depth(values: np.ndarray) -> int:
    """The documented rule for 16-bit files: the least of 8, 10, 12, 14 and 16 bits that holds the values."""
    return min(bits for bits in (8, 10, 12, 14, 16) if int(values.max()) < 2**bits)


def written(content: bytes) -> Callable[[Path], object]:
    """A writer of these bytes."""
    return lambda path: path.write_bytes(content)

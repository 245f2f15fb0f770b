"""Changes of grey values that leave every point where it is: grey (H, W) uint8 and rng to (H, W) uint8.

Lengths are shares of the image's width, so that images of any resolution are changed alike.
"""

from __future__ import annotations

import cv2
import numpy as np

LEVELS = np.arange(256) / 255.0


def film_curve(grey: np.ndarray, rng: np.random.Generator, slope: float) -> np.ndarray:
    """Hurter and Driffield's curve of film: density over log exposure as a logistic of ``slope``.

    Toe and shoulder swallow the darkest and brightest levels; the middle is drawn from 0.4 to 0.6 of the range.
    """
    curve = 1 / (1 + np.exp(-slope * (LEVELS - rng.uniform(0.4, 0.6))))
    return cv2.LUT(grey, _levels((curve - curve[0]) / (curve[-1] - curve[0]) * 255))


def gamma(grey: np.ndarray, rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Raise the share of white to ``exponent``: above 1 is darker."""
    return cv2.LUT(grey, _levels(255 * LEVELS**exponent))


def flat(grey: np.ndarray, rng: np.random.Generator, contrast: float, black: tuple[int, int]) -> np.ndarray:
    """Press the range to the share ``contrast`` of it, above a black that is drawn from ``black``."""
    return cv2.LUT(grey, _levels(rng.uniform(*black) + contrast * 255 * LEVELS))


def posterised(grey: np.ndarray, rng: np.random.Generator, levels: int) -> np.ndarray:
    """Keep ``levels`` grey levels, evenly apart."""
    return cv2.LUT(grey, _levels(np.rint(LEVELS * (levels - 1)) / (levels - 1) * 255))


def negative(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Black for white, as a viewer shows MONOCHROME1 that it takes for MONOCHROME2."""
    return np.asarray(255 - grey)


def part_inverted(grey: np.ndarray, rng: np.random.Generator, share: tuple[float, float]) -> np.ndarray:
    """Black for white beyond a straight edge of any direction, in ``share`` of the image."""
    x, y = _places(grey)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    edge = np.quantile(along[::8, ::8], 1 - rng.uniform(*share))
    return np.where(along > edge, 255 - grey, grey)


def clahe(grey: np.ndarray, rng: np.random.Generator, tiles: int, clip: float) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation in ``tiles`` x ``tiles`` tiles."""
    return cv2.createCLAHE(clip, (tiles, tiles)).apply(grey)


def edges(grey: np.ndarray, rng: np.random.Generator, amount: float, radius: float) -> np.ndarray:
    """Unsharp mask: ``amount`` times what a Gaussian of ``radius`` (share of the width) takes away is added again."""
    image = grey.astype(np.float32)
    return _levels(image + amount * (image - cv2.GaussianBlur(image, (0, 0), max(radius * grey.shape[1], 0.6))))


def shading(grey: np.ndarray, rng: np.random.Generator, heel: float, vignette: float) -> np.ndarray:
    """Heel effect and vignetting: darker by the share ``heel`` towards one side, by ``vignette`` in the corners."""
    x, y = _places(grey)
    angle = rng.uniform(0, 2 * np.pi)
    side = 0.5 + (np.cos(angle) * x + np.sin(angle) * y) / 2 / (abs(np.cos(angle)) + abs(np.sin(angle)))
    return _levels(grey * (1 - heel * side**1.5) * (1 - vignette * ((x**2 + y**2) / 2) ** 1.5))


def noise(grey: np.ndarray, rng: np.random.Generator, quanta: float, banding: float, grain: float) -> np.ndarray:
    """Quantum noise and horizontal bands.

    A white pixel of a grain (share of the width) is ``quanta`` quanta, with Poisson's variance; ``banding`` is the
    standard deviation of the rows in grey levels.
    """
    height, width = grey.shape
    coarse = (min(width, round(1 / grain)), min(height, round(height / width / grain)))
    mean = cv2.resize(grey, coarse, interpolation=cv2.INTER_AREA).astype(np.float64) / 255 * quanta
    speckle = (rng.poisson(mean) - mean) * 255 / quanta
    bands = np.repeat(rng.normal(0, banding, (coarse[1] + 2) // 3), 3)[: coarse[1], None]
    field = cv2.resize((speckle + bands).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return _levels(grey + field)


def motion_blur(grey: np.ndarray, rng: np.random.Generator, length: float) -> np.ndarray:
    """Smear along a straight way of ``length`` (share of the width) in any direction, to both sides alike."""
    half = max(length * grey.shape[1] / 2, 1.0)
    reach = int(np.ceil(half)) + 1
    angle = rng.uniform(0, np.pi)
    step = half * np.array([np.cos(angle), np.sin(angle)])
    kernel = np.zeros((2 * reach + 1,) * 2, np.uint8)
    start, end = (np.rint((reach + sign * step) * 16).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, end, 255, 1, cv2.LINE_AA, shift=4)
    weights = kernel.astype(np.float32) + kernel[::-1, ::-1]  # symmetric to the last bit: nothing moves
    return cv2.filter2D(grey, -1, weights / weights.sum(), borderType=cv2.BORDER_REPLICATE)


def grid_lines(grey: np.ndarray, rng: np.random.Generator, period: tuple[float, float], depth: float) -> np.ndarray:
    """Lines of an anti-scatter grid that was not moved, with the moire of a second one of nearly the same period.

    ``period`` is the range of their distance (share of the width), ``depth`` the share of grey that each takes.
    """
    x, y = (place * side / 2 for place, side in zip(_places(grey), grey.shape[::-1], strict=True))
    angle = rng.choice([0.0, np.pi / 2]) + rng.uniform(-0.05, 0.05)
    distance, phase = rng.uniform(*period) * grey.shape[1], rng.uniform(0, 2 * np.pi)
    field = np.ones(grey.shape, np.float32)
    for turn, stretch in ((0.0, 1.0), (rng.uniform(0.03, 0.08), 1.06)):
        along = np.cos(angle + turn) * x + np.sin(angle + turn) * y
        field *= 1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * along / (distance * stretch) + phase))
    return _levels(grey * field)


def _places(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns (1, W) and rows (H, 1) from -1 to 1."""
    height, width = grey.shape
    return np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]


def _levels(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.clip(np.rint(values), 0, 255)
    return found.astype(np.uint8)

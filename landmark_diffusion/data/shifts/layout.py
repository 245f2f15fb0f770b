"""Changes of what the image shows and how: its frame, its place in the plane, what lies over it.

Each takes grey (H, W) uint8, points (N, 2) original pixels (NaN for a missing one) and rng, and gives a ShiftedImage.
The points are what a cut keeps in and a mark does not cover, where there is room for that.
"""

from __future__ import annotations

import cv2
import numpy as np

from landmark_diffusion.data.shifts.shifted import IDENTITY, ShiftedImage, about, narrowed, resampled, shift_by

LEAST = 0.3
"""Share of the sides that a cut leaves to see of an image with few landmarks."""


def margin(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, share: float, fill: int) -> ShiftedImage:
    """Add ``share`` of each side's length at both of its ends on average, of one grey: the head is smaller."""
    (top, bottom), (left, right) = (_two_parts(2 * share * side, rng) for side in grey.shape)
    padded = np.pad(grey, ((top, bottom), (left, right)), constant_values=fill)
    return ShiftedImage(padded, shift_by(left, top))


def zoom(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, room: float) -> ShiftedImage:
    """Cut out a window of the image's aspect that has all points ``room`` (share of its sides) away from its border."""
    size = np.array(grey.shape[::-1])
    low, high = _box(points, size)
    share = min(1.0, float(((high - low) / (1 - 2 * room) / size).max()))
    window = np.minimum(np.ceil(size * share), size)
    first = np.maximum(high + room * window - window, 0)
    last = np.maximum(np.minimum(low - room * window, size - window), first)
    start = np.clip(np.rint(rng.uniform(first, last)), 0, size - window).astype(int)
    (x, y), (width, height) = start, window.astype(int)
    return ShiftedImage(grey[y : y + height, x : x + width].copy(), shift_by(-x, -y))


def stretch(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, aspect: float) -> ShiftedImage:
    """Make what is shown wider or narrower by ``aspect``, of the same area, on the same canvas."""
    factor = np.sqrt(aspect) ** rng.choice([-1, 1])
    return _moved(grey, about(_centre(grey), np.diag([factor, 1 / factor])))


def turn(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, degrees: float) -> ShiftedImage:
    """Turn by ``degrees`` to either side about the image's centre."""
    angle = np.deg2rad(degrees) * rng.choice([-1, 1])
    return _moved(
        grey, about(_centre(grey), np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))
    )


def photograph(
    grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, slant: float, light: float
) -> ShiftedImage:
    """Photograph a film on a light box from aslant.

    Each corner moves inwards by up to ``slant`` (share of the sides), at least a quarter of that; outside is the box;
    light falls by the share ``light`` away from its middle, which lies anywhere, and the lens is a little soft.
    """
    size = np.array(grey.shape[::-1])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (size - 1.0)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    there = corners + inwards * rng.uniform(slant / 4, slant, (4, 2)) * size
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), there.astype(np.float32)).astype(np.float64)
    shown = resampled(grey, matrix, fill=int(rng.integers(215, 250)))
    shown = cv2.GaussianBlur(shown, (0, 0), max(size[0] / 800, 0.5))
    x, y = (
        np.linspace(0, 1, side, dtype=np.float32) - middle
        for side, middle in zip(size, rng.uniform(0.2, 0.8, 2), strict=True)
    )
    falloff = 1 - light * np.minimum(x[None] ** 2 + y[:, None] ** 2, 1)
    return ShiftedImage(np.rint(shown * falloff).astype(np.uint8), matrix)


def collimated(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, room: float, fill: int) -> ShiftedImage:
    """Cover what lies outside an oval or a polygon, which holds all points and ``room`` (share of its size) more."""
    size = np.array(grey.shape[::-1])
    low, high = _box(points, size)
    middle, reach = (low + high) / 2, (high - low) / 2
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    if rng.random() < 0.5:
        angles = np.sort(np.arange(8) + rng.uniform(-0.25, 0.25, 8)) * np.pi / 4
    shape = np.stack([np.cos(angles), np.sin(angles)], -1)
    known = points[np.isfinite(points).all(-1)]
    outline = middle + shape * reach * (1 + room) * _smallest_factor(shape, (known - middle) / reach)
    open_part = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(open_part, [np.rint(outline).astype(np.int32)], 1)
    hidden = open_part == 0
    return ShiftedImage(np.where(hidden, np.uint8(fill), grey), IDENTITY, hidden)


def narrow(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, width: int) -> ShiftedImage:
    """Shrink to ``width`` px."""
    return ShiftedImage(*narrowed(grey, width))


def jpeg(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, quality: int, width: int) -> ShiftedImage:
    """Shrink to ``width`` px and store as JPEG of ``quality``."""
    small, matrix = narrowed(grey, width)
    _, stored = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return ShiftedImage(np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE), np.uint8), matrix)


def _moved(grey: np.ndarray, matrix: np.ndarray) -> ShiftedImage:
    return ShiftedImage(resampled(grey, matrix), matrix)


def _centre(grey: np.ndarray) -> np.ndarray:
    return (np.array(grey.shape[::-1]) - 1) / 2


def _two_parts(length: float, rng: np.random.Generator) -> tuple[int, int]:
    """Divide a length of pixels at 30 to 70 %."""
    whole = max(round(length), 2)
    first = round(whole * rng.uniform(0.3, 0.7))
    return first, whole - first


def _box(points: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, y) of the points that are there, within the image, and ``LEAST`` of its sides at least.

    Without any point they are those of the image.
    """
    known = points[np.isfinite(points).all(-1)]
    if len(known) == 0:
        return np.zeros(2), size - 1.0
    low, high = (np.clip(each, 0, size - 1) for each in (known.min(0), known.max(0)))
    spare = np.maximum(LEAST * size - (high - low), 0) / 2
    return np.clip(low - spare, 0, size - 1), np.clip(high + spare, 0, size - 1)


def _smallest_factor(shape: np.ndarray, points: np.ndarray) -> float:
    """By how much a convex outline (K, 2) about 0 has to grow to hold all points (M, 2): 1 or more."""
    along = np.roll(shape, -1, 0) - shape
    normals = np.stack([along[:, 1], -along[:, 0]], -1)
    distances = (normals * shape).sum(-1)
    factors = points @ (normals / distances[:, None]).T
    return float(factors.max(initial=1.0))

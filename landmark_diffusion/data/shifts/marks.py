"""What lies over a radiograph: burned-in text, a ruler, the head holder and the rings of its ear rods."""

from __future__ import annotations

import cv2
import numpy as np

from landmark_diffusion.data.shifts.shifted import IDENTITY, ShiftedImage

WORDS = ("R", "L", "CEPH 77kV 12mA", "1:1", "12 NOV", "KLINIK B", "NO 4711", "100 mm")
TRIES = 40
"""How often a place is drawn before one over a landmark is taken, which then counts as hidden."""


def marked(
    grey: np.ndarray, points: np.ndarray, rng: np.random.Generator, texts: int, rings: int, metal: int
) -> ShiftedImage:
    """Draw ``texts`` words, a ruler, ``rings`` rings and the rods of a head holder, all opaque.

    Each lies where it covers none of the points (N, 2) as long as such a place is found; metal has the grey ``metal``.
    """
    sheet = _Sheet(grey, points)
    for word in rng.choice(WORDS, texts, replace=False):
        sheet.put(lambda layer, word=word: _text(layer, str(word), rng), int(rng.choice([0, 255])))
    sheet.put(lambda layer: _ruler(layer, rng), 255)
    for _ in range(rings):
        sheet.put(lambda layer: _ring(layer, rng), metal)
    sheet.put(lambda layer: _rod(layer, rng), metal)
    return ShiftedImage(sheet.grey, IDENTITY, sheet.hidden)


class _Sheet:
    """The image, and what of it is hidden so far."""

    def __init__(self, grey: np.ndarray, points: np.ndarray) -> None:
        self.grey, self.hidden = grey.copy(), np.zeros(grey.shape, bool)
        size = np.array(grey.shape[::-1])
        known = points[np.isfinite(points).all(-1)]
        self.places = np.clip(np.rint(known), 0, size - 1).astype(int)
        self.near = max(2, round(size[0] / 40))

    def put(self, draw: object, level: int) -> None:
        """Draw what ``draw`` puts (255) onto an empty layer, at a place that leaves the points free."""
        assert callable(draw)
        for _ in range(TRIES):
            layer = np.zeros(self.grey.shape, np.uint8)
            draw(layer)
            around = cv2.dilate(layer, np.ones((self.near,) * 2, np.uint8))
            if not around[self.places[:, 1], self.places[:, 0]].any():
                break
        self.grey[layer > 0] = level
        self.hidden |= layer > 0


def _text(layer: np.ndarray, word: str, rng: np.random.Generator) -> None:
    height, width = layer.shape
    scale, thick = width / 450 * rng.uniform(0.5, 1.0), max(1, width // 300)
    (long, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    x, y = rng.uniform(0, max(width - long, 1)), rng.uniform(high, max(height - high, high + 1))
    cv2.putText(layer, word, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick)


def _ruler(layer: np.ndarray, rng: np.random.Generator) -> None:
    """A scale of ten parts, upright, near one of the sides."""
    height, width = layer.shape
    x = int(width * rng.choice([rng.uniform(0.03, 0.2), rng.uniform(0.8, 0.97)]))
    top, step, thick = int(height * rng.uniform(0.05, 0.5)), height * 0.04, max(1, width // 250)
    cv2.line(layer, (x, top), (x, int(top + 10 * step)), 255, thick)
    for tick in range(11):
        reach = int(width * (0.04 if tick % 5 == 0 else 0.02))
        cv2.line(layer, (x, int(top + tick * step)), (x + reach, int(top + tick * step)), 255, thick)


def _ring(layer: np.ndarray, rng: np.random.Generator) -> None:
    height, width = layer.shape
    centre = (int(width * rng.uniform(0.2, 0.8)), int(height * rng.uniform(0.2, 0.8)))
    radius = int(width * rng.uniform(0.02, 0.05))
    cv2.circle(layer, centre, max(radius, 2), 255, max(1, radius // 3))
    cv2.circle(layer, centre, max(radius // 4, 1), 255, -1)


def _rod(layer: np.ndarray, rng: np.random.Generator) -> None:
    """A bar from the upper border down to the forehead or the ear, with a plate at its end."""
    height, width = layer.shape
    x, low = int(width * rng.uniform(0.1, 0.9)), int(height * rng.uniform(0.2, 0.45))
    lean = int(width * rng.uniform(-0.05, 0.05))
    cv2.line(layer, (x + lean, 0), (x, low), 255, max(2, width // 45))
    cv2.circle(layer, (x, low), max(width // 40, 2), 255, -1)

"""Small radiographs as other devices, rooms and exports might give them: far stronger than what landmarks allow.

Points are not kept: this is for a network that looks at the image as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np

from landmark_diffusion.data.augmentation import intensity

TURN = 20.0
"""Degrees that an image is turned by at most: far from the 45 at which a quarter turn would be as near."""
ZOOM = (0.6, 1.5)
ASPECT = 0.1
"""Exponent of the stretch to each side: images are stretched to a square, whatever their aspect was."""
SHIFT = 0.15
CUT = 0.15
"""Share of a side that is cut off and covered, at most: margins, collimators, another field of view."""
GAMMA, CONTRAST, BRIGHTNESS = (1 / np.e, np.e), (0.6, 2.5), (-0.3, 0.3)


def other_device(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one of the ways that an image (H, W) uint8 might look elsewhere, (side, side) uint8."""
    seen = _field_of_view(image, side, rng)
    if rng.random() < 0.3:
        tiles = int(rng.integers(2, 7))
        seen = cv2.createCLAHE(rng.uniform(1, 6), (tiles, tiles)).apply(seen)
    gamma, contrast = (np.exp(rng.uniform(*np.log(limits))) for limits in (GAMMA, CONTRAST))
    # in float, so that what is bright is not cut off before the shading
    values = ((intensity.LEVELS / 255) ** gamma - 0.5) * contrast + 0.5 + rng.uniform(*BRIGHTNESS)
    grey = values.clip(0, 1)[seen]
    if rng.random() < 0.3:
        grey = cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.5:
        grey = grey + cv2.resize(rng.uniform(-0.3, 0.3, (3, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    grey = grey + rng.normal(0, rng.uniform(0, 0.08), grey.shape)
    found = np.rint(255 * grey.clip(0, 1)).astype(np.uint8)
    return _cover(found, rng) if rng.random() < 0.5 else found


def _field_of_view(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Cut, turn, zoom, stretch and shift; what comes in from outside has one grey, or repeats the border."""
    height, width = image.shape
    angle, zoom = np.deg2rad(rng.uniform(-TURN, TURN)), np.exp(rng.uniform(*np.log(ZOOM)))
    stretch = np.exp(rng.uniform(-ASPECT, ASPECT))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([zoom * stretch * side / width, zoom / stretch * side / height])
    shift = rng.uniform(-SHIFT, SHIFT, 2) * side
    offset = (side - 1) / 2 + shift - matrix @ ((np.array([width, height]) - 1) / 2)
    outside = int(rng.choice([0, 255, int(np.median(image)), int(rng.integers(256))]))
    if rng.random() < 0.5:
        image = _cut(image, outside, rng)
    border = cv2.BORDER_CONSTANT if rng.random() < 0.8 else cv2.BORDER_REPLICATE
    affine = np.column_stack([matrix, offset])
    return cv2.warpAffine(image, affine, (side, side), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=outside)


def _cut(image: np.ndarray, value: int, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape
    left, right, top, bottom = rng.uniform(0, CUT, 4) * (width, width, height, height) * (rng.random(4) < 0.5)
    found = np.full_like(image, value)
    inside = (slice(int(top), height - int(bottom)), slice(int(left), width - int(right)))
    found[inside] = image[inside]
    return found


def _cover(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover one to three rectangles with a grey each: markers, names, shutters, implants."""
    found = image.copy()
    for _ in range(rng.integers(1, 4)):
        size, centre = rng.uniform(0.05, 0.35, 2), rng.uniform(0, 1, 2)
        low, high = (((centre + half * size / 2) * image.shape).clip(0).astype(int) for half in (-1, 1))
        found[low[0] : high[0], low[1] : high[1]] = rng.integers(256)
    return found

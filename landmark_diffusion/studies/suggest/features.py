"""What an image looks like without any label: where its edges run, with the head laid on that of the others.

Strength and direction of edges on a small version of the image, in cells and of length 1 or less each (after Dalal and
Triggs, CVPR 2005). Grey values are first divided by their local contrast and directions have no sign, so that exposure,
contrast, film base and a negative change little. Each image is then moved and enlarged to lie on the mean of all: else
distances would tell how the patient stood, which is no matter for who learns from moved images.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SCALES = (0.85, 0.92, 1.0, 1.08, 1.17)
"""Sizes in which an image is laid on the others."""
COMPONENTS = 32
"""Principal components that are kept of the features of a pool."""
ROUNDS = 2
"""How often the mean is taken anew and the images are laid on it."""
_SIDE, _CELL, _DIRECTIONS = 96, 4, 8  # pixels of the small image and of a cell
_MARGIN = 4  # cells at each edge that moving may cost: what is compared is within
_LOCAL = 6.0  # pixels: standard deviation of the neighbourhood that contrast is measured in
_SMALLEST = 2.0  # grey levels: contrast below is noise of a film's margin
_SHARED = 3.0  # pixels: standard deviation over which edges are gathered
_FAINT = 0.3  # strength of gathered edges that count as half


def edge_views(grey: np.ndarray) -> np.ndarray:
    """Describe (H, W) uint8 by its edges at S ``SCALES`` in C x C cells and D directions: (S, C, C, D) float16."""
    small = grey
    while min(small.shape) >= 4 * _SIDE:  # far faster than areas of a large image at once, and the same
        small = cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2), interpolation=cv2.INTER_AREA)
    small = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.stack([_edges(_scaled(small, scale)) for scale in SCALES]).astype(np.float16)


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """Enlarge about the centre; what is then missing at the edges is filled with the nearest pixels."""
    middle = (_SIDE - 1) / 2
    matrix = np.array([[scale, 0, middle * (1 - scale)], [0, scale, middle * (1 - scale)]])
    return cv2.warpAffine(image, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)


def _edges(image: np.ndarray) -> np.ndarray:
    """Edges by cell and direction, (C, C, D) float32, those of a cell of length below 1."""
    values = image.astype(np.float32)
    centred = values - cv2.GaussianBlur(values, (0, 0), _LOCAL)
    contrast = np.sqrt(cv2.GaussianBlur(centred * centred, (0, 0), _LOCAL))
    local = centred / (contrast + _SMALLEST)
    across, down = cv2.Sobel(local, cv2.CV_32F, 1, 0), cv2.Sobel(local, cv2.CV_32F, 0, 1)
    strength, angle = np.hypot(across, down), np.arctan2(down, across) / np.pi * _DIRECTIONS
    planes = [cv2.GaussianBlur(strength * _share(angle, k), (0, 0), _SHARED) for k in range(_DIRECTIONS)]
    cells = np.stack(planes, -1)[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL]
    unit: np.ndarray = cells / np.sqrt(np.square(cells).sum(-1, keepdims=True) + _FAINT**2)
    return unit


def _share(angle: np.ndarray, direction: int) -> np.ndarray:
    """How much an edge counts for a direction: 1 where it has it, 0 from the neighbouring ones on."""
    half = _DIRECTIONS / 2
    share: np.ndarray = np.clip(1 - np.abs((angle - direction + half) % _DIRECTIONS - half), 0, None)
    return share


def aligned(views: Sequence[np.ndarray]) -> np.ndarray:
    """Lay images on their common mean by place and size: views of ``edge_views``, I of them, to features (I, F)."""
    inner = slice(_MARGIN, -_MARGIN)
    found = np.stack([each[SCALES.index(1.0), inner, inner] for each in views]).astype(np.float32)
    for _ in range(ROUNDS):
        mean = found.mean(0)
        found = np.stack([_laid_on(mean, each.astype(np.float32)) for each in views])
    return found.reshape(len(found), -1)


def _laid_on(mean: np.ndarray, views: np.ndarray) -> np.ndarray:
    """The part of one view that is most like the mean."""
    best, least = np.zeros_like(mean), np.inf
    for view in views:
        misfit = np.sum([_misfit(view[..., k], mean[..., k]) for k in range(_DIRECTIONS)], axis=0)
        lowest, _, (left, top), _ = cv2.minMaxLoc(misfit)
        if lowest < least:
            best, least = view[top : top + len(mean), left : left + len(mean)], lowest
    return best


def _misfit(plane: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Sum of squared differences at each place where the mean fits into the plane."""
    found = cv2.matchTemplate(np.ascontiguousarray(plane), np.ascontiguousarray(mean), cv2.TM_SQDIFF)
    return np.asarray(found)


def principal(features: np.ndarray, components: int = COMPONENTS) -> np.ndarray:
    """Reduce features (I, F) to at most so many principal components, (I, K) float64, of mean 0 and not rescaled."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    if len(centred) <= centred.shape[1]:  # the smaller of the two products
        values, vectors = np.linalg.eigh(centred @ centred.T)
        scores = vectors * np.sqrt(values.clip(0))
    else:
        scores = centred @ np.linalg.eigh(centred.T @ centred)[1]
    kept: np.ndarray = scores[:, ::-1][:, :components]
    return kept

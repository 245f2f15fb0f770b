"""What may have happened to doubted points: changes that people and programs make, tried until the points fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from landmark_diffusion.data.checks.few_outliers import LIMIT, MIN_IMAGES, MIN_LANDMARKS, Shapes, distances_to

_IMAGES = 40
"""Images whose shapes are asked; more tell no more, and each takes a millisecond."""
_PAIRS = 12
"""Doubted points of an image of which two may be exchanged; where more are doubted the row as a whole is wrong."""

RowCause = Literal["mirrored", "upside down", "transposed"]
ROWS: dict[RowCause, str] = {
    "mirrored": "is the whole row mirrored left to right?",
    "upside down": "is y of the whole row counted from below?",
    "transposed": "are x and y of the whole row exchanged?",
}
_FACTORS = ((10.0, "10 times too small (a digit lost, or the decimal point moved?)"), (100.0, "100 times too small"),
            (0.1, "10 times too large (the decimal point lost or moved?)"), (0.01, "100 times too large"))  # fmt: skip


@dataclass(frozen=True)
class Cause:
    """Why a point may be where it is: ``row`` for all points of an image, else ``text``, or ``partner``, the landmark
    that it would be exchanged with."""

    row: RowCause | None = None
    text: str = ""
    partner: int | None = None


def likely_causes(
    points: np.ndarray, usable: np.ndarray, scales: np.ndarray, doubted: Mapping[int, list[int]]
) -> dict[tuple[int, int], Cause]:
    """Find for each doubted point the one usual slip, if any, without which its image's points fit the others'.

    ``points`` are (I, N, 2) px times ``scales`` (I, 2), ``usable`` (I, N) says which are known, ``doubted`` gives the
    landmarks of an image. Returns a cause by (image, landmark), for those where one can be told; none where
    `few_outliers` would judge nothing.
    """
    shapes = np.where(usable, points[..., 0] + 1j * points[..., 1], np.nan)
    enough = usable.sum(1) >= MIN_LANDMARKS
    others = [image for image in np.flatnonzero(enough) if image not in doubted] or list(np.flatnonzero(enough))
    if len(others) < MIN_IMAGES:
        others = list(np.flatnonzero(enough))
    if len(others) < MIN_IMAGES:
        return {}
    known = Shapes.of(shapes[others[:: max(1, len(others) // _IMAGES)]])
    aspects = scales[:, 0] / scales[:, 1]
    found = {}
    for image in (each for each in doubted if enough[each]):
        for landmark, cause in _of_image(shapes[image], known, doubted[image], float(aspects[image])).items():
            found[image, landmark] = cause
    return found


def _of_image(shape: np.ndarray, known: Shapes, doubted: list[int], aspect: float) -> dict[int, Cause]:
    before = _ratio(shape, known) > LIMIT
    for name, turned in _turned(shape, aspect).items():
        if (_ratio(turned, known) > LIMIT).sum() <= 0.1 * np.isfinite(shape).sum() < before.sum():
            return dict.fromkeys(doubted, Cause(row=name))
    found: dict[int, tuple[float, Cause]] = {}
    for causes, changed, slack in _changes(shape, doubted, aspect):
        ratio = _ratio(changed, known, slack)
        places = list(causes)
        worst = float(ratio[places].max())
        if worst > LIMIT or (ratio > LIMIT)[~before].any() or not before[places].all():
            continue
        for landmark, cause in causes.items():
            if landmark not in found or worst < found[landmark][0]:
                found[landmark] = (worst, cause)
    causes = {landmark: cause for landmark, (_, cause) in found.items()}
    # Of two that were exchanged the other one says so too, else a better reason was found for it.
    return {a: c for a, c in causes.items() if c.partner is None or causes[c.partner].partner == a}


def _turned(shape: np.ndarray, aspect: float) -> dict[RowCause, np.ndarray]:
    swapped = shape.imag * aspect + 1j * shape.real / aspect
    return {"mirrored": -shape.conj(), "upside down": shape.conj(), "transposed": swapped}


def _changes(
    shape: np.ndarray, doubted: list[int], aspect: float
) -> Iterator[tuple[dict[int, Cause], np.ndarray, float]]:
    """Each change to undo a slip: the causes that it would be, the shape without it, and px that it leaves open."""
    for first, second in combinations(doubted[:_PAIRS], 2):
        changed = shape.copy()
        changed[[first, second]] = shape[[second, first]]
        yield {first: Cause(partner=second), second: Cause(partner=first)}, changed, 0.0
    for landmark in doubted:
        x, y = shape[landmark].real, shape[landmark].imag
        yield {landmark: Cause(text="its x and y exchanged?")}, _with(shape, landmark, y * aspect, x / aspect), 0.0
        for factor, words in _FACTORS:
            lost = 4.5 if factor == 10 else 0.0  # a last digit of 0 to 9
            for axis, moved in (("x", (factor * x + lost, y)), ("y", (x, factor * y + lost))):
                yield {landmark: Cause(text=f"its {axis} {words}")}, _with(shape, landmark, *moved), lost


def _with(shape: np.ndarray, landmark: int, x: float, y: float) -> np.ndarray:
    changed = shape.copy()
    changed[landmark] = x + 1j * y
    return changed


def _ratio(shape: np.ndarray, known: Shapes, slack: float = 0.0) -> np.ndarray:
    """Distance of each point from where the others' shape puts it, in usual distances; 0 where nothing is known."""
    ratio: np.ndarray = np.nan_to_num(np.fmax(distances_to(known, shape) - slack, 0.0) / known.usual)
    return ratio

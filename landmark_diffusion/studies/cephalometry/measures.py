"""The eight measures of the ISBI 2015 challenge from named landmarks of a lateral cephalogram.

Everything is computed in the patient's frame: x forward (anterior), y up (superior), in mm where the spacing is known.
An angle is a turn from one line to another, counterclockwise positive with the face looking right, in (-180, 180].

Sources:
    Wang et al., A benchmark for comparison of dental radiography analysis algorithms, Medical Image Analysis 31, 2016.
    Kim, Overbite depth indicator with particular reference to anterior open-bite, Am. J. Orthodontics 65, 1974.
    Kim and Vietas, Anteroposterior dysplasia indicator, Am. J. Orthodontics 73, 1978.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landmark_diffusion.metrics.summary import ratio_of

Points = Mapping[str, np.ndarray]
"""Landmark name to points (..., 2), in the patient's frame."""

Facing = Literal["right", "left"]
"""Which side the face looks to."""

Unit = Literal["deg", "ratio", "mm"]

S, N, OR, PO = "sella", "nasion", "orbitale", "porion"
A, B, POG, ME, GN, GO = "subspinale", "supramentale", "pogonion", "menton", "gnathion", "gonion"
LOWER_INCISOR, UPPER_INCISOR = "lower incisal incision", "upper incisal incision"
PNS, ANS = "posterior nasal spine", "anterior nasal spine"
LANDMARKS = (S, N, OR, PO, A, B, POG, ME, GN, GO, LOWER_INCISOR, UPPER_INCISOR, PNS, ANS)


@dataclass(frozen=True)
class Measure:
    """One measure: what it is called, what it needs, and how it is computed.

    Attributes:
        name: its short name, such as "ANB".
        title: its name in words.
        unit: "deg", "ratio" or "mm".
        decimals: digits behind the point that people read.
        landmarks: names of the points it needs.
        formula: points of these names, each (..., 2) in the patient's frame, to values (...).
        needs_facing: whether the value turns with the side that the face looks to and no point of its own tells it.
    """

    name: str
    title: str
    unit: Unit
    decimals: int
    landmarks: tuple[str, ...]
    formula: Callable[[Points], np.ndarray]
    needs_facing: bool = False


def anb(p: Points) -> NDArray[np.float64]:
    """ANB = SNA - SNB, degrees, signed: negative where the B point lies before the A point, seen from nasion."""
    return sna(p) - snb(p)


def snb(p: Points) -> NDArray[np.float64]:
    """SNB, degrees: the angle at nasion between sella and the B point."""
    return _turn(p, (N, S), (N, B))


def sna(p: Points) -> NDArray[np.float64]:
    """SNA, degrees: the angle at nasion between sella and the A point."""
    return _turn(p, (N, S), (N, A))


def odi(p: Points) -> NDArray[np.float64]:
    """Overbite depth indicator, degrees (Kim 1974).

    The angle of the A-B plane to the mandibular plane (menton to gonion), plus :func:`palatal_angle`.
    """
    return _turn(p, (B, A), (ME, GO)) + palatal_angle(p)


def apdi(p: Points) -> NDArray[np.float64]:
    """Anteroposterior dysplasia indicator, degrees (Kim and Vietas 1978).

    The facial angle (Frankfort plane to facial plane), plus the A-B plane angle (facial plane to A-B plane, positive
    where the B point lies before the A point, measured from the facial plane), plus :func:`palatal_angle`. The three
    add up to the turn from the palatal plane to the A-B plane.
    """
    return _turn(p, (PO, OR), (POG, N)) + _turn(p, (POG, N), (B, A)) + palatal_angle(p)


def palatal_angle(p: Points) -> NDArray[np.float64]:
    """Angle of the palatal plane to the Frankfort plane, degrees: positive where it falls forward (Kim 1974)."""
    return _turn(p, (PNS, ANS), (PO, OR))


def fhi(p: Points) -> NDArray[np.float64]:
    """Facial height index, a ratio: posterior height sella to gonion over anterior height nasion to menton."""
    return ratio_of(_distance(p, S, GO), _distance(p, N, ME))


def fha(p: Points) -> NDArray[np.float64]:
    """Mandibular plane angle, degrees: sella-nasion to gonion-gnathion, positive where the jaw falls forward."""
    return _turn(p, (GO, GN), (S, N))


def mw(p: Points) -> NDArray[np.float64]:
    """Modified Wits: the distance between the incisors' edges, negative where the upper lies behind the lower.

    As the challenge defines it, the height difference counts in the distance and not in the sign: upper and lower edge
    2 mm above one another give -2 or 2 with the slightest step sideways, so a spread around there has two heaps.
    """
    behind = p[UPPER_INCISOR][..., 0] < p[LOWER_INCISOR][..., 0]
    return _distance(p, LOWER_INCISOR, UPPER_INCISOR) * np.where(behind, -1.0, 1.0)


MEASURES = (
    Measure("ANB", "A point - nasion - B point", "deg", 1, (S, N, A, B), anb),
    Measure("SNB", "sella - nasion - B point", "deg", 1, (S, N, B), snb),
    Measure("SNA", "sella - nasion - A point", "deg", 1, (S, N, A), sna),
    Measure("ODI", "overbite depth indicator", "deg", 1, (OR, PO, A, B, ME, GO, PNS, ANS), odi),
    Measure("APDI", "anteroposterior dysplasia indicator", "deg", 1, (N, OR, PO, A, B, POG, PNS, ANS), apdi),
    Measure("FHI", "facial height index", "ratio", 3, (S, N, ME, GO), fhi),
    Measure("FHA", "mandibular plane angle", "deg", 1, (S, N, GN, GO), fha),
    Measure("MW", "modified Wits", "mm", 1, (LOWER_INCISOR, UPPER_INCISOR), mw, needs_facing=True),
)
"""In the challenge's order."""


def measure_points(
    points: np.ndarray, names: Sequence[str], facing: Facing = "right", spacing: tuple[float, float] | None = None
) -> dict[str, np.ndarray]:
    """Compute all measures of points (..., N, 2) in image pixels: measure's name to values (...).

    NaN where a landmark is not among the ``names``, is NaN, or where two that make a line are one point. ``spacing``
    is mm per pixel (x, y); without it pixels count as square and MW is in pixels.
    """
    frame = to_patient(points, facing, spacing)
    found = {name: frame[..., index, :] for index, name in enumerate(names)}
    nowhere = np.full(frame.shape[:-2], np.nan)
    return {each.name: each.formula(found) if not missing(each, names) else nowhere for each in MEASURES}


def missing(measure: Measure, names: Sequence[str]) -> list[str]:
    """List the landmarks that a measure needs and that are not among the ``names``."""
    return [name for name in measure.landmarks if name not in names]


def to_patient(points: np.ndarray, facing: Facing, spacing: tuple[float, float] | None) -> np.ndarray:
    """Map image pixels (..., 2), y down, to the patient's frame: x forward, y up, mm with ``spacing``, else pixels."""
    across = 1.0 if facing == "right" else -1.0
    frame: np.ndarray = np.asarray(points, dtype=np.float64) * np.asarray(spacing or (1.0, 1.0)) * (across, -1.0)
    return frame


def _turn(p: Points, first: tuple[str, str], second: tuple[str, str]) -> NDArray[np.float64]:
    """Degrees from the direction of one line (from its first point to its second) to another's, in (-180, 180]."""
    a, b = (p[end] - p[start] for start, end in (first, second))
    cross, dot = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1)
    no_line = (a == 0).all(-1) | (b == 0).all(-1)
    return np.where(no_line, np.nan, np.degrees(np.arctan2(cross, dot)))


def _distance(p: Points, first: str, second: str) -> NDArray[np.float64]:
    distance: np.ndarray = np.linalg.norm(p[first] - p[second], axis=-1)
    return distance

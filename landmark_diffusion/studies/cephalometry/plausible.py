"""What no human head has: measures out of any range, and landmarks in an order that none shows.

The ranges are no norms. They go at least half of the span further, on both sides, than what two doctors marked in 300
radiographs of people of 6 to 60 years (ISBI 2015, 001 to 300), and beyond the published means
by many standard deviations (ODI 74.5 +- 6.1 degrees, Kim 1974; APDI 81.4 +- 3.8, Kim and Vietas 1978). The orders are
those that hold in all 600 annotations of these radiographs, most of them by 5 % of the face's height and more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from landmark_diffusion.studies.cephalometry.facing import Facing
from landmark_diffusion.studies.cephalometry.measures import (
    ANS,
    GN,
    GO,
    LOWER_INCISOR,
    ME,
    OR,
    PNS,
    PO,
    POG,
    UPPER_INCISOR,
    A,
    B,
    N,
    S,
    to_patient,
)

HUMAN: Mapping[str, tuple[float, float]] = {
    "ANB": (-30, 30), "SNB": (45, 120), "SNA": (45, 125), "ODI": (0, 140), "APDI": (30, 150), "FHI": (0.25, 1.1),
    "FHA": (-10, 75), "MW": (-30, 30),
}  # fmt: skip
"""Measure's name to the least and the largest value that any head may have, in the measure's unit."""

FACE_HEIGHT = (50.0, 200.0)
"""mm from nasion to menton; the doctors' lie between 84 and 137."""

_AR, _SN, _UL, _LL, _SOFT = "articulare", "subnasale", "upper lip", "lower lip", "soft tissue pogonion"
_DOWN = (
    (N, OR, A, UPPER_INCISOR, B, POG), (A, LOWER_INCISOR, B, ME), (B, GN), (OR, ANS, UPPER_INCISOR),
    (S, PO, GO, ME), (S, _AR, GO, GN), (S, PNS, GO), (OR, _SN, _UL, _LL, _SOFT), (PNS, LOWER_INCISOR),
)  # fmt: skip
_AHEAD = (
    (PO, S, PNS, A, _UL), (GO, PNS, ANS, _UL), (_AR, PNS, OR, _SN), (S, N), (PO, OR), (GO, ME, _LL), (GO, GN, _LL),
    (GO, B, _LL), (PNS, N), (PNS, LOWER_INCISOR), (PNS, UPPER_INCISOR),
)  # fmt: skip
_EXCHANGED = "are exchanged"
_SLACK = 0.02
"""How far points may be in the wrong order, as a share of the points' extent, before it is called wrong."""
_NODS = np.radians(np.arange(-30, 31, 10))
"""A head may be tilted by so much: the turn of these with the fewest wrong orders counts."""


def out_of_range(measure: str, value: float) -> bool:
    """Whether no head has this value, in the measure's unit; False for NaN."""
    low, high = HUMAN[measure]
    return value < low or value > high


def doubts(
    points: np.ndarray, names: Sequence[str], facing: Facing, spacing: tuple[float, float] | None = None
) -> tuple[str, frozenset[str]]:
    """Say what is wrong with the order of points (N, 2) in pixels, and which landmarks are in question; empty if none.

    Two landmarks whose exchange puts all in order are named as exchanged; else the orders that are wrong are told.
    """
    known = [place for place, point in enumerate(points) if np.isfinite(point).all()]
    found = {names[place]: row for row, place in enumerate(known)}
    frame = to_patient(points[known], facing, spacing)
    rules = [(found[a], found[b], axis) for a, b, axis in _RULES if a in found and b in found]
    if not rules:
        return "", frozenset()
    wrong = _wrong(frame, rules)
    if not wrong:
        return "", frozenset()
    called = [names[place] for place in known]
    told = ", ".join(_order(called, rules[each]) for each in wrong[:3])
    exchanged = [pair for pair in combinations(range(len(known)), 2) if not _wrong(_swapped(frame, *pair), rules)]
    if len(exchanged) == 1:
        pair = [called[place] for place in exchanged[0]]
        return f"{pair[0]} and {pair[1]} {_EXCHANGED} ({told})", frozenset(pair)
    more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    concerned = frozenset(called[place] for each in wrong for place in rules[each][:2])
    return f"the landmarks are in an order that no face has: {told}{more}", concerned


def exchange(points: np.ndarray, names: Sequence[str]) -> str:
    """Say which two landmarks are exchanged where that is clear without knowing the facing; empty where it is not."""
    sides: tuple[Facing, Facing] = ("right", "left")
    told = [text for side in sides if _EXCHANGED in (text := doubts(points, names, side)[0])]
    return told[0] if len(told) == 1 else ""


def size_doubt(points: np.ndarray, names: Sequence[str], spacing: tuple[float, float] | None) -> str:
    """Say that the face is of a size that none has, which a wrong spacing makes; empty where it is not, or unknown."""
    if spacing is None or N not in names or ME not in names:
        return ""
    height = float(np.linalg.norm((points[names.index(N)] - points[names.index(ME)]) * spacing))
    low, high = FACE_HEIGHT
    if not np.isfinite(height) or low <= height <= high:
        return ""
    across, down = spacing
    return (
        f"nasion and menton are {height:.0f} mm apart, in a face {low:g} to {high:g} mm: the spacing of {across:g} x "
        f"{down:g} mm a pixel cannot be right, or the points are not"
    )


def _chains(chains: Sequence[Sequence[str]], axis: int) -> list[tuple[str, str, int]]:
    """All that follows from chains: (first, second, axis), the second ahead of (0) or below (1) the first."""
    steps = {(a, b) for chain in chains for a, b in pairwise(chain)}
    while more := {(a, d) for a, b in steps for c, d in steps if b == c} - steps:
        steps |= more
    return [(a, b, axis) for a, b in sorted(steps)]


_RULES = [*_chains(_AHEAD, 0), *_chains(_DOWN, 1)]


def _wrong(frame: np.ndarray, rules: Sequence[tuple[int, int, int]]) -> list[int]:
    """Places of the rules that points (K, 2), x forward and y up, break, at the head's tilt that breaks fewest."""
    first, second, axis = np.array(rules).T
    steps = frame[second] - frame[first]
    cos, sin = np.cos(_NODS)[:, None], np.sin(_NODS)[:, None]
    ahead, up = cos * steps[:, 0] - sin * steps[:, 1], sin * steps[:, 0] + cos * steps[:, 1]
    extent = float(np.ptp(frame, axis=0).max())
    broken = np.where(axis == 0, ahead, -up) < -_SLACK * extent
    return [int(each) for each in np.flatnonzero(broken[np.argmin(broken.sum(1))])]


def _swapped(frame: np.ndarray, a: int, b: int) -> np.ndarray:
    changed = frame.copy()
    changed[[a, b]] = frame[[b, a]]
    return changed


def _order(called: Sequence[str], rule: tuple[int, int, int]) -> str:
    first, second, axis = rule
    return f"{called[second]} lies {'behind' if axis == 0 else 'above'} {called[first]}"

"""The analysis of one radiograph: measures, classes, and how sure they are, by sampling the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.landmark_names import respelled
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.facing import find_facing
from landmark_diffusion.studies.cephalometry.measures import (
    LANDMARKS,
    MEASURES,
    Facing,
    Measure,
    measure_points,
    missing,
)
from landmark_diffusion.studies.cephalometry.plausible import HUMAN, doubts, out_of_range, size_doubt

DRAWS = 2000
INTERVAL_LEVEL = 0.9
CERTAIN = 0.8
"""A class whose probability is below this is called uncertain."""

_SAY_FACING = "; say it with --facing"
SQUARE_PIXELS = "The spacing is not known: pixels count as square, and MW has no mm and so no class."


@dataclass(frozen=True)
class MeasureFinding:
    """One measure of one radiograph.

    Attributes:
        measure: which one.
        value: of the points as they are; NaN where it cannot be computed, and ``note`` says why.
        unit: "deg", "ratio", "mm", or "px" for MW without spacing.
        spread: standard deviation of the draws, in ``unit``; None without a covariance of the points.
        low, high: limits of the 90 % interval, quantiles of the draws; None without a covariance.
        probabilities: class number to the share of draws in it; empty without a covariance or a class.
        class_number: the most probable class; without a covariance that of the value; None without a class.
        note: what the reader has to know; may be empty.
        impossible: whether no head has this value; it has no class then.
        doubtful: names of its landmarks whose points are doubtful; ``note`` says so.
    """

    measure: Measure
    value: float
    unit: str
    spread: float | None = None
    low: float | None = None
    high: float | None = None
    probabilities: dict[int, float] | None = None
    class_number: int | None = None
    note: str = ""
    impossible: bool = False
    doubtful: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        """Name of the class; empty where there is none."""
        return "" if self.class_number is None else SCHEMES[self.measure.name].name(self.class_number)

    @property
    def probability(self) -> float | None:
        """Share of the draws in the class; None without a covariance."""
        return None if self.class_number is None or not self.probabilities else self.probabilities[self.class_number]

    @property
    def uncertain(self) -> bool | None:
        """Whether the class has a probability below 0.8; None without a covariance."""
        return None if self.probability is None else self.probability < CERTAIN


@dataclass(frozen=True)
class Analysis:
    """All measures of one radiograph, in the challenge's order; ``facing`` is None where no point tells it.

    ``doubts`` say what is wrong with the points, such as two that are exchanged: measures of these have no class.
    """

    findings: tuple[MeasureFinding, ...]
    facing: Facing | None
    facing_source: str
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def impossible(self) -> tuple[MeasureFinding, ...]:
        """The measures that no head has."""
        return tuple(each for each in self.findings if each.impossible)

    @property
    def in_doubt(self) -> tuple[MeasureFinding, ...]:
        """The measures that have a value and rest on doubtful points."""
        return tuple(each for each in self.findings if each.doubtful)


def analyse(
    points: np.ndarray,
    names: Sequence[str],
    spacing: tuple[float, float] | None = None,
    covariance: np.ndarray | None = None,
    facing: Facing | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    absent: np.ndarray | None = None,
    doubtful: np.ndarray | None = None,
) -> Analysis:
    """Measure one radiograph.

    Args:
        points: (N, 2) original pixels, NaN where missing.
        names: N landmark names, as in data.datasets.isbi2015.LANDMARK_NAMES (case, blanks and underscores do not
            count); others are ignored.
        spacing: mm per pixel (x, y); without it MW is in pixels and has no class.
        covariance: (N, 2, 2) squared original pixels, the spread of the true points around ``points``. Points are
            drawn from normal distributions, each landmark by itself: errors that landmarks share are not in it.
        facing: the side that the face looks to; None finds it from the points.
        draws, seed: number of draws, and what fixes them; every image has the same ones.
        absent: (N,) bool, which landmarks lie outside the image: measures that need one are not computed.
        doubtful: (N,) bool, which points may be far off: measures that rest on one say so.

    Raises UserError where the facing is not clear or a covariance is none.
    """
    names = respelled(names, LANDMARKS)
    outside = _chosen(names, absent)
    if absent is not None:
        points = np.where(absent[:, None], np.nan, points)
    side = find_facing(points, names, facing)
    values = measure_points(points, names, side or "right", spacing)
    drawn = None
    if covariance is not None:
        clouds = draw_points(points, covariance, draws, seed)
        drawn = measure_points(clouds, names, side or "right", spacing)
    there = [name for name, point in zip(names, points, strict=True) if np.isfinite(point).all()]
    order, concerned = ("", frozenset()) if side is None else doubts(points, names, side, spacing)
    size = size_doubt(points, list(names), spacing)
    findings = []
    for each in MEASURES:
        clouds_of = None if drawn is None else drawn[each.name]
        found = _possible(_finding(each, values[each.name], clouds_of, there, outside, side, spacing))
        wrong = concerned & set(each.landmarks) or (size and found.unit == "mm")
        if wrong and not found.impossible:
            found = _unclassed(found, "no class: see the warning on the points")
        findings.append(_marked(found, _chosen(names, doubtful)))
    source = "not known" if side is None else "option" if facing is not None else "points"
    notes = () if spacing else (SQUARE_PIXELS,)
    return Analysis(tuple(findings), side, source, notes, tuple(filter(None, (order, size))))


def unused(findings: Sequence[MeasureFinding], note: str) -> tuple[MeasureFinding, ...]:
    """Findings of points that should not be used: the values, with no word on classes and how sure they are."""
    found = (_unclassed(each, note) for each in findings)
    return tuple(replace(each, note=each.note.removesuffix(_SAY_FACING)) for each in found)


def no_findings(reason: str) -> tuple[MeasureFinding, ...]:
    """The eight measures without values, and why."""
    return tuple(MeasureFinding(each, np.nan, each.unit, note=reason) for each in MEASURES)


def draw_points(points: np.ndarray, covariance: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Draw points (draws, N, 2) from normal distributions around ``points`` (N, 2), each landmark by itself.

    A landmark without a finite covariance is NaN in all draws. Raises UserError on a covariance (N, 2, 2) that has a
    negative eigenvalue.
    """
    known = np.isfinite(covariance).all((-1, -2))
    values, vectors = np.linalg.eigh(np.where(known[:, None, None], covariance, np.eye(2)))
    if (values < -1e-9 * np.abs(values).max(-1, keepdims=True)).any():
        wrong = int(np.argmin(values.min(-1)))
        raise UserError(f"the covariance of landmark {wrong + 1} has a negative eigenvalue, expected a covariance")
    root = vectors * np.sqrt(values.clip(0))[:, None, :]
    normal = np.random.default_rng(seed).standard_normal((draws, len(points), 2))
    cloud = points + np.einsum("nij,knj->kni", root, normal)
    return np.where(known[:, None], cloud, np.nan)


def _finding(
    measure: Measure,
    value: np.ndarray,
    drawn: np.ndarray | None,
    there: Sequence[str],
    outside: Sequence[str],
    facing: Facing | None,
    spacing: tuple[float, float] | None,
) -> MeasureFinding:
    unit = "px" if measure.unit == "mm" and spacing is None else measure.unit
    if reason := _why_not(measure, value, there, outside, facing):
        return MeasureFinding(measure, np.nan, unit, note=reason)
    classed, note = unit != "px", "" if unit != "px" else "no class: it needs mm, and the spacing is not known"
    found = int(SCHEMES[measure.name].classify(value)) if classed else None
    if drawn is None or np.isnan(drawn).any():
        return MeasureFinding(measure, float(value), unit, class_number=found, note=note)
    tail = (1 - INTERVAL_LEVEL) / 2
    low, high = (float(edge) for edge in np.quantile(drawn, [tail, 1 - tail]))
    spread = float(drawn.std(ddof=1))
    if found is None:
        return MeasureFinding(measure, float(value), unit, spread, low, high, note=note)
    shares = class_shares(measure.name, drawn)
    best = max(shares, key=lambda number: (shares[number], number == found))
    if best != found:
        note = f"the value itself lies in class {found}"
    return MeasureFinding(measure, float(value), unit, spread, low, high, shares, best, note)


def _possible(finding: MeasureFinding) -> MeasureFinding:
    """A finding as it is, or without its class where no head has the value."""
    if finding.unit == "px" or not out_of_range(finding.measure.name, finding.value):
        return finding
    low, high = HUMAN[finding.measure.name]
    return replace(_unclassed(finding, f"no class: no head has this, {low:g} to {high:g} at most"), impossible=True)


def _unclassed(finding: MeasureFinding, note: str) -> MeasureFinding:
    note = finding.note if np.isnan(finding.value) else note
    return MeasureFinding(finding.measure, finding.value, finding.unit, note=note)


def _marked(finding: MeasureFinding, doubtful: Sequence[str]) -> MeasureFinding:
    """A finding as it is, or with the doubtful points that its value rests on named."""
    concerned = tuple(name for name in finding.measure.landmarks if name in doubtful)
    if not concerned or np.isnan(finding.value):
        return finding
    words = f"rests on {'a doubtful point' if len(concerned) == 1 else 'doubtful points'}: {', '.join(concerned)}"
    return replace(finding, doubtful=concerned, note="; ".join(filter(None, (finding.note, words))))


def _chosen(names: Sequence[str], which: np.ndarray | None) -> list[str]:
    return [] if which is None else [name for name, chosen in zip(names, which, strict=True) if chosen]


def class_shares(measure: str, values: np.ndarray) -> dict[int, float]:
    """Share of the values (K,) in each class of a measure, by class number."""
    numbers = SCHEMES[measure].classify(values)
    return {number: float((numbers == number).mean()) for number in SCHEMES[measure].numbers}


def _why_not(
    measure: Measure, value: np.ndarray, there: Sequence[str], outside: Sequence[str], facing: Facing | None
) -> str:
    """Say why a measure has no value; empty where it has one."""
    if lacking := missing(measure, there):
        kinds = {
            "not among the points": [name for name in lacking if name not in outside],
            "not in the image": [name for name in lacking if name in outside],
        }
        return "needs " + "; ".join(f"{', '.join(names)}: {why}" for why, names in kinds.items() if names)
    if measure.needs_facing and facing is None:
        return "which side the face looks to is not known from these points" + _SAY_FACING
    return "" if np.isfinite(value) else "two of its points are the same one"

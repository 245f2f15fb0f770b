"""A row of figures for each family of changes, and their mean over the families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from landmark_diffusion.metrics.bootstrap import bootstrap_interval
from landmark_diffusion.metrics.summary import FAR_MM, ErrorSummary
from landmark_diffusion.studies.shifts.judge import PLAIN, FamilyErrors

MEAN = "mean"
"""The row of the mean over the families."""


@dataclass(frozen=True)
class ShiftRow:
    """Figures of one family; NaN for what cannot be told. Shares are in percent.

    Attributes:
        family: its name.
        images, points: how many have an error.
        mre, mre_low, mre_high: mean radial error over points, and its 95 % bootstrap interval over images.
        ratio: mre over that of the images as they are.
        near, far: of the points, below the data set's first radius, and beyond 10 mm (in mm alone).
        coverage: of the points with a stated region, those within it.
        stated: of the points, those with a stated region.
        unlike: of the images, those called unlike.
        good, unlike_good: images whose own mean error is at most the first radius, and the share called unlike.
        bad, unlike_bad: images with a point beyond 10 mm, and the share called unlike.
        marked: of the points, those marked as doubtful.
        marked_bad: of the images with a point beyond 10 mm, those of which all such points are marked, or that are
            called unlike as a whole.
    """

    family: str
    images: int
    points: int
    mre: float
    mre_low: float
    mre_high: float
    ratio: float
    near: float
    far: float
    coverage: float
    stated: float
    unlike: float
    good: int
    unlike_good: float
    bad: int
    unlike_bad: float
    marked: float
    marked_bad: float


def make_rows(found: Mapping[str, FamilyErrors], radius: float, unit: str) -> list[ShiftRow]:
    """Sum up each family in the order given, the images as they are first of all, and the mean of the others last.

    ``radius`` is in ``unit``. The mean leaves out what a family has not, and is there for two families or more.
    """
    plain = found.get(PLAIN)
    reference = float("nan") if plain is None else float(np.nanmean(plain.errors))
    ordered = sorted(found, key=lambda family: family != PLAIN)
    rows = [_row(family, found[family], reference, radius, unit) for family in ordered]
    families = [row for row in rows if row.family != PLAIN]
    return rows + ([_mean(families)] if len(families) > 1 else [])


def _row(family: str, found: FamilyErrors, reference: float, radius: float, unit: str) -> ShiftRow:
    known = np.isfinite(found.errors)
    seen = known.any(1)
    errors, unlike, doubtful = found.errors[seen], found.unlike[seen], found.doubtful[seen]
    summary = ErrorSummary.of(errors, (radius,), unit)
    interval = bootstrap_interval(errors) if len(errors) > 1 else None
    good = np.nanmean(errors, 1) <= radius if len(errors) else np.zeros(0, bool)
    bad = (errors > FAR_MM).any(1) & (unit == "mm")
    stated = np.isfinite(found.covered[known])
    return ShiftRow(
        family=family,
        images=len(errors),
        points=summary.points,
        mre=summary.mre,
        mre_low=np.nan if interval is None else interval.low,
        mre_high=np.nan if interval is None else interval.high,
        ratio=summary.mre / reference,
        near=summary.sdr[radius],
        far=np.nan if summary.beyond is None else summary.beyond,
        coverage=_percent(found.covered[known]),
        stated=_percent(stated.astype(np.float64)),
        unlike=_percent(unlike),
        good=int(good.sum()),
        unlike_good=_percent(unlike[good]),
        bad=int(bad.sum()),
        unlike_bad=_percent(unlike[bad]),
        marked=_percent(found.doubtful[known]),
        marked_bad=_percent(_all_marked(errors, unlike, doubtful)[bad]),
    )


def _all_marked(errors: np.ndarray, unlike: np.ndarray, doubtful: np.ndarray) -> np.ndarray:
    """Whether each image (I,) is called unlike, or all its points beyond 10 mm are marked; NaN where no one tells."""
    missing = ((errors > FAR_MM) & (doubtful == 0)).any(1)
    told = np.isfinite(doubtful).all(1)
    return np.where(unlike == 1, 1.0, np.where(told, 1.0 - missing, np.nan))


def _mean(rows: list[ShiftRow]) -> ShiftRow:
    """Average each figure over the families that have it; counts are added, and there is no interval."""
    values = [asdict(row) for row in rows]
    found: dict[str, float] = {}
    for name in values[0]:
        if name == "family":
            continue
        each = np.array([row[name] for row in values], dtype=np.float64)
        known = each[np.isfinite(each)]
        counts = name in ("images", "points", "good", "bad")
        found[name] = int(each.sum()) if counts else float(known.mean()) if known.size else float("nan")
    return ShiftRow(family=MEAN, **{**found, "mre_low": np.nan, "mre_high": np.nan})  # type: ignore[arg-type]


def _percent(values: np.ndarray) -> float:
    """Share of ones among the values that are known; NaN where none is."""
    known = values[np.isfinite(values)]
    return 100.0 * float(known.mean()) if known.size else float("nan")

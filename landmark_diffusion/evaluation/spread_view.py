"""The spread of a test, and whether it is true: coverage, area, expected against actual error, ranks, abstention.

The truth is the mean of the annotators. Lengths are in the unit of the images' spacing (mm), else px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.grid import ABSENT, Grid, LaidOut, rounded
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.evaluation.abstention_table import abstention_grid, plain_curve
from landmark_diffusion.evaluation.by_landmark import Line, Lines, mean_of_known
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.spread.calibration import Spreads
from landmark_diffusion.spread.coverage import coverage_interval
from landmark_diffusion.spread.statistics import (
    Abstention,
    RankCorrelation,
    Reliability,
    abstention_curve,
    covered,
    expected_radial_error,
    rank_correlation,
    region_area,
    reliability,
)

COLUMNS = {
    "number": "number", "landmark": "landmark", "points": "points", "level": "level", "coverage": "coverage",
    "coverage_low": "low", "coverage_high": "high", "area_mean": "area_mean", "area_median": "area_median",
    "expected_error": "expected", "actual_error": "actual", "spearman": "rank", "unit": "unit",
}  # fmt: skip
"""Headings of spread.csv, and what stands below them."""

HEADINGS = {
    "landmark": ("landmark", "label"), "points": ("points", "points"), "inside": ("inside, %", "inside"),
    "95 %": ("95 % interval", "interval"), "mean": ("mean area, {area}", "area_mean"),
    "area": ("median area, {area}", "area_median"), "expect": ("expected error, {unit}", "expected"),
    "actual": ("actual error, {unit}", "actual"), "rank": ("rank correlation", "rank"),
}  # fmt: skip
"""Short headings of the printed table, the long ones of Markdown, and what stands below them."""

LEAST_SPREAD = 5
"""Images below which whether the spread is true cannot be told: no bins, no abstention, no table of it is shown."""


def too_few_for_spread(count: int) -> str:
    """Say why it is left out."""
    return f"Whether the spread is true was not judged: {counted(count, 'image')} cannot tell, {LEAST_SPREAD} can"


@dataclass(frozen=True, kw_only=True)
class SpreadLine(Line):
    """One landmark, or all of them; NaN where nothing was measured.

    Args:
        points: points with truth and spread.
        coverage, low, high: share of the truths within their regions, 0 to 1, and its 95 % interval; NaN without.
        area_mean, area_median: of the regions, in squared units.
        expected, actual: mean radial errors.
        rank: Spearman correlation of expected and actual error over these points.
    """

    points: int
    coverage: float
    low: float
    high: float
    area_mean: float
    area_median: float
    expected: float
    actual: float
    rank: float

    @property
    def inside(self) -> str:
        """Coverage in percent, rounded."""
        return rounded(100 * self.coverage, 1)

    @property
    def interval(self) -> str:
        """The coverage's interval in percent, rounded."""
        low, high = (rounded(100 * value, 1) for value in (self.low, self.high))
        return ABSENT if low == ABSENT else f"{low}-{high}"


@dataclass(frozen=True, kw_only=True)
class SpreadView(LaidOut, Lines[SpreadLine]):
    """What a test says of the spread.

    Args:
        unit: of lengths; areas are in its square.
        level: stated coverage of the regions; None where the spread is not calibrated.
        truth: in words.
        images: images with at least one point that counts.
        ranks: expected against actual errors.
        reliability: expected against actual errors in bins.
        uncalibrated: the same of the predictions' own covariances, beside calibrated ones; None where there are none.
        by_point, by_image: abstention from single points, and from whole images.
    """

    unit: Unit
    level: float | None
    truth: str
    images: int
    ranks: RankCorrelation
    reliability: Reliability
    uncalibrated: Reliability | None
    by_point: Abstention
    by_image: Abstention

    def grid(self, wide: bool = True) -> Grid:
        """Round the numbers and lay them out, all landmarks together last; ``wide`` also gives the mean area."""
        unit = unit_words(self.unit)
        left_out = [] if self.level is not None else ["inside", "95 %", "mean", "area"]
        left_out += [] if wide else ["mean", "points"]
        short = tuple(head for head in HEADINGS if head not in left_out)
        long, shown = zip(*(HEADINGS[head] for head in short), strict=True)
        long = tuple(each.format(unit=unit, area=squared(unit)) for each in long)
        return Grid("Spread, and whether it is true", self.above, short, long, self.sections(shown), self.notes)

    @property
    def above(self) -> tuple[str, ...]:
        """How it was measured."""
        counts = f"{counted(self.overall.points, 'point')} of {counted(self.images, 'image')}; truth: {self.truth}"
        if self.level is None:
            return (f"uncalibrated: the method's own covariance, no regions; {counts}",)
        return (f"regions of stated {100 * self.level:g} %; {counts}",)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the columns mean, and the correlations in words."""
        within = rounded(self.ranks.within)
        notes = [
            "expected: mean of the radial errors that the spread states; actual: mean radial error; rank: Spearman "
            f"correlation of the two over images (all: over points; mean within landmarks {within})",
            f"reliability: {len(self.reliability.count)} bins of equal count lie {rounded(self.reliability.gap)} "
            f"{unit_words(self.unit)} from the diagonal on average"
            + ("" if self.uncalibrated is None else f", uncalibrated {rounded(self.uncalibrated.gap)}"),
        ]
        if self.level is None:
            return tuple(notes)
        inside = (
            "inside: percent of the truths that lie in their region, and its 95 % interval (of one landmark Wilson's, "
            "of all by drawing whole test images again; the calibration as it is); area: median of the regions"
        )
        return (inside, *notes)

    def __rich__(self) -> Any:
        from rich.console import Group

        kept = abstention_grid(self.by_point, self.by_image, self.unit)
        return Group(self.grid(wide=False).to_rich(), "", kept.to_rich())

    def to_markdown(self) -> str:
        """Write two Markdown sections."""
        kept = abstention_grid(self.by_point, self.by_image, self.unit).to_markdown()
        return self.grid().to_markdown() + "\n" + kept.replace("## ", "### ", 1)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values: coverage and shares 0 to 1, rates in percent, lengths and areas in the unit."""
        bins = (self.reliability, self.uncalibrated)
        points, uncalibrated = (None if each is None else {**vars(each), "gap": each.gap} for each in bins)
        return {
            "calibrated": self.level is not None,
            "level": self.level,
            "unit": self.unit,
            "truth": self.truth,
            "images": self.images,
            "overall": _plain_line(self.overall),
            "landmarks": [_plain_line(line) for line in self.lines],
            "spearman": {"pooled": self.ranks.pooled, "within": self.ranks.within},
            "reliability": points,
            "reliability_uncalibrated": uncalibrated,
            "abstention": {"points": plain_curve(self.by_point), "images": plain_curve(self.by_image)},
        }


def spread_view(evaluation: Evaluation, spreads: Spreads | None = None) -> SpreadView | None:
    """Measure the spread of the main variant's predictions against the mean of the annotators.

    ``spreads`` are calibrated ones, a row an image of the evaluation; None takes the predictions' own covariance, which
    is reported as uncalibrated and without coverage. The share of good points is counted by the first radius. None
    where no point has both a truth and a spread. Raises MetricError on spreads of other images, and on a covariance
    that is none.
    """
    covariance = evaluation.covariance[evaluation.main]
    own = None if covariance is None else Spreads(covariance, expected_radial_error(covariance))
    used = spreads or own
    if used is None:
        return None
    if len(used.covariance) != len(evaluation.image_ids):
        raise MetricError(f"found spreads of {len(used.covariance)} images for {len(evaluation.image_ids)} predictions")
    actual, scale, radius = evaluation.errors_to_mean[evaluation.main], evaluation.scale, evaluation.radii[0]
    tables = _tables(used, evaluation.residuals(evaluation.main), scale)
    expected = tables["expected"] = np.where(np.isfinite(actual), tables["expected"], np.nan)
    tables["actual"] = np.where(np.isfinite(expected), actual, np.nan)
    if not np.isfinite(expected).any():
        return None
    before = None if spreads is None or own is None else _expected_in_unit(own, scale)
    ranks = rank_correlation(expected, actual)
    lines, overall = _lines(tables, evaluation.landmark_names, ranks)
    count = evaluation.annotations.shape[1]
    return SpreadView(
        unit=evaluation.unit,
        level=used.level,
        truth="the annotation" if count == 1 else f"mean of the {count} annotators",
        images=int(np.isfinite(expected).any(1).sum()),
        lines=lines,
        overall=overall,
        ranks=ranks,
        reliability=reliability(expected, actual),
        uncalibrated=None if before is None else reliability(before, actual),
        by_point=abstention_curve(expected, actual, radius),
        by_image=abstention_curve(expected, actual, radius, by_image=True),
    )


def write_spread_csv(path: str | Path, view: SpreadView) -> Path:
    """Write one row a landmark and one for "all" (without a number); returns the path.

    Lengths are in ``unit``, areas in its square, shares 0 to 1.
    """
    level = "" if view.level is None else f"{view.level:g}"
    return view.write_csv(path, COLUMNS, level=level, unit=view.unit)


def _tables(spreads: Spreads, residuals: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Expected error, and area and coverage (NaN without regions) of each point: (I, N) each."""
    unknown = np.full(residuals.shape[:2], np.nan)
    tables = {"expected": _expected_in_unit(spreads, scale), "area": unknown, "inside": unknown}
    if spreads.regions is not None:
        regions = spreads.regions * covariance_factors(scale)
        inside = covered(residuals, regions)
        tables |= {"inside": inside, "area": np.where(np.isnan(inside), np.nan, region_area(regions))}
    return tables


def _expected_in_unit(spreads: Spreads, scale: np.ndarray) -> np.ndarray:
    """Expected errors (I, N) in a unit of which a pixel measures ``scale`` (I, 2).

    They are scaled as the covariance's own, which is exact where x and y differ too.
    """
    before = expected_radial_error(spreads.covariance)
    after = expected_radial_error(spreads.covariance * covariance_factors(scale))
    factor = np.sqrt(scale.prod(1))[:, None] * np.ones_like(before)  # for a point without spread
    errors: np.ndarray = spreads.expected_error * np.divide(after, before, out=factor, where=before > 0)
    return errors


def _lines(
    tables: dict[str, np.ndarray], names: Sequence[str], ranks: RankCorrelation
) -> tuple[tuple[SpreadLine, ...], SpreadLine]:
    found = coverage_interval(tables["inside"])
    shares, correlations = [*found.landmarks, found.overall], [*ranks.landmarks, ranks.pooled]
    chosen = [*(slice(place, place + 1) for place in range(len(names))), slice(None)]
    lines = []
    for place, (name, share, rank) in enumerate(zip([*names, "all"], shares, correlations, strict=True)):
        part = {key: table[:, chosen[place]] for key, table in tables.items()}
        areas = part["area"][np.isfinite(part["area"])]
        means = {key: mean_of_known(part[key]) for key in ("expected", "actual")}
        line = SpreadLine(
            number=place + 1 if place < len(names) else None, landmark=name, coverage=share.mean, low=share.low,
            high=share.high, points=int(np.isfinite(part["expected"]).sum()), area_mean=mean_of_known(areas),
            area_median=float(np.median(areas)) if areas.size else float("nan"), rank=float(rank), **means,
        )  # fmt: skip
        lines.append(line)
    return tuple(lines[:-1]), lines[-1]


def _plain_line(line: SpreadLine) -> dict[str, Any]:
    return {key: value for key, value in asdict(line).items() if key != "landmark"}


def squared(unit: str) -> str:
    """Say the square of a unit."""
    return f"({unit})²" if " " in unit else f"{unit}²"

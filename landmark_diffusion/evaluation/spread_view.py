"""The spread of a test, and whether it is true: coverage, area, expected against actual error, ranks, abstention.

The truth is the mean of the annotators. Lengths are in the unit of the images' spacing (mm), else px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.grid import ABSENT, Grid, rounded
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.evaluation.abstention_table import abstention_grid, plain_curve
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.pictures.figures import numbered
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

COLUMNS = (
    "number", "landmark", "points", "level", "coverage", "coverage_low", "coverage_high", "area_mean", "area_median",
    "expected_error", "actual_error", "spearman", "unit",
)  # fmt: skip


LEAST_SPREAD = 5
"""Images below which whether the spread is true cannot be told: no bins, no abstention, no table of it is shown."""


def too_few_for_spread(count: int) -> str:
    """Say why it is left out."""
    return f"Whether the spread is true was not judged: {counted(count, 'image')} cannot tell, {LEAST_SPREAD} can"


@dataclass(frozen=True)
class Line:
    """One landmark, or all of them; NaN where nothing was measured.

    Args:
        number: the landmark's, counted from 1; None for all together.
        points: points with truth and spread.
        coverage, low, high: share of the truths within their regions, 0 to 1, and its 95 % interval; NaN without.
        area_mean, area_median: of the regions, in squared units.
        expected, actual: mean radial errors.
        rank: Spearman correlation of expected and actual error over these points.
    """

    number: int | None
    name: str
    points: int
    coverage: float
    low: float
    high: float
    area_mean: float
    area_median: float
    expected: float
    actual: float
    rank: float


@dataclass(frozen=True)
class SpreadView:
    """What a test says of the spread.

    Args:
        unit: of lengths; areas are in its square.
        level: stated coverage of the regions; None where the spread is not calibrated.
        truth: in words.
        images: images with at least one point that counts.
        lines: N, in the landmarks' order.
        ranks: expected against actual errors.
        reliability: expected against actual errors in bins.
        uncalibrated: the same of the predictions' own covariances, beside calibrated ones; None where there are none.
        by_point, by_image: abstention from single points, and from whole images.
    """

    unit: Unit
    level: float | None
    truth: str
    images: int
    lines: tuple[Line, ...]
    overall: Line
    ranks: RankCorrelation
    reliability: Reliability
    uncalibrated: Reliability | None
    by_point: Abstention
    by_image: Abstention

    def column(self, name: str) -> np.ndarray:
        """Gather one number of all landmarks, (N,)."""
        return np.array([getattr(line, name) for line in self.lines], dtype=np.float64)

    def grid(self, wide: bool = True) -> Grid:
        """Round the numbers and lay them out, all landmarks together last; ``wide`` also gives the mean area."""
        unit = unit_words(self.unit)
        heads = {"landmark": "landmark", "points": "points"}
        if self.level is not None:
            heads |= {"inside": "inside, %", "95 %": "95 % interval", "mean": f"mean area, {squared(unit)}"}
            heads |= {"area": f"median area, {squared(unit)}"}
        heads |= {"expect": f"expected error, {unit}", "actual": f"actual error, {unit}", "rank": "rank correlation"}
        kept = [head for head in heads if wide or head not in ("mean", "points")]
        cells = [_cells(line) for line in (*self.lines, self.overall)]
        *rows, everything = (tuple(row[head] for head in kept) for row in cells)
        return Grid(
            "Spread, and whether it is true", self.above, tuple(kept), tuple(heads[head] for head in kept),
            (tuple(rows), (everything,)), self.notes,
        )  # fmt: skip

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
    return write_csv(path, [COLUMNS, *(_row(line, view) for line in (*view.lines, view.overall))])


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
    return spreads.expected_error * np.divide(after, before, out=factor, where=before > 0)


def _lines(
    tables: dict[str, np.ndarray], names: Sequence[str], ranks: RankCorrelation
) -> tuple[tuple[Line, ...], Line]:
    found = coverage_interval(tables["inside"])
    shares, correlations = [*found.landmarks, found.overall], [*ranks.landmarks, ranks.pooled]
    lines = []
    for place, name in enumerate([*names, "all"]):
        chosen = slice(None) if place == len(names) else slice(place, place + 1)
        expected, actual, area = (_known(tables[key][:, chosen]) for key in ("expected", "actual", "area"))
        share, median = shares[place], float(np.median(area)) if area.size else float("nan")
        lines.append(
            Line(
                number=None if place == len(names) else place + 1, name=name, points=len(expected),
                coverage=share.mean, low=share.low, high=share.high, area_mean=_mean(area), area_median=median,
                expected=_mean(expected), actual=_mean(actual), rank=float(correlations[place]),
            )
        )  # fmt: skip
    return tuple(lines[:-1]), lines[-1]


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _plain_line(line: Line) -> dict[str, Any]:
    return {key: value for key, value in asdict(line).items() if key != "name"}


def _cells(line: Line) -> dict[str, str]:
    label = line.name if line.number is None else numbered(line.number - 1, line.name)
    share, low, high = (rounded(100 * value, 1) for value in (line.coverage, line.low, line.high))
    return {
        "landmark": label, "points": str(line.points), "inside": share,
        "95 %": ABSENT if low == ABSENT else f"{low}-{high}", "mean": rounded(line.area_mean),
        "area": rounded(line.area_median), "expect": rounded(line.expected), "actual": rounded(line.actual),
        "rank": rounded(line.rank),
    }  # fmt: skip


def _row(line: Line, view: SpreadView) -> list[str | int | float | None]:
    return [
        line.number, line.name, line.points, "" if view.level is None else f"{view.level:g}", line.coverage, line.low,
        line.high, line.area_mean, line.area_median, line.expected, line.actual, line.rank, view.unit,
    ]  # fmt: skip


def squared(unit: str) -> str:
    """Say the square of a unit."""
    return f"({unit})²" if " " in unit else f"{unit}²"

"""The spread of a test as a figure of numbers: no radiograph is shown, so it may be committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from landmark_diffusion.core.grid import ABSENT
from landmark_diffusion.evaluation.spread_view import SpreadView, squared
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.pictures.charts import head_chart, label_rows, style_chart
from landmark_diffusion.pictures.figures import FAINT, INK, VARIANTS, Canvas, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, SQUARE, ROW = 1080, 400, 24  # output pixels
TOP, BOTTOM, LEFT, GAP, NAMES, AREA = 74, 58, 78, 118, 214, 106
EDGE = 1.1  # right end of the column of areas, in widths of the coverage panel
STATED, MISSED = VARIANTS[0], VARIANTS[1]
"""Colours of a coverage whose interval holds the stated level, and of one that does not."""


def spread_figure(path: str | Path, view: SpreadView) -> Path:
    """Draw reliability, abstention and, where there are regions, each landmark's coverage; returns the path.

    Coverage is sorted, the lowest on top, all landmarks together last; beside it stands the median area.
    """
    rows = len(view.lines) + 1
    below = 0 if view.level is None else TOP + ROW * rows + BOTTOM
    canvas = Canvas(WIDTH, TOP + SQUARE + BOTTOM + below)
    side = (WIDTH - LEFT - GAP - 24) / 2
    _draw_reliability(canvas.chart(LEFT, TOP, side, SQUARE), view)
    _draw_abstention(canvas.chart(LEFT + side + GAP, TOP, side, SQUARE), view)
    if view.level is not None:
        start = TOP + SQUARE + BOTTOM + TOP
        _draw_coverage(canvas.chart(NAMES, start, WIDTH - NAMES - AREA, ROW * rows), view, view.level)
    return canvas.save(path)


def _draw_reliability(axes: Axes, view: SpreadView) -> None:
    before, after = (view.reliability, None) if view.level is None else (view.uncalibrated, view.reliability)
    kinds = ((before, "uncalibrated, the method's own", FAINT), (after, "calibrated", STATED))
    shown = [(each, name, colour) for each, name, colour in kinds if each is not None]
    end = 1.06 * max(float(np.nanmax([each.expected, each.actual, each.high])) for each, _, _ in shown) or 1.0
    axes.plot([0, end], [0, end], color=INK, linestyle="--", linewidth=1, zorder=1, label="as stated")
    for each, name, colour in shown:
        bars = np.stack([each.actual - each.low, each.high - each.actual]).clip(0)
        axes.errorbar(
            each.expected, each.actual, bars, fmt="o-", markersize=5, color=colour, linewidth=1, elinewidth=1.3,
            capsize=2.5, label=name, zorder=3,
        )  # fmt: skip
    unit = unit_words(view.unit)
    axes.set(xlim=(0, end), ylim=(0, end))
    axes.set_xlabel(f"expected radial error, {unit}; {len(view.reliability.count)} bins of equal count", fontsize=9.5)
    axes.set_ylabel(f"actual radial error, {unit}; bars: 95 % over images", fontsize=9.5)
    _finish(axes, f"Reliability; truth: {view.truth}", rows=2)


def _draw_abstention(axes: Axes, view: SpreadView) -> None:
    point, image = view.by_point, view.by_image
    axes.plot([0, 100], [point.random] * 2, color=INK, linestyle="--", linewidth=1, label="random order")
    axes.plot(100 * point.share, point.oracle, color=FAINT, linewidth=1.6, label="points, best order")
    for curve, name, colour in ((point, "points", STATED), (image, "whole images", VARIANTS[4])):
        excess = curve.normalized_excess
        said = f" (NAURC {excess:.2f})" if np.isfinite(excess) else ""
        axes.plot(100 * curve.share, curve.mre, color=colour, linewidth=2, label=f"{name}{said}")
    top = max(point.random, float(np.max(point.mre[point.kept(0.05) :])), float(np.max(image.mre[image.kept(0.05) :])))
    axes.set(xlim=(0, 100), ylim=(0, 1.12 * top or 1.0))
    axes.set_xlabel("kept, % (those of the smallest expected error)", fontsize=9.5)
    axes.set_ylabel(f"mean radial error of the kept, {unit_words(view.unit)}", fontsize=9.5)
    _finish(axes, "Abstention", rows=2)


def _draw_coverage(axes: Axes, view: SpreadView, level: float) -> None:
    shares = view.column("coverage")
    order = np.argsort(np.where(np.isnan(shares), 2.0, shares), kind="stable")
    lines = [*(view.lines[place] for place in order), view.overall]
    axes.axvline(100 * level, color=INK, linestyle="--", linewidth=1, zorder=1, label=f"stated {100 * level:g} %")
    kinds = ((STATED, "interval holds the stated level", True), (MISSED, "interval does not", False))
    for colour, name, holds in kinds:
        measured = [i for i, line in enumerate(lines) if np.isfinite(line.low)]
        places = [i for i in measured if (lines[i].low <= level <= lines[i].high) == holds]
        ends = np.array([[lines[i].coverage, lines[i].low, lines[i].high] for i in places]).reshape(-1, 3) * 100
        if places:
            axes.hlines(places, ends[:, 1], ends[:, 2], color=colour, linewidth=2, zorder=2)
            axes.plot(ends[:, 0], places, "o", color=colour, markersize=6.5, label=name, zorder=3, clip_on=False)
    axes.axhline(len(lines) - 1.5, color="#BBBBBB", linewidth=1)
    label_rows(axes, [*(shorten(view.lines[place].label, 28) for place in order), "all landmarks"])
    axes.set_ylim(len(lines) - 0.5, -0.6)
    lowest = min((100 * line.low for line in lines if np.isfinite(line.low)), default=0.0)
    axes.set_xlim(max(0.0, 5 * np.floor((min(lowest, 100 * level) - 2) / 5)), 100)
    for place, line in enumerate(lines):
        area = f"{line.area_median:.1f}" if np.isfinite(line.area_median) else ABSENT
        axes.text(EDGE, place, area, transform=axes.get_yaxis_transform(), fontsize=9.5, ha="right", va="center")
    axes.text(EDGE, -1.2, f"median area\n{squared(unit_words(view.unit))}", transform=axes.get_yaxis_transform(),
              fontsize=9.5, ha="right", va="center")  # fmt: skip
    axes.set_xlabel("truths inside their region, %; bars: 95 % interval, the calibration as it is", fontsize=9.5)
    _finish(axes, "Coverage by landmark", rows=1, grid="x")


def _finish(axes: Axes, title: str, rows: int, grid: Literal["x", "both"] = "both") -> None:
    """Title, a legend of ``rows`` rows between it and the axes, and what all panels share."""
    columns = -(-len(axes.get_legend_handles_labels()[1]) // rows)
    head_chart(axes, title, 10 + 16 * rows, columns, handlelength=1.8, columnspacing=1.4)
    style_chart(axes, grid)

"""The annotator-aware view as a figure of numbers: no radiograph is shown, so it may be committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.evaluation.annotator_view import AnnotatorView
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.pictures.charts import head_chart, label_rows, style_chart
from landmark_diffusion.pictures.figures import (
    FAINT,
    INK,
    PREDICTION,
    VARIANTS,
    Canvas,
    place_labels,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS: dict[str, tuple[str, dict[str, Any]]] = {
    "constant": ("offset of the annotators", {"marker": "D", "markersize": 5.5, "color": INK, "fillstyle": "none"}),
    "rest": ("rest of their difference", {"marker": "s", "markersize": 6, "color": VARIANTS[5]}),
    "error": ("error to their mean", {"marker": "o", "markersize": 6, "color": VARIANTS[0]}),
    "spread": ("spread of the prediction", {"marker": "^", "markersize": 7, "color": PREDICTION}),
}
WIDTH, SQUARE, ROW, TOP, BOTTOM, LEFT = 620, 460, 26, 84, 54, 222  # output pixels


def annotator_figure(path: str | Path, view: AnnotatorView) -> Path:
    """Draw each landmark's offset, rest, error and spread, sorted by the rest, and save it; returns the path.

    Where the predictions have a spread, a second panel shows it against the rest, with the landmarks' numbers and the
    line on which it is one annotator's part of the rest.
    """
    spreads = view.correlations is not None
    height = TOP + BOTTOM + max(ROW * len(view.lines), SQUARE - 60 if spreads else ROW)
    canvas = Canvas(LEFT + WIDTH + (SQUARE + 96 if spreads else 24), height)
    _draw_landmarks(canvas.chart(LEFT, TOP, WIDTH, height - TOP - BOTTOM), view)
    if spreads:
        side = min(SQUARE, height - TOP - BOTTOM)
        _draw_spread(canvas.chart(LEFT + WIDTH + 76, TOP, SQUARE, side), view, (SQUARE, side))
    return canvas.save(path)


def _draw_landmarks(axes: Axes, view: AnnotatorView) -> None:
    rest = view.column("rest")
    order = np.argsort(np.where(np.isnan(rest), -1.0, rest), kind="stable")
    rows = np.arange(len(order))
    shown = {name: view.column(name)[order] for name in MARKS if np.isfinite(view.column(name)).any()}
    stacked = np.stack(list(shown.values()))
    known = np.isfinite(stacked).any(0)
    low, high = (np.where(known, ends, 0.0) for ends in _ends(stacked))
    axes.hlines(rows, low, high, color="#DDDDDD", linewidth=1.5, zorder=1)
    for name, values in shown.items():
        label, style = MARKS[name]
        axes.plot(values, rows, linestyle="none", label=label, zorder=3, clip_on=False, **style)
    label_rows(axes, [shorten(view.lines[i].label, 28) for i in order])
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlim(0, 1.04 * float(np.nanmax(stacked, initial=0.0)) or 1.0)
    axes.set_xlabel(f"{unit_words(view.unit)}; error: mean, rest and spread: root mean square", fontsize=9.5)
    head_chart(axes, shorten(f"{view.variant} beside {view.annotators[0]} and {view.annotators[1]}", 70), 38, 2)
    style_chart(axes, "x")


def _ends(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest of each column that are not NaN; infinities where all are."""
    return np.where(np.isnan(values), np.inf, values).min(0), np.where(np.isnan(values), -np.inf, values).max(0)


def _draw_spread(axes: Axes, view: AnnotatorView, size: tuple[float, float]) -> None:
    points = np.column_stack([view.column("rest"), view.column("spread")])
    right, top = (1.12 * float(np.nanmax(values, initial=0.0)) or 1.0 for values in points.T)
    axes.plot([0, right], [0, right / np.sqrt(2)], color=FAINT, linestyle="--", linewidth=1, zorder=1,
              label="rest/√2, one annotator's part")  # fmt: skip
    axes.plot(*points.T, linestyle="none", zorder=3, clip_on=False, **MARKS["spread"][1])
    axes.set(xlim=(0, right), ylim=(0, max(top, 1e-9)))
    inside = points / [right, top] * size
    labels = [str(line.number) for line in view.lines]
    boxes = [(7.0 * len(label) + 2, 12.0) for label in labels]
    known = np.isfinite(inside).all(1)
    places = place_labels(inside, boxes, size, inside[known])
    for label, centre in zip(labels, places, strict=True):
        if np.isfinite(centre).all():
            x, y = centre / size * [right, top]
            axes.text(x, y, label, fontsize=9, ha="center", va="center", color=INK)
    found = np.nan if view.correlations is None else view.correlations.rest
    said = f": Spearman {found:.2f}" if np.isfinite(found) else ""
    axes.set_xlabel(f"rest of the annotators' difference, {unit_words(view.unit)}", fontsize=9.5)
    axes.set_ylabel(f"spread of the prediction, {unit_words(view.unit)}", fontsize=9.5)
    head_chart(axes, f"Spread against the rest{said}", 38, 1)
    style_chart(axes, "x")

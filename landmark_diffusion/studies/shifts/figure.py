"""The rows as a chart, and one image under all families as a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landmark_diffusion.data.shifts import FAMILIES, shift_image
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.pictures.charts import head_chart, label_rows, log_axis, style_chart
from landmark_diffusion.pictures.figures import BAD, INK, TRUTH, VARIANTS, Canvas, shorten
from landmark_diffusion.pictures.sheet import Film
from landmark_diffusion.studies.shifts.judge import PLAIN
from landmark_diffusion.studies.shifts.rows import MEAN, ShiftRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES, LEFT, RIGHT, ROW, TOP, BOTTOM, GAP = 150, 440, 320, 24, 84, 52, 40  # output pixels
TILE, CAPTION, ACROSS = 150, 24, 7


def shifts_figure(path: Path, rows: Sequence[ShiftRow], unit: str, level: float, title: str) -> Path:
    """Draw each family's MRE with its interval, and beside it coverage and the share called unlike; returns the path.

    The worst family is on top, the images as they are and the mean at the bottom.
    """
    families = sorted((row for row in rows if row.family not in (PLAIN, MEAN)), key=lambda row: -row.mre)
    ordered = [*families, *(row for row in rows if row.family == MEAN), *(row for row in rows if row.family == PLAIN)]
    height = ROW * len(ordered)
    canvas = Canvas(NAMES + LEFT + GAP + RIGHT + 24, TOP + height + BOTTOM)
    _draw_errors(canvas.chart(NAMES, TOP, LEFT, height), ordered, unit)
    _draw_shares(canvas.chart(NAMES + LEFT + GAP, TOP, RIGHT, height), ordered, level)
    canvas.title(title)
    return canvas.save(path, formulas=False)


def contact_sheet(path: Path, grey: np.ndarray, points: np.ndarray, image_id: str, seed: int = 0) -> Path:
    """Draw an image (H, W) uint8 and what each family makes of it, with its landmarks (N, 2); returns the path."""
    count = len(FAMILIES) + 1
    height = round(TILE * grey.shape[0] / grey.shape[1])
    canvas = Canvas(ACROSS * (TILE + 6) + 6, -(-count // ACROSS) * (height + CAPTION + 6) + 6)
    for place, family in enumerate([PLAIN, *FAMILIES]):
        down, across = divmod(place, ACROSS)
        left, top = 6 + across * (TILE + 6), 6 + down * (height + CAPTION + 6)
        canvas.write(left, top + CAPTION / 2, family, 9.5)
        shown, there = grey, points
        if family != PLAIN:
            changed = shift_image(grey, points, family, seed, image_id)
            shown, there = changed.grey, changed.to_shifted(points)
        film = Film(canvas, left, top + CAPTION, shown.shape[::-1], (TILE, height))
        film.show(shown)
        film.axes.plot(*there.T, ".", color=TRUTH, markersize=2.5)
    return canvas.save(path)


def _draw_errors(axes: Axes, rows: Sequence[ShiftRow], unit: str) -> None:
    means = np.array([row.mre for row in rows])
    ends = np.array([[row.mre_low, row.mre_high] for row in rows])
    places = np.arange(len(rows))
    plain = next((row.mre for row in rows if row.family == PLAIN), None)
    if plain is not None:
        axes.axvline(plain, color=INK, linestyle="--", linewidth=1, zorder=1, label=f"{PLAIN}: {plain:.2f}")
    axes.hlines(places, ends[:, 0], ends[:, 1], color=VARIANTS[0], linewidth=2, zorder=2)
    axes.plot(means, places, "o", color=VARIANTS[0], markersize=6, zorder=3, label="mean, 95 % interval over images")
    shown = np.concatenate([means, ends.ravel()])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    log_axis(axes, "x", 0.8 * float(shown.min(initial=1.0)), 1.25 * float(shown.max(initial=1.0)))
    label_rows(axes, [shorten(row.family, 22) for row in rows])
    _finish(axes, rows, f"mean radial error, {unit_words(unit)}, logarithmic")


def _draw_shares(axes: Axes, rows: Sequence[ShiftRow], level: float) -> None:
    places = np.arange(len(rows))
    kinds = (("coverage", "o", VARIANTS[0], "truths in their region"), ("unlike", "s", BAD, "images called unlike"))
    for name, marker, colour, label in kinds:
        values = np.array([getattr(row, name) for row in rows])
        if np.isfinite(values).any():
            axes.plot(values, places, marker, color=colour, markersize=6, label=label, clip_on=False, zorder=3)
    axes.axvline(100 * level, color=INK, linestyle="--", linewidth=1, zorder=1, label=f"stated {100 * level:g} %")
    label_rows(axes, [""] * len(rows))
    axes.set_xlim(0, 100)
    _finish(axes, rows, "%")


def _finish(axes: Axes, rows: Sequence[ShiftRow], label: str) -> None:
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(label, fontsize=9.5)
    axes.axhline(sum(row.family not in (PLAIN, MEAN) for row in rows) - 0.5, color="#BBBBBB", linewidth=1)
    head_chart(axes, "", 10, 1 if len(axes.get_legend_handles_labels()[1]) < 3 else 2, handlelength=1.6)
    style_chart(axes, "x")

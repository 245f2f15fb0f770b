"""Errors by landmark and by radius: box plots with the doctors' disagreement beside them, and cumulative curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landmark_diffusion.metrics.summary import mean_over_images
from landmark_diffusion.pictures.charts import head_chart, label_rows, log_axis, style_chart
from landmark_diffusion.pictures.figures import FAINT, INK, VARIANTS, Canvas, numbered, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def landmark_errors_figure(
    path: str | Path,
    errors: Mapping[str, np.ndarray],
    landmark_names: Sequence[str],
    *,
    unit: str = "mm",
    human: np.ndarray | None = None,
    radius: float | None = None,
) -> Path:
    """Draw a box of radial errors for each landmark and variant, sorted by mean error, and save it; returns the path.

    Box: quartiles and median; whiskers: 5th and 95th percentile; dot: mean (MRE). The axis is logarithmic, since a few
    gross errors would else flatten every box.

    Args:
        errors: variant -> (I, N) radial errors in ``unit`` over I images; NaN where there is no truth.
        human: (N,) mean distance between the two annotators in ``unit``, drawn as diamonds.
        radius: drawn as a dashed line (the first SDR radius).
    """
    *_, last = errors.values()
    order = np.argsort(np.nan_to_num(mean_over_images(last, np.isfinite(last)), nan=-1.0), kind="stable")
    canvas = Canvas(1000, 120 + max(9 * len(errors) + 11, 24) * len(order))
    axes = canvas.chart(238, 64, canvas.width - 262, canvas.height - 116)
    for number, (variant, values) in enumerate(errors.items()):
        _draw_boxes(axes, values[:, order], number, len(errors), variant)
    if human is not None and np.isfinite(human).any():
        axes.plot(
            np.asarray(human)[order], np.arange(len(order)), linestyle="none", marker="D", markersize=6, color=INK,
            markerfacecolor="white", label="distance between the annotators", zorder=6,
        )  # fmt: skip
    if radius is not None:
        axes.axvline(radius, color=FAINT, linestyle="--", linewidth=1, zorder=0)
        axes.annotate(f"{radius:g} {unit}", (radius, 0), xycoords=("data", "axes fraction"), fontsize=8, color=FAINT,
                      xytext=(3, 3), textcoords="offset points")  # fmt: skip
    axes.set_ylim(-0.7, len(order) - 0.3)
    _error_axis(axes, errors, unit)
    label_rows(axes, [shorten(numbered(i, landmark_names[i]), 33) for i in order])
    head_chart(axes, "Error by landmark", 30, 4, left=-0.005)
    return canvas.save(path)


def cumulative_figure(
    path: str | Path,
    errors: Mapping[str, np.ndarray],
    *,
    unit: str = "mm",
    radii: Sequence[float] = (),
    human: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Draw the share of points whose error is below r against r, a curve a variant, and save it; returns the path.

    Args:
        errors: variant -> radial errors of any shape in ``unit``; NaN are left out.
        human: label -> radial errors of people, drawn dashed and grey.
        radii: the SDR radii, marked on the curves.
    """
    everything = np.concatenate([np.ravel(each) for each in errors.values()])
    finite = everything[np.isfinite(everything)]
    right = 2.5 * max(radii) if len(radii) else float(np.percentile(finite, 99)) if finite.size else 1.0
    canvas = Canvas(900, 560)
    axes = canvas.chart(70, 44, 806, 460)
    for number, (variant, values) in enumerate(errors.items()):
        _draw_curve(axes, values, right, radii, variant, VARIANTS[number % len(VARIANTS)], "-")
    for number, (label, values) in enumerate((human or {}).items()):
        _draw_curve(axes, values, right, (), label, FAINT, ("--", ":", "-.")[number % 3])
    for radius in radii:
        axes.axvline(radius, color="#DDDDDD", linewidth=1, zorder=0)
    axes.set(xlim=(0, right), ylim=(0, 101))
    axes.set_xlabel(f"radius, {unit}", fontsize=10)
    axes.set_ylabel("points within the radius, %", fontsize=10)
    style_chart(axes, "y", 10)
    axes.set_title("Share of points found within a radius", fontsize=11.5, weight="bold", loc="left")
    axes.legend(loc="lower right", frameon=False, fontsize=9.5)
    return canvas.save(path)


def success_curve(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radii at which the share of points within the radius rises, and that share in percent just beyond each.

    ``errors`` has any shape; NaN are left out. Both results have one entry a point, the radii ascending.
    """
    radii = np.sort(errors[np.isfinite(errors)].ravel())
    return radii, 100.0 * np.arange(1, radii.size + 1) / max(radii.size, 1)


def _draw_boxes(axes: Axes, values: np.ndarray, number: int, count: int, label: str) -> None:
    """Draw one variant's boxes, its rows moved up or down so that the variants lie beside each other."""
    colour = VARIANTS[number % len(VARIANTS)]
    step = 0.78 / count
    rows = np.arange(values.shape[1]) + ((count - 1) / 2 - number) * step
    columns = [column[np.isfinite(column)] for column in values.T]
    kept = [i for i, column in enumerate(columns) if column.size]
    parts = axes.boxplot(
        [columns[i] for i in kept], positions=rows[kept], widths=step * 0.78, orientation="horizontal", whis=(5, 95),
        manage_ticks=False, patch_artist=True, flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour,
        "alpha": 0.45}, medianprops={"color": colour, "linewidth": 1.6}, whiskerprops={"color": colour},
        capprops={"color": colour}, boxprops={"facecolor": colour + "38", "edgecolor": colour},
    )  # fmt: skip
    for each in parts["boxes"]:
        each.set_linewidth(1.0)
    means = np.array([columns[i].mean() for i in kept])
    axes.plot(means, rows[kept], linestyle="none", marker="o", markersize=4.5, color=colour, zorder=5, label=label,
              markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip


def _error_axis(axes: Axes, errors: Mapping[str, np.ndarray], unit: str) -> None:
    """Logarithmic axis with plain numbers, from the lowest whisker's end to the greatest error."""
    everything = np.concatenate([np.ravel(each) for each in errors.values()])
    positive = everything[np.isfinite(everything) & (everything > 0)]
    columns = [column[column > 0] for each in errors.values() for column in each.T]
    ends = [float(np.percentile(column, 5)) for column in columns if column.size]
    low, high = (min(ends), float(positive.max())) if ends else (0.1, 10.0)
    low, high = max(low * 0.8, high * 1e-3), high * 1.25
    log_axis(axes, "x", low, high)
    key = "dot: mean; box: quartiles and median; whiskers: 5 to 95 %"
    axes.set_xlabel(f"radial error, {unit}, logarithmic ({key})", fontsize=9.5)
    style_chart(axes, "x")


def _draw_curve(
    axes: Axes, values: np.ndarray, right: float, radii: Sequence[float], label: str, colour: str, style: str
) -> None:
    at, share = success_curve(values)
    last = (max(right, at[-1]), share[-1]) if at.size else (right, 0.0)
    x, y = np.concatenate([[0.0], at, last[:1]]), np.concatenate([[0.0], share, last[1:]])
    axes.step(x, y, where="post", color=colour, linestyle=style, linewidth=1.8, label=label)
    marks = [100.0 * float((at < radius).mean()) for radius in radii] if at.size else []
    if marks:
        axes.plot(radii, marks, linestyle="none", marker="o", markersize=5, color=colour)

"""Pictures of the diffusion itself: the reverse process (paper A, figure 2) and salt-and-pepper heatmaps (figure 3).

Everything here lies in the network's grid: images, maps and points in network pixels, centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.pictures.figures import (
    HEAT,
    LEGEND,
    PREDICTION,
    TRUTH,
    Canvas,
    heat_rgba,
    numbered,
    outlined,
    shorten,
    show_image,
    shrink_keeping_peaks,
    unit_range,
)
from landmark_diffusion.pictures.sheet import mark_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Step = tuple[int, np.ndarray, np.ndarray]
GAP, HEAD, LEFT = 6, 62, 128  # output pixels


def choose_steps(count: int, panels: int = 7) -> list[int]:
    """Choose at most ``panels`` places in a trajectory of ``count`` entries: the first, the last, evenly between."""
    return sorted(set(np.linspace(0, count - 1, min(panels, count)).round().astype(int).tolist())) if count else []


def process_figure(
    path: str | Path,
    trajectory: Sequence[Step],
    image: np.ndarray,
    truth: np.ndarray | None = None,
    landmark_name: str = "",
    *,
    panels: int = 7,
    panel_height: int = 230,
) -> Path:
    """Draw the reverse process of one landmark's channel as two rows of panels and save it as PNG; returns the path.

    Top row: x_t, noise turning into a single hot pixel; bottom row: the estimate of x_0 after the blur (eq. 12) over
    the image. Each panel has its own range of values, because x_t shrinks from noise to one pixel.

    Args:
        trajectory: (t, x_t (H, W), x0_hat (H, W)) from t = T-1 downwards; at most ``panels`` of them are drawn.
        image: (H, W) the network's input, uint8 or [0, 1].
        truth: (2,) network pixels, or None; drawn as a green ring.
        panel_height: output pixels of one panel.
    """
    steps = [trajectory[i] for i in choose_steps(len(trajectory), panels)]
    centre = np.asarray(truth, dtype=float) if truth is not None else _peak(steps[-1][2])
    width = max(60, round(panel_height * image.shape[1] / image.shape[0]))
    total = LEFT + (width + GAP) * len(steps) + 12
    canvas = Canvas(max(total, 640), HEAD + 2 * (panel_height + GAP) + LEGEND)
    title = f"Reverse process: {landmark_name}" if landmark_name else "Reverse process"
    canvas.write(12, 19, title, 11, weight="bold")
    for row, label in enumerate(("$x_t$", "estimate of $x_0$\nafter the blur,\nover the image")):
        canvas.write(12, HEAD + (row + 0.5) * (panel_height + GAP), label, 10)
    for column, (t, noisy, estimate) in enumerate(steps):
        left = LEFT + column * (width + GAP)
        canvas.write(left + width / 2, HEAD - 12, f"t = {t}", 10, ha="center")
        _noise_panel(canvas.picture(left, HEAD, width, panel_height), noisy, panel_height, centre, truth)
        below = HEAD + panel_height + GAP
        box = canvas.picture(left, below, width, panel_height)
        _estimate_panel(box, image, estimate, panel_height, centre, truth)
    foot = "One landmark's channel, magnified in the corner; every panel has its own range of values."
    foot += " Ring: the truth." if truth is not None else ""
    canvas.write(LEFT, HEAD + 2 * (panel_height + GAP) + LEGEND / 2, foot, 8.5)
    return canvas.save(path)


def salt_and_pepper_figure(
    path: str | Path,
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    truth: np.ndarray,
    landmark_names: Sequence[str],
    *,
    points: Mapping[str, np.ndarray] | None = None,
    panel: int = 210,
    title: str = "Salt-and-pepper heatmaps",
) -> Path:
    """Draw crops around landmarks with each variant's heatmap and the truth in green, as in figure 3; returns the path.

    Five landmarks that have a truth are shown, spread over the list; a crop is a sixth of the image's width.

    Args:
        image: (H, W) the network's input, uint8 or [0, 1].
        maps: variant -> (N, H, W) heatmaps; one row of panels a variant, each map scaled to its own range.
        truth: (N, 2) network pixels; NaN where nobody marked the point.
        points: variant -> (N, 2) decoded predictions in network pixels, drawn as crosses.
        panel: output pixels of one crop's side.
    """
    from matplotlib.patches import Patch

    known = [i for i in range(len(truth)) if not np.isnan(truth[i]).any()]
    chosen = [known[i] for i in choose_steps(len(known), 5)]
    half = max(8, image.shape[1] // 6 // 2)
    canvas = Canvas(max(LEFT + (panel + GAP) * len(chosen) + 12, 640), HEAD + len(maps) * (panel + GAP) + LEGEND)
    canvas.write(12, 19, title, 11, weight="bold")
    for column, landmark in enumerate(chosen):
        name = shorten(numbered(landmark, landmark_names[landmark]), panel // 7)
        canvas.write(LEFT + column * (panel + GAP) + panel / 2, HEAD - 12, name, 9.5, ha="center")
    for row, (variant, heat) in enumerate(maps.items()):
        top = HEAD + row * (panel + GAP)
        canvas.write(12, top + panel / 2, variant.replace("-", "-\n", 1), 10)
        for column, landmark in enumerate(chosen):
            axes = canvas.picture(LEFT + column * (panel + GAP), top, panel, panel)
            predicted = None if points is None or variant not in points else points[variant][landmark]
            _crop_panel(axes, image, heat[landmark], truth[landmark], predicted, half)
    key = [mark_key("truth", TRUTH, "o", 1.5)]
    key += [mark_key("prediction", PREDICTION, "x", 1.5)] if points is not None else []
    key += [Patch(facecolor=HEAT, label="heatmap (square root of its share of the peak)")]
    style = {"fontsize": 9, "handletextpad": 0.4, "columnspacing": 2.0, "borderpad": 0.4}
    canvas.key(HEAD + len(maps) * (panel + GAP), key, LEFT - 8, **style)
    return canvas.save(path)


def _noise_panel(axes: Axes, noisy: np.ndarray, limit: int, centre: np.ndarray, truth: np.ndarray | None) -> None:
    noisy = np.asarray(noisy, dtype=float)
    inset = _inset(axes, noisy, centre)
    show_image(inset, noisy, interpolation="nearest", vmin=noisy.min(), vmax=noisy.max())
    _look_at(inset, noisy, centre, truth)
    shown, block = shrink_keeping_peaks(noisy, limit)
    show_image(axes, shown, interpolation="nearest")
    _ring(axes, None if truth is None else (np.asarray(truth) + 0.5) / block - 0.5)


def _estimate_panel(
    axes: Axes, image: np.ndarray, estimate: np.ndarray, limit: int, centre: np.ndarray, truth: np.ndarray | None
) -> None:
    shown, block = shrink_keeping_peaks(unit_range(np.asarray(estimate, dtype=float)), limit)
    extent = (-0.5, shown.shape[1] * block - 0.5, shown.shape[0] * block - 0.5, -0.5)
    inset = _inset(axes, image, centre)
    for each, heat, where in ((axes, shown, extent), (inset, unit_range(np.asarray(estimate, dtype=float)), None)):
        show_image(each, _dimmed(image), interpolation="nearest")
        limits = each.get_xlim(), each.get_ylim()
        rgba = heat_rgba(heat, gamma=0.7, opacity=1.0)
        each.imshow(rgba, extent=where, aspect="auto", interpolation="nearest")
        each.set(xlim=limits[0], ylim=limits[1])
    _look_at(inset, image, centre, truth)
    _ring(axes, truth)


def _inset(axes: Axes, image: np.ndarray, centre: np.ndarray) -> Axes:
    """Axes for a magnified cut in the panel's corner that lies farthest from ``centre``."""
    height, width = image.shape[:2]
    left, below = centre[0] > width / 2, centre[1] < height / 2
    part = 0.42
    across = part * height / width
    inset = axes.inset_axes((0.0 if left else 1 - across, 0.0 if below else 1 - part, across, part))
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set_color("white")
    return inset


def _look_at(inset: Axes, image: np.ndarray, centre: np.ndarray, truth: np.ndarray | None) -> None:
    """Turn the magnified cut to a square of a fifth of the image's width around ``centre``."""
    half = max(4, image.shape[1] // 10) + 0.5
    x, y = np.round(centre)
    inset.set(xlim=(x - half, x + half), ylim=(y + half, y - half))
    _ring(inset, truth, size=17.0)


def _peak(heat: np.ndarray) -> np.ndarray:
    """The hottest pixel of a map (H, W) as (x, y)."""
    return np.array(np.unravel_index(np.nanargmax(heat), heat.shape), dtype=float)[::-1]


def _dimmed(image: np.ndarray) -> np.ndarray:
    """The image as floats at most 0.75, shown on a fixed range so that the heat stands out."""
    values = image / 255.0 if image.dtype == np.uint8 else np.asarray(image, dtype=float)
    return np.clip(np.stack([values] * 3, -1), 0, 1) * 0.75


def _ring(axes: Axes, truth: np.ndarray | None, size: float = 13.0) -> None:
    if truth is not None and not np.isnan(truth).any():
        style: dict[str, Any] = {"markeredgewidth": 1.3, "snap": False, "path_effects": outlined(2.4)}
        axes.plot(*truth, marker="o", markersize=size, markerfacecolor="none", markeredgecolor=TRUTH, **style)


def _crop_panel(
    axes: Axes, image: np.ndarray, heat: np.ndarray, truth: np.ndarray, predicted: np.ndarray | None, half: int
) -> None:
    show_image(axes, _dimmed(image), interpolation="nearest")
    axes.set_facecolor("black")
    axes.imshow(heat_rgba(unit_range(heat), gamma=0.5, opacity=1.0), aspect="auto", interpolation="nearest")
    centre = np.where(np.isnan(truth), np.array(image.shape[::-1]) / 2, truth).round()
    (left, top), (right, bottom) = centre - half - 0.5, centre + half + 0.5
    axes.set(xlim=(left, right), ylim=(bottom, top))
    style: dict[str, Any] = {"linestyle": "none", "snap": False, "path_effects": outlined(2.6), "clip_on": True}
    if not np.isnan(truth).any():
        axes.plot(*truth, marker="o", markersize=15, markerfacecolor="none", markeredgecolor=TRUTH, **style)
    if predicted is not None and not np.isnan(predicted).any():
        axes.plot(*predicted, marker="x", markersize=6, markeredgecolor=PREDICTION, markeredgewidth=1.2, **style)
    peak = _peak(heat)
    note = f"peak {float(np.nanmax(heat)):.2g}"
    if (np.abs(peak - centre) > half).any():
        note += ", outside the crop"
    axes.text(
        0.03, 0.03, note, transform=axes.transAxes, fontsize=8, color="white", va="bottom", path_effects=outlined()
    )

"""A radiograph with the prediction, every annotator and optionally the heatmap drawn over it.

Data coordinates are the original image's pixels, centres at integers (docs/conventions.md), so a marker at (x, y) falls
on the centre of pixel (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.pictures.figures import (
    ABSENT,
    ANNOTATORS,
    BAD,
    FAINT,
    HEAT,
    INK,
    PREDICTION,
    annotator_labels,
    heat_rgba,
    new_figure,
    outlined,
    pixel_axes,
    place_labels,
    save_figure,
    shorten,
    show_image,
    unit_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE, LEGEND, SIDEBAR = 38, 34, 290  # output pixels above, below and beside the radiograph


class ToOriginal(Protocol):
    """What maps network pixels to original pixels; data.geometry.Frame does."""

    def to_original(self, points: np.ndarray) -> np.ndarray:
        """Map (..., 2) network pixels to original pixels."""
        ...


def overlay_figure(
    path: str | Path,
    image: np.ndarray,
    prediction: np.ndarray,
    annotations: np.ndarray,
    landmark_names: Sequence[str],
    annotator_names: Sequence[str] = (),
    *,
    heatmap: np.ndarray | None = None,
    frame: ToOriginal | None = None,
    errors: np.ndarray | None = None,
    unit: str = "px",
    bad_beyond: float | None = None,
    title: str = "",
    height: int = 1000,
) -> Path:
    """Draw one case and save it as PNG; returns the path.

    Args:
        path: where the PNG goes; its folder is made.
        image: (H, W) uint8 original image.
        prediction: (N, 2) original pixels; NaN where nothing was predicted.
        annotations: (A, N, 2) original pixels; NaN where missing; A may be 0.
        heatmap: (N, H', W') or (H', W'), in the network's grid when ``frame`` is given, else in the image's own.
        frame: the map from network to original pixels (data.geometry.Frame).
        errors: (N,) in ``unit``, listed beside the picture; by default px to the mean of the annotators.
        bad_beyond: errors from this value on (in ``unit``) are set in red.
        height: output pixels of the radiograph itself; the title, legend and list come on top of it.
    """
    truth = mean_of_annotators(annotations) if len(annotations) else np.full_like(prediction, np.nan)
    if errors is None:
        errors, unit = np.linalg.norm(prediction - truth, axis=-1), "px"
    scale = height / image.shape[0]
    width = max(1, round(image.shape[1] * scale))
    sidebar = SIDEBAR if len(landmark_names) else 0
    figure = new_figure(max(width + sidebar, 480), height + TITLE + LEGEND)
    axes = pixel_axes(figure, 0, TITLE, width, height)
    show_image(axes, image)
    if heatmap is not None:
        _draw_heatmap(axes, heatmap, frame)
    draw_points(axes, prediction, annotations, truth)
    anchors = np.where(np.isnan(prediction), truth, prediction)
    _draw_numbers(axes, anchors, np.concatenate([prediction[None], annotations]), scale, (width, height))
    draw_title(figure, title)
    draw_legend(figure, TITLE + height, annotator_labels(annotator_names, len(annotations)), heatmap is not None)
    _draw_list(figure, width + 16, landmark_names, errors, unit, bad_beyond, height)
    return save_figure(figure, path)


def draw_points(
    axes: Axes, prediction: np.ndarray, annotations: np.ndarray, truth: np.ndarray, size: float = 7.0
) -> None:
    """Draw error lines, the annotators' circles and the prediction's crosses; ``size`` is the marker's in points."""
    for start, end in zip(prediction, truth, strict=True):
        axes.plot(*np.stack([start, end], -1), color=PREDICTION, linewidth=1.0, alpha=0.9, snap=False, zorder=3)
    for number, points in enumerate(annotations):
        style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": ANNOTATORS[number % len(ANNOTATORS)]}
        _draw_markers(axes, points, marker="o", size=size, zorder=4, **style)
    _draw_markers(axes, prediction, marker="x", size=size * 0.9, zorder=5, markeredgecolor=PREDICTION)


def _draw_markers(axes: Axes, points: np.ndarray, marker: str, size: float, zorder: int, **style: Any) -> None:
    axes.plot(
        *points.T,
        linestyle="none",
        marker=marker,
        markersize=size,
        markeredgewidth=1.3,
        zorder=zorder,
        snap=False,
        path_effects=outlined(2.6),
        **style,
    )


def _draw_heatmap(axes: Axes, heatmap: np.ndarray, frame: ToOriginal | None) -> None:
    """Lay the landmarks' maps, each scaled to its own peak and merged by the greatest, over the image."""
    maps = heatmap if heatmap.ndim == 3 else heatmap[None]
    merged = np.max([unit_range(each) for each in maps], axis=0)
    height, width = merged.shape
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    (left, top), (right, bottom) = corners if frame is None else frame.to_original(corners)
    limits = axes.get_xlim(), axes.get_ylim()
    extent = (left, right, bottom, top)
    axes.imshow(heat_rgba(merged), extent=extent, aspect="auto", interpolation="nearest", zorder=2)
    axes.set(xlim=limits[0], ylim=limits[1])


def _draw_numbers(axes: Axes, anchors: np.ndarray, marks: np.ndarray, scale: float, bounds: tuple[int, int]) -> None:
    """Write each landmark's number near its anchor (N, 2), off the marks (..., 2); ``bounds`` in output pixels."""
    obstacles = marks.reshape(-1, 2)
    obstacles = obstacles[~np.isnan(obstacles).any(-1)]
    texts = [str(number + 1) for number in range(len(anchors))]
    sizes = [(7.5 * len(text) + 2, 13.0) for text in texts]
    centres = place_labels((anchors + 0.5) * scale, sizes, bounds, (obstacles + 0.5) * scale) / scale - 0.5
    style: dict[str, Any] = {"color": "white", "fontsize": 8.5, "ha": "center", "va": "center", "zorder": 6}
    for text, (x, y) in zip(texts, centres, strict=True):
        if np.isfinite([x, y]).all():
            axes.text(x, y, text, path_effects=outlined(), **style)


def draw_title(figure: Figure, title: str) -> None:
    """Write the title into the strip above the pictures."""
    width, height = figure.get_size_inches() * figure.dpi
    text = shorten(title, int(width / 8))
    figure.text(10 / width, 1 - TITLE / 2 / height, text, fontsize=11, color=INK, va="center", weight="bold")


def draw_legend(figure: Figure, top: float, annotators: Sequence[str], heat: bool) -> None:
    """Draw the key to marks and colours into the strip that begins ``top`` output pixels below the figure's top."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def key(label: str, colour: str, marker: str) -> Line2D:
        face = "none" if marker == "o" else colour
        return Line2D(
            [], [], linestyle="none", marker=marker, markeredgecolor=colour, markerfacecolor=face, label=label,
            markersize=8, markeredgewidth=1.6, path_effects=outlined(3.0),
        )  # fmt: skip

    handles: list[Any] = [key("prediction", PREDICTION, "x")]
    handles += [key(name, ANNOTATORS[i % len(ANNOTATORS)], "o") for i, name in enumerate(annotators)]
    if heat:
        handles.append(Patch(facecolor=HEAT, label="heatmap"))
    width = figure.get_size_inches()[0] * figure.dpi
    axes = pixel_axes(figure, 0, top, width, LEGEND)
    axes.legend(
        handles=handles, loc="center left", ncols=len(handles), frameon=False, fontsize=9.5, handletextpad=0.3,
        columnspacing=1.4, borderpad=0.2,
    )  # fmt: skip


def _draw_list(
    figure: Figure,
    left: float,
    names: Sequence[str],
    errors: np.ndarray,
    unit: str,
    bad_beyond: float | None,
    height: int,
) -> None:
    """List number, name and error of every landmark at the right of the picture, top down."""
    if not len(names):
        return
    axes = pixel_axes(figure, left, TITLE, SIDEBAR - 26, height)
    axes.set(xlim=(0, SIDEBAR - 26), ylim=(height, 0))
    row = min(23.0, height / (len(names) + 2.5))
    size = min(10.0, row * 0.48)
    right = SIDEBAR - 28
    axes.text(right, row * 0.5, f"error, {unit}", fontsize=size, color=FAINT, ha="right", va="center")
    for index, (name, error) in enumerate(zip(names, errors, strict=True)):
        y = (index + 1.5) * row
        bad = bad_beyond is not None and np.isfinite(error) and error >= bad_beyond
        style: dict[str, Any] = {"fontsize": size, "va": "center", "color": BAD if bad else INK}
        axes.text(20, y, str(index + 1), ha="right", **(style | {"color": FAINT}))
        axes.text(28, y, shorten(name, 28) if name != str(index + 1) else "", **style)
        axes.text(right, y, f"{error:.2f}" if np.isfinite(error) else ABSENT, ha="right", **style)
    if np.isfinite(errors).any():
        style = {"fontsize": size, "va": "center", "color": INK, "weight": "bold"}
        axes.text(28, (len(names) + 1.7) * row, "mean", **style)
        axes.text(right, (len(names) + 1.7) * row, f"{np.nanmean(errors):.2f}", ha="right", **style)

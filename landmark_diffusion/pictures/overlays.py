"""A radiograph with the prediction, every annotator and optionally the heatmap drawn over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.pictures.figures import (
    ANNOTATORS,
    HEAT,
    LEGEND,
    PREDICTION,
    TITLE,
    Canvas,
    annotator_labels,
    heat_rgba,
    show_image,
    unit_range,
)
from landmark_diffusion.pictures.sheet import SIDEBAR, Film, draw_list, mark_key

if TYPE_CHECKING:
    from landmark_diffusion.data.geometry import Frame


def overlay_figure(
    path: str | Path,
    image: np.ndarray,
    prediction: np.ndarray,
    annotations: np.ndarray,
    landmark_names: Sequence[str],
    annotator_names: Sequence[str] = (),
    *,
    heatmap: np.ndarray | None = None,
    frame: Frame | None = None,
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
        frame: the map from network to original pixels.
        errors: (N,) in ``unit``, listed beside the picture; by default px to the mean of the annotators.
        bad_beyond: errors from this value on (in ``unit``) are set in red.
        height: output pixels of the radiograph itself; the title, legend and list come on top of it.
    """
    truth = mean_of_annotators(annotations)
    if errors is None:
        errors, unit = np.linalg.norm(prediction - truth, axis=-1), "px"
    scale = height / image.shape[0]
    width = max(1, round(image.shape[1] * scale))
    sidebar = SIDEBAR if len(landmark_names) else 0
    canvas = Canvas(max(width + sidebar, 480), height + TITLE + LEGEND)
    film = Film(canvas, 0, TITLE, (image.shape[1], image.shape[0]), (width, height))
    film.scale = scale
    show_image(film.axes, image)
    if heatmap is not None:
        _draw_heatmap(film, heatmap, frame)
    draw_points(film, prediction, annotations, truth)
    anchors = np.where(np.isnan(prediction), truth, prediction)
    marks = np.concatenate([prediction[None], annotations]).reshape(-1, 2)
    numbers = [str(number + 1) for number in range(len(anchors))]
    film.labels(anchors, numbers, marks)
    canvas.title(title)
    draw_legend(canvas, TITLE + height, annotator_labels(annotator_names, len(annotations)), heatmap is not None)
    if len(landmark_names):
        bad = np.zeros(len(errors), dtype=bool) if bad_beyond is None else errors >= bad_beyond
        draw_list(canvas, width + 16, TITLE, height, landmark_names, errors, f"error, {unit}", bad, mean=True)
    return canvas.save(path)


def draw_points(
    film: Film, prediction: np.ndarray, annotations: np.ndarray, truth: np.ndarray, size: float = 7.0
) -> None:
    """Draw error lines, the annotators' circles and the prediction's crosses; ``size`` is the marker's in points."""
    for start, end in zip(prediction, truth, strict=True):
        film.axes.plot(*np.stack([start, end], -1), color=PREDICTION, linewidth=1.0, alpha=0.9, snap=False, zorder=3)
    for number, points in enumerate(annotations):
        style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": ANNOTATORS[number % len(ANNOTATORS)]}
        film.markers(points, "o", size, 4, **style)
    film.markers(prediction, "x", size * 0.9, 5, markeredgecolor=PREDICTION)


def _draw_heatmap(film: Film, heatmap: np.ndarray, frame: Frame | None) -> None:
    """Lay the landmarks' maps, each scaled to its own peak and merged by the greatest, over the image."""
    maps = heatmap if heatmap.ndim == 3 else heatmap[None]
    merged = np.max([unit_range(each) for each in maps], axis=0)
    height, width = merged.shape
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    (left, top), (right, bottom) = corners if frame is None else frame.to_original(corners)
    extent = (left, right, bottom, top)
    film.axes.imshow(heat_rgba(merged), extent=extent, aspect="auto", interpolation="nearest", zorder=2)
    film.look_at_all()


def draw_legend(canvas: Canvas, top: float, annotators: Sequence[str], heat: bool) -> None:
    """Draw the key to prediction, annotators and heatmap, ``top`` output pixels below the figure's top."""
    from matplotlib.patches import Patch

    entries = [mark_key("prediction", PREDICTION, "x")]
    entries += [mark_key(name, ANNOTATORS[i % len(ANNOTATORS)], "o") for i, name in enumerate(annotators)]
    canvas.key(top, [*entries, *([Patch(facecolor=HEAT, label="heatmap")] if heat else [])])

"""Close-ups of every landmark of one radiograph: errors of a millimetre are too small to see on the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.grid import ABSENT
from landmark_diffusion.metrics.records import Unit
from landmark_diffusion.pictures.figures import (
    BAD,
    INK,
    LEGEND,
    TITLE,
    Canvas,
    annotator_labels,
    numbered,
    outlined,
    shorten,
    show_image,
)
from landmark_diffusion.pictures.overlays import draw_legend, draw_points
from landmark_diffusion.pictures.sheet import Film

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP, NAME = 8, 22


def closeup_figure(
    path: str | Path,
    image: np.ndarray,
    prediction: np.ndarray,
    annotations: np.ndarray,
    landmark_names: Sequence[str],
    annotator_names: Sequence[str] = (),
    *,
    errors: np.ndarray | None = None,
    spacing: tuple[float, float] | None = None,
    unit: Unit = "mm",
    bad_beyond: float | None = None,
    side: float | None = None,
    title: str = "",
    columns: int = 6,
    panel: int = 190,
) -> Path:
    """Draw a square cut around each landmark with prediction and annotators, and save it as PNG; returns the path.

    Args:
        image, prediction, annotations: as for ``overlays.overlay_figure``, original pixels.
        errors: (N,) in ``unit`` where ``spacing`` is given, else px; by default measured to the mean of the annotators.
        spacing: ``unit`` per pixel (x, y), for the scale bar; None draws it in px.
        unit: the spacing's, "mm" or "px256".
        bad_beyond: errors from this value on are set in red.
        side: the cut's side in ``unit`` (px without spacing); by default 20, or a twelfth of the image's width. A cut
            grows where the prediction or an annotator would lie outside.
        panel: output pixels of a cut's side.
    """
    truth = mean_of_annotators(annotations)
    scale = np.ones(2) if spacing is None else np.asarray(spacing, dtype=float)
    if errors is None:
        errors = np.linalg.norm((prediction - truth) * scale, axis=-1)
    side = side or (20.0 if spacing is not None else image.shape[1] / 12)
    unit = "px" if spacing is None else unit
    rows = -(-max(len(prediction), 1) // columns)
    width = GAP + columns * (panel + GAP)
    canvas = Canvas(width, TITLE + rows * (panel + NAME + GAP) + LEGEND)
    canvas.title(title)
    for index, name in enumerate(landmark_names):
        left = GAP + index % columns * (panel + GAP)
        top = TITLE + index // columns * (panel + NAME + GAP)
        bad = bad_beyond is not None and np.isfinite(errors[index]) and errors[index] >= bad_beyond
        said = f"{errors[index]:.2f} {unit}" if np.isfinite(errors[index]) else ABSENT
        style = {"color": BAD if bad else INK}
        canvas.write(left, top + NAME * 0.55, shorten(numbered(index, name), (panel - 62) // 7), 8.5, **style)
        canvas.write(left + panel, top + NAME * 0.55, said, 8.5, ha="right", **style)
        film = Film(canvas, left, top + NAME, (image.shape[1], image.shape[0]), (panel, panel), ground="black")
        axes = film.axes
        centre, half = _window(prediction[index], annotations[:, index], truth[index], side / scale / 2)
        if centre is None:
            axes.text(0.5, 0.5, "not marked", ha="center", va="center", color=INK, transform=axes.transAxes)
            continue
        _show_cut(axes, image, centre, half)
        one = slice(index, index + 1)
        draw_points(film, prediction[one], annotations[:, one], truth[one], size=9.0)
        axes.set(xlim=(centre[0] - half[0], centre[0] + half[0]), ylim=(centre[1] + half[1], centre[1] - half[1]))
        _scale_bar(axes, centre, half, scale[0], unit)
    draw_legend(canvas, TITLE + rows * (panel + NAME + GAP), annotator_labels(annotator_names, len(annotations)), False)
    return canvas.save(path)


def _window(
    prediction: np.ndarray, marks: np.ndarray, truth: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """Centre and half sides in pixels of a cut that holds all that is known of a landmark; None where nothing is."""
    centre = prediction if np.isnan(truth).any() else truth
    if np.isnan(centre).any():
        return None, half
    known = np.concatenate([prediction[None], marks])
    reach = np.nanmax(np.abs((known[~np.isnan(known).any(-1)] - centre) / half), initial=0.0)
    return centre, half * max(1.0, 1.15 * reach)


def _show_cut(axes: Axes, image: np.ndarray, centre: np.ndarray, half: np.ndarray) -> None:
    """Draw only the pixels that the cut needs, at their places: drawing the whole image each time takes seconds."""
    limit = np.array(image.shape[1::-1])
    left, top = np.clip(np.floor(centre - half).astype(int) - 2, 0, limit - 1)
    right, bottom = np.clip(np.ceil(centre + half).astype(int) + 3, 1, limit)
    cut, extent = image[top:bottom, left:right], (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
    show_image(axes, cut, interpolation="bilinear", extent=extent)


def _scale_bar(axes: Axes, centre: np.ndarray, half: np.ndarray, mm: float, unit: str) -> None:
    """A white bar at the bottom left of a round length, about a quarter of the cut."""
    aim = half[0] * mm / 2
    length = max(m * 10.0**e for e in range(-3, 5) for m in (1, 2, 5) if m * 10.0**e <= max(aim, 1e-3))
    x, y = centre[0] - half[0] * 0.92, centre[1] + half[1] * 0.88
    bar: dict[str, Any] = {"linewidth": 2.5, "solid_capstyle": "butt", "path_effects": outlined(3.5)}
    axes.plot([x, x + length / mm], [y, y], color="white", **bar)
    style: dict[str, Any] = {"fontsize": 7.5, "va": "bottom", "path_effects": outlined(1.6)}
    axes.text(x, y - half[1] * 0.06, f"{length:g} {unit}", color="white", **style)

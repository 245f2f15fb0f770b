"""The radiograph sheet: what every picture of one image is put together from.

Title above, the radiograph with points, regions and labels, a list of the landmarks beside it, a key below. Data
coordinates are the original image's pixels, centres at integers (docs/conventions.md), so a marker at (x, y) falls on
the centre of pixel (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.grid import ABSENT
from landmark_diffusion.pictures.figures import (
    BAD,
    FAINT,
    INK,
    outlined,
    pixel_axes,
    place_labels,
    shorten,
    show_image,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE, LEGEND, SIDEBAR = 38, 34, 290  # output pixels above, below and beside the radiograph
HEIGHT, WIDTH = 1000, 1400  # most output pixels of the radiograph where it is drawn as large as both allow
GROUND = "#30343A"


def fitted(size: tuple[int, int]) -> tuple[int, int]:
    """Give the (width, height) in output pixels of a radiograph of this size, as large as HEIGHT and WIDTH allow."""
    scale = min(HEIGHT / size[1], WIDTH / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def draw_title(figure: Figure, title: str) -> None:
    """Write the title into the strip above the pictures."""
    width, height = figure.get_size_inches() * figure.dpi
    text = shorten(title, int(width / 8))
    figure.text(10 / width, 1 - TITLE / 2 / height, text, fontsize=11, color=INK, va="center", weight="bold")


def draw_warning(figure: Figure, left: float, top: float, size: tuple[float, float], words: str, font: float) -> None:
    """Write white words on a red strip of ``size`` (width, height) output pixels."""
    axes = pixel_axes(figure, left, top, *size, BAD)
    axes.set(xlim=(0, size[0]), ylim=(0, 1))
    axes.text(min(font + 5.5, 10), 0.5, words, color="white", fontsize=font, weight="bold", va="center")


def draw_radiograph(
    axes: Axes, pixels: np.ndarray | None, size: tuple[int, int], output: tuple[int, int], **options: Any
) -> None:
    """Draw the image, shrunk to the ``output`` (width, height) first: matplotlib would take a second for a large one.

    ``size`` is the image's (width, height); without pixels the coordinates alone are set.
    """
    width, height = size
    if pixels is not None:
        from PIL import Image

        if output[0] < pixels.shape[1]:
            pixels = np.asarray(Image.fromarray(pixels).resize(output, Image.Resampling.LANCZOS))
        show_image(axes, pixels, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **options)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def draw_regions(
    axes: Axes, points: np.ndarray, ellipses: np.ndarray | None, colours: Sequence[str], **style: Any
) -> None:
    """Draw regions around points (N, 2): ellipses (N, 3) of semi-axes and angle, y going down; None draws none."""
    from matplotlib.patches import Ellipse

    if ellipses is None:
        return
    for point, (longer, shorter, angle), colour in zip(points, ellipses, colours, strict=True):
        if np.isfinite([*point, longer]).all():
            place = (float(point[0]), float(point[1]))
            axes.add_patch(Ellipse(place, 2 * longer, 2 * shorter, angle=angle, edgecolor=colour, snap=False, **style))


def draw_markers(axes: Axes, points: np.ndarray, marker: str, size: float, zorder: int, **style: Any) -> None:
    """Draw markers with a dark edge at points (N, 2); ``size`` is in typographic points."""
    drawn: dict[str, Any] = {
        "linestyle": "none",
        "markeredgewidth": 1.3,
        "snap": False,
        "path_effects": outlined(2.6),
    } | style
    axes.plot(*points.T, marker=marker, markersize=size, zorder=zorder, **drawn)


def draw_labels(
    axes: Axes,
    anchors: np.ndarray,
    texts: Sequence[str],
    scale: Any,
    bounds: tuple[int, int],
    obstacles: np.ndarray,
    pad: float = 2,
    **style: Any,
) -> None:
    """Write a text near each anchor (N, 2), off the obstacles (M, 2), all in image pixels; NaN have none.

    ``scale`` is output pixels per image pixel and ``bounds`` the picture's (width, height) in output pixels.
    """
    sizes = [(7.5 * len(text) + pad, 13.0) for text in texts]
    free = obstacles[~np.isnan(obstacles).any(-1)]
    centres = place_labels((anchors + 0.5) * scale, sizes, bounds, (free + 0.5) * scale) / scale - 0.5
    drawn: dict[str, Any] = {"color": "white", "fontsize": 8.5, "ha": "center", "va": "center", "zorder": 6}
    drawn |= {"path_effects": outlined()} | style
    for text, (x, y) in zip(texts, centres, strict=True):
        if np.isfinite([x, y]).all():
            axes.text(x, y, text, **drawn)


def draw_list(
    figure: Figure,
    left: float,
    top: float,
    height: float,
    names: Sequence[str],
    errors: np.ndarray | None,
    heading: str,
    bad: np.ndarray,
    mean: bool = False,
) -> None:
    """List number, name and error of every landmark beside the picture, top down; those ``bad`` (N,) are red."""
    axes = pixel_axes(figure, left, top, SIDEBAR - 26, height)
    axes.set(xlim=(0, SIDEBAR - 26), ylim=(height, 0))
    row = min(23.0, height / (len(names) + 2.5))
    size, right = min(10.0, row * 0.48), SIDEBAR - 28
    if errors is not None:
        axes.text(right, row * 0.5, heading, fontsize=size, color=FAINT, ha="right", va="center")
    for index, name in enumerate(names):
        y = (index + 1.5) * row
        style: dict[str, Any] = {"fontsize": size, "va": "center", "color": BAD if bad[index] else INK}
        axes.text(20, y, str(index + 1), ha="right", **(style | {"color": FAINT}))
        axes.text(28, y, shorten(name, 28) if name != str(index + 1) else "", **style)
        if errors is not None:
            value = f"{errors[index]:.2f}" if np.isfinite(errors[index]) else ABSENT
            axes.text(right, y, value, ha="right", **style)
    if mean and errors is not None and np.isfinite(errors).any():
        style = {"fontsize": size, "va": "center", "color": INK, "weight": "bold"}
        axes.text(28, (len(names) + 1.7) * row, "mean", **style)
        axes.text(right, (len(names) + 1.7) * row, f"{np.nanmean(errors):.2f}", ha="right", **style)


def mark_key(label: str, colour: str, marker: str) -> Any:
    """Make the entry of a key for a marker: a ring where it is "o", else the marker itself."""
    from matplotlib.lines import Line2D

    face = "none" if marker == "o" else colour
    return Line2D(
        [], [], linestyle="none", marker=marker, markeredgecolor=colour, markerfacecolor=face, label=label,
        markersize=8, markeredgewidth=1.6, path_effects=outlined(3.0),
    )  # fmt: skip


def draw_key(figure: Figure, top: float, entries: Sequence[Any]) -> None:
    """Draw the key to marks and colours into the strip that begins ``top`` output pixels below the figure's top."""
    axes = pixel_axes(figure, 0, top, figure.get_size_inches()[0] * figure.dpi, LEGEND)
    axes.legend(
        handles=list(entries), loc="center left", ncols=len(entries), frameon=False, fontsize=9.5, handletextpad=0.3,
        columnspacing=1.4, borderpad=0.2,
    )  # fmt: skip


def take_texts_as_they_are(figure: Figure) -> None:
    """Let no name be read as a formula: a "$" stays one."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # type: ignore[attr-defined]

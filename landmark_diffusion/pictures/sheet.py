"""The radiograph sheet: what every picture of one image is put together from.

Title above, the radiograph with points, regions and labels, a list of the landmarks beside it, a key below. Data
coordinates are the original image's pixels, centres at integers (docs/conventions.md), so a marker at (x, y) falls on
the centre of pixel (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landmark_diffusion.core.grid import ABSENT
from landmark_diffusion.pictures.figures import BAD, FAINT, INK, Canvas, outlined, place_labels, shorten, show_image

SIDEBAR = 290  # output pixels beside the radiograph
MARKS = 122  # output pixels of a column of words in the list there
HEIGHT, WIDTH = 1000, 1400  # most output pixels of the radiograph where it is drawn as large as both allow
GROUND = "#30343A"


def fitted(size: tuple[int, int], most: tuple[int, int] = (WIDTH, HEIGHT)) -> tuple[int, int]:
    """Give the (width, height) in output pixels of a radiograph of this size, as large as ``most`` of both allows."""
    scale = min(most[1] / size[1], most[0] / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class Film:
    """The axes that show a radiograph, and what is drawn over it in pixels of the image; NaN is not drawn.

    Args:
        left, top: where it begins, in output pixels.
        size: (width, height) of the image.
        output: (width, height) in output pixels.
        ground: colour where there are no pixels.
    """

    def __init__(
        self,
        canvas: Canvas,
        left: float,
        top: float,
        size: tuple[int, int],
        output: tuple[int, int],
        ground: str = "none",
    ) -> None:
        self.axes = canvas.picture(left, top, *output, ground)
        self.size, self.output = size, output
        self.scale: Any = np.asarray(output) / size
        self.look_at_all()

    def look_at_all(self) -> None:
        """Show the whole image again, after what is drawn may have widened the view."""
        width, height = self.size
        self.axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))

    def show(self, pixels: np.ndarray | None, **options: Any) -> None:
        """Draw the image, shrunk to ``output`` first: matplotlib would take a second for a large one."""
        if pixels is None:
            return
        from PIL import Image

        if self.output[0] < pixels.shape[1]:
            pixels = np.asarray(Image.fromarray(pixels).resize(self.output, Image.Resampling.LANCZOS))
        width, height = self.size
        show_image(self.axes, pixels, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **options)
        self.look_at_all()

    def regions(self, points: np.ndarray, ellipses: np.ndarray | None, colours: Sequence[str], **style: Any) -> None:
        """Draw regions around points (N, 2): ellipses (N, 3) of semi-axes and angle, y going down; None draws none."""
        from matplotlib.patches import Ellipse

        if ellipses is None:
            return
        for point, (longer, shorter, angle), colour in zip(points, ellipses, colours, strict=True):
            if np.isfinite([*point, longer]).all():
                place = (float(point[0]), float(point[1]))
                drawn = Ellipse(place, 2 * longer, 2 * shorter, angle=angle, edgecolor=colour, snap=False, **style)
                self.axes.add_patch(drawn)

    def markers(self, points: np.ndarray, marker: str, size: float, zorder: int, **style: Any) -> None:
        """Draw markers with a dark edge at points (N, 2); ``size`` is in typographic points."""
        drawn: dict[str, Any] = {
            "linestyle": "none",
            "markeredgewidth": 1.3,
            "snap": False,
            "path_effects": outlined(2.6),
        } | style
        self.axes.plot(*points.T, marker=marker, markersize=size, zorder=zorder, **drawn)

    def labels(
        self, anchors: np.ndarray, texts: Sequence[str], obstacles: np.ndarray, pad: float = 2, **style: Any
    ) -> None:
        """Write a text near each anchor (N, 2), off the obstacles (M, 2)."""
        sizes = [(7.5 * len(text) + pad, 13.0) for text in texts]
        free = obstacles[~np.isnan(obstacles).any(-1)]
        places = place_labels((anchors + 0.5) * self.scale, sizes, self.output, (free + 0.5) * self.scale)
        drawn: dict[str, Any] = {"color": "white", "fontsize": 8.5, "ha": "center", "va": "center", "zorder": 6}
        drawn |= {"path_effects": outlined()} | style
        for text, (x, y) in zip(texts, places / self.scale - 0.5, strict=True):
            if np.isfinite([x, y]).all():
                self.axes.text(x, y, text, **drawn)


def draw_warning(canvas: Canvas, left: float, top: float, size: tuple[float, float], words: str, font: float) -> None:
    """Write white words on a red strip of ``size`` (width, height) output pixels."""
    axes = canvas.picture(left, top, *size, BAD)
    axes.set(xlim=(0, size[0]), ylim=(0, 1))
    axes.text(min(font + 5.5, 10), 0.5, words, color="white", fontsize=font, weight="bold", va="center")


def draw_list(
    canvas: Canvas,
    left: float,
    top: float,
    height: float,
    names: Sequence[str],
    errors: np.ndarray | None,
    heading: str,
    bad: np.ndarray,
    mean: bool = False,
    marks: Sequence[str] = (),
) -> None:
    """List number, name and error of every landmark beside the picture, top down; those ``bad`` (N,) are red.

    ``marks`` are N words, some of them empty, for a column of ``MARKS`` output pixels to the right of ``SIDEBAR``.
    """
    width = SIDEBAR - 26 + (MARKS if any(marks) else 0)
    axes = canvas.picture(left, top, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
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
    for index, word in enumerate(marks):
        axes.text(right + 8, (index + 1.5) * row, word, fontsize=size, va="center", color=BAD, style="italic")
    if mean and errors is not None and np.isfinite(errors).any():
        style = {"fontsize": size, "va": "center", "color": INK, "weight": "bold"}
        axes.text(28, (len(names) + 1.7) * row, "mean", **style)
        axes.text(right, (len(names) + 1.7) * row, f"{np.nanmean(errors):.2f}", ha="right", **style)


def mark_key(label: str, colour: str, marker: str, width: float = 1.6) -> Any:
    """Make the entry of a key for a marker: hollow where it is a ring "o" or a diamond "D", else the marker itself."""
    from matplotlib.lines import Line2D

    face = "none" if marker in ("o", "D") else colour
    return Line2D(
        [], [], linestyle="none", marker=marker, markeredgecolor=colour, markerfacecolor=face, label=label,
        markersize=8, markeredgewidth=width, path_effects=outlined(3.0),
    )  # fmt: skip

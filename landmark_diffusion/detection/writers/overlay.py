"""One PNG an image: the radiograph with points, numbers and regions, and a list of how sure each point is."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.files import writing
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.base import Writer
from landmark_diffusion.pictures.figures import (
    ABSENT,
    ANNOTATORS,
    BAD,
    FAINT,
    INK,
    PREDICTION,
    new_figure,
    outlined,
    pixel_axes,
    place_labels,
    save_figure,
    shorten,
    show_image,
)
from landmark_diffusion.pictures.overlays import LEGEND, SIDEBAR, TITLE, draw_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESEARCH_ONLY = "Research use only: not a medical device."
USUAL, WIDE = ANNOTATORS[0], PREDICTION
WIDE_FACTOR = 2.0
"""A region is unusually large where its radius is more than this many times the median of its image."""

HEIGHT, WIDTH = 1000, 1400  # most output pixels of the radiograph; it is drawn as large as both allow
SHORTEST = 360  # output pixels kept for the list beside a low picture
BANNER, NOTE = 34, 17  # output pixels of the warning, and of a line of notes
GROUND = "#30343A"


class OverlayWriter(Writer):
    """Write ``overlays/NAME.png`` for each image."""

    name = "overlay"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._written = False

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List one PNG a name."""
        return [self._path(name) for name in names]

    def add(self, detection: Detection) -> None:
        """Draw one image at once; raises UserError where its file cannot be written."""
        overlay_picture(self._path(detection.name), detection)
        self._written = True

    def close(self) -> list[Path]:
        """Return the folder of the pictures; nothing where there are none."""
        return [self.folder / "overlays"] if self._written else []

    def _path(self, name: str) -> Path:
        return self.folder / "overlays" / f"{name}.png"


def overlay_picture(path: Path, detection: Detection) -> Path:
    """Draw one detection and save it as PNG of about 1000 output pixels in height; returns the path.

    Where all fits, original pixel (x, y) lies at ((x + 0.5) s - 0.5, (y + 0.5) s - 0.5) of the picture, which begins at
    the left edge under the title (and the warning); s is 1000 px divided by the image's height, less where the image is
    very wide. Raises UserError where the file cannot be written.
    """
    scale = min(HEIGHT / detection.size[1], WIDTH / detection.size[0])
    width, height = (max(1, round(side * scale)) for side in detection.size)
    body = max(height, SHORTEST)
    across = max(width + SIDEBAR, 480)
    lines = _note_lines(detection, across)
    top = TITLE + (BANNER if detection.unlike else 0)
    figure = new_figure(across, top + body + LEGEND + NOTE * len(lines))
    draw_title(figure, detection.name)
    if detection.unlike:
        _draw_banner(figure, detection, across)
    axes = pixel_axes(figure, 0, top, width, height, GROUND)
    wide = wide_regions(detection)
    _draw_image(axes, detection, (width, height))
    _draw_regions(axes, detection, wide)
    _draw_crosses(axes, detection, wide)
    _draw_numbers(axes, detection, (width, height))
    _draw_list(figure, width + 16, top, body, detection, wide)
    _draw_key(figure, top + body, across, detection, wide)
    _draw_notes(figure, top + body + LEGEND, across, lines)
    return _save(figure, path)


def wide_regions(detection: Detection) -> np.ndarray:
    """Tell which regions are unusually large: (N,) bool, all False without regions.

    The radius of a region is the root mean square of its semi-axes, so that a long thin one counts as long; large is
    more than WIDE_FACTOR times the image's median.
    """
    regions = detection.regions
    if regions is None or not np.isfinite(regions).any():
        return np.zeros(len(detection.landmark_names), dtype=bool)
    radii = np.sqrt(np.trace(regions, axis1=1, axis2=2) / 2)
    return radii > WIDE_FACTOR * np.nanmedian(radii)


def _draw_image(axes: Axes, detection: Detection, size: tuple[int, int]) -> None:
    """Draw the image, shrunk to the output's (width, height) first: matplotlib would take a second for a large one."""
    width, height = detection.size
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    if detection.pixels is None:
        return
    from PIL import Image

    pixels = detection.pixels
    if size[0] < pixels.shape[1]:
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    show_image(axes, pixels, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _draw_regions(axes: Axes, detection: Detection, wide: np.ndarray) -> None:
    """Draw the regions; axes and angle are those of data coordinates, in which y goes down as in ``ellipses``."""
    from matplotlib.patches import Ellipse

    ellipses = detection.ellipses()
    if ellipses is None:
        return
    for point, (longer, shorter, angle), is_wide in zip(detection.points, ellipses, wide, strict=True):
        if np.isfinite([*point, longer]).all():
            axes.add_patch(
                Ellipse(
                    (float(point[0]), float(point[1])), 2 * longer, 2 * shorter, angle=angle, fill=False,
                    edgecolor=WIDE if is_wide else USUAL, linewidth=1.2, zorder=3, snap=False,
                    path_effects=outlined(2.4),
                )
            )  # fmt: skip


def _draw_crosses(axes: Axes, detection: Detection, wide: np.ndarray) -> None:
    for chosen, colour in ((~wide, USUAL), (wide, WIDE)):
        axes.plot(
            *detection.points[chosen].T, linestyle="none", marker="x", markersize=6.5, markeredgewidth=1.3,
            markeredgecolor=colour, zorder=4, snap=False, path_effects=outlined(2.6),
        )  # fmt: skip


def _draw_numbers(axes: Axes, detection: Detection, bounds: tuple[int, int]) -> None:
    """Write each landmark's number near its cross, off the others; ``bounds`` is the picture in output pixels."""
    scale = np.asarray(bounds) / detection.size
    anchors = (detection.points + 0.5) * scale
    texts = [str(number + 1) for number in range(len(anchors))]
    sizes = [(7.5 * len(text) + 2, 13.0) for text in texts]
    obstacles = anchors[~np.isnan(anchors).any(-1)]
    centres = place_labels(anchors, sizes, bounds, obstacles) / scale - 0.5
    style: dict[str, Any] = {"color": "white", "fontsize": 8.5, "ha": "center", "va": "center", "zorder": 6}
    for text, (x, y) in zip(texts, centres, strict=True):
        if np.isfinite([x, y]).all():
            axes.text(x, y, text, path_effects=outlined(), **style)


def _draw_list(figure: Figure, left: float, top: float, height: float, detection: Detection, wide: np.ndarray) -> None:
    """List number, name and expected error of every landmark beside the picture, top down."""
    names, errors = detection.landmark_names, detection.expected_error_mm
    unit = "px" if errors is None else "mm"
    errors = detection.expected_error if errors is None else errors
    axes = pixel_axes(figure, left, top, SIDEBAR - 26, height)
    axes.set(xlim=(0, SIDEBAR - 26), ylim=(height, 0))
    row = min(23.0, height / (len(names) + 2.5))
    size, right = min(10.0, row * 0.48), SIDEBAR - 28
    if errors is not None:
        axes.text(right, row * 0.5, f"expected error, {unit}", fontsize=size, color=FAINT, ha="right", va="center")
    for index, name in enumerate(names):
        y = (index + 1.5) * row
        style: dict[str, Any] = {"fontsize": size, "va": "center", "color": BAD if wide[index] else INK}
        axes.text(20, y, str(index + 1), ha="right", **(style | {"color": FAINT}))
        axes.text(28, y, shorten(name, 28), **style)
        if errors is not None:
            value = f"{errors[index]:.2f}" if np.isfinite(errors[index]) else ABSENT
            axes.text(right, y, value, ha="right", **style)


def _draw_banner(figure: Figure, detection: Detection, width: float) -> None:
    axes = pixel_axes(figure, 0, TITLE, width, BANNER, BAD)
    axes.set(xlim=(0, width), ylim=(0, 1))
    text = f"U{detection.unlike_words[1:]}: do not use these points"
    axes.text(10, 0.5, text, color="white", fontsize=11, weight="bold", va="center")


def _draw_key(figure: Figure, top: float, width: float, detection: Detection, wide: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    def key(label: str, colour: str, marker: str) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, markersize=8, markeredgecolor=colour, markeredgewidth=1.6,
            markerfacecolor="none", label=label, path_effects=outlined(3.0),
        )  # fmt: skip

    handles = [key("landmark", USUAL, "x")]
    if detection.regions is not None:
        share = "" if detection.level is None else f"{detection.level:.0%} "
        handles.append(key(f"{share}region", USUAL, "o"))
    if wide.any():
        handles.append(key(f"radius over {WIDE_FACTOR:g} times this image's median", WIDE, "o"))
    axes = pixel_axes(figure, 0, top, width, LEGEND)
    axes.legend(
        handles=handles, loc="center left", ncols=len(handles), frameon=False, fontsize=9.5, handletextpad=0.3,
        columnspacing=1.4, borderpad=0.2,
    )  # fmt: skip


def _note_lines(detection: Detection, width: float) -> list[str]:
    """The notes and, last, what the points are for and their model; broken to fit into ``width`` output pixels."""
    notes = [*detection.notes, " ".join(filter(None, [RESEARCH_ONLY, detection.model and f"Model: {detection.model}"]))]
    return [line for note in notes for line in textwrap.wrap(note, int(width / 7.4))]


def _draw_notes(figure: Figure, top: float, width: float, lines: Sequence[str]) -> None:
    axes = pixel_axes(figure, 0, top, width, NOTE * len(lines))
    axes.set(xlim=(0, width), ylim=(NOTE * len(lines), 0))
    for index, line in enumerate(lines):
        axes.text(10, NOTE * (index + 0.3), line, fontsize=8.5, color=INK, va="center")


def _save(figure: Figure, path: Path) -> Path:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names are taken as they are: a "$" is no formula
    with writing(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as an empty box, which says it
        return save_figure(figure, path)

"""One PNG an image: the radiograph with points, numbers and regions, and a list of how sure each point is."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.files import writing
from landmark_diffusion.core.texts import RESEARCH_ONLY
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import FileAnImage
from landmark_diffusion.pictures.figures import ANNOTATORS, LEGEND, PREDICTION, TITLE, Canvas, outlined
from landmark_diffusion.pictures.sheet import GROUND, MARKS, SIDEBAR, Film, draw_list, draw_warning, fitted, mark_key

USUAL, WIDE = ANNOTATORS[0], PREDICTION
DIAMOND, DASHES = "D", (0, (3, 2))
"""A doubtful point is a hollow diamond in place of a cross, and its region dashed."""
WIDE_FACTOR = 2.0
"""A region is unusually large where its radius is more than this many times the median of its image."""

SHORTEST = 360  # output pixels kept for the list beside a low picture
BANNER, NOTE = 34, 17  # output pixels of the warning, and of a line of notes


class OverlayWriter(FileAnImage):
    """Write ``overlays/NAME.png`` for each image."""

    name, subfolder, suffix = "overlay", "overlays", ".png"

    @classmethod
    def save(cls, path: Path, detection: Detection) -> None:
        """Draw one detection as ``path``; raises UserError where it cannot be written."""
        overlay_picture(path, detection)


def overlay_picture(path: Path, detection: Detection) -> Path:
    """Draw one detection and save it as PNG of about 1000 output pixels in height; returns the path.

    Where all fits, original pixel (x, y) lies at ((x + 0.5) s - 0.5, (y + 0.5) s - 0.5) of the picture, which begins at
    the left edge under the title (and the warning); s is 1000 px divided by the image's height, less where the image is
    very wide. Raises UserError where the file cannot be written.
    """
    detection = detection.without_absent()
    output = width, height = fitted(detection.size)
    body = max(height, SHORTEST)
    across = max(width + SIDEBAR + (MARKS if any(detection.marks) else 0), 480)
    lines = _note_lines(detection, across)
    top = TITLE + (BANNER if detection.unlike else 0)
    canvas = Canvas(across, top + body + LEGEND + NOTE * len(lines))
    canvas.title(detection.name)
    if detection.unlike:
        words = f"U{detection.unlike_words[1:]}: do not use these points"
        draw_warning(canvas, 0, TITLE, (across, BANNER), words, 11)
    film = Film(canvas, 0, top, detection.size, output, GROUND)
    film.show(detection.pixels)
    wide = wide_regions(detection)
    _draw_points(film, detection, wide)
    numbers = [str(number + 1) for number in range(len(detection.points))]
    film.labels(detection.points, numbers, detection.points)
    errors, unit = detection.shown_errors
    heading = f"expected error, {unit}"
    names, marks = detection.landmark_names, detection.marks
    draw_list(canvas, width + 16, top, body, names, errors, heading, wide | detection.in_doubt, marks=marks)
    canvas.key(top + body, _key(detection, wide))
    for index, line in enumerate(lines):
        canvas.write(10, top + body + LEGEND + NOTE * (index + 0.3), line, 8.5)
    with writing(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as an empty box, which says it
        return canvas.save(path, formulas=False)


def wide_regions(detection: Detection) -> np.ndarray:
    """Tell which regions are unusually large: (N,) bool, all False without regions.

    The radius of a region is the root mean square of its semi-axes, so that a long thin one counts as long; large is
    more than WIDE_FACTOR times the image's median.
    """
    regions = detection.regions
    if regions is None or not np.isfinite(regions).any():
        return np.zeros(len(detection.landmark_names), dtype=bool)
    radii = np.sqrt(np.trace(regions, axis1=1, axis2=2) / 2)
    wide: np.ndarray = radii > WIDE_FACTOR * np.nanmedian(radii)
    return wide


def _draw_points(film: Film, detection: Detection, wide: np.ndarray) -> None:
    """Draw points and regions: the doubtful ones, and those with ``wide`` (N,) regions, so that one sees them."""
    doubtful, ellipses = detection.in_doubt, detection.ellipses()
    style: dict[str, Any] = {"fill": False, "linewidth": 1.2, "zorder": 3, "path_effects": outlined(2.4)}
    warm = wide | doubtful
    for index in range(len(warm)):
        one, colour = slice(index, index + 1), WIDE if warm[index] else USUAL
        dashes, ellipse = DASHES if doubtful[index] else "solid", None if ellipses is None else ellipses[one]
        film.regions(detection.points[one], ellipse, [colour], linestyle=dashes, **style)
    for chosen, colour in ((~warm, USUAL), (wide & ~doubtful, WIDE)):
        film.markers(detection.points[chosen], "x", 6.5, 4, markeredgecolor=colour)
    film.markers(detection.points[doubtful], DIAMOND, 6.5, 4, markeredgecolor=WIDE, markerfacecolor="none")


def _key(detection: Detection, wide: np.ndarray) -> list[Any]:
    entries = [mark_key("landmark", USUAL, "x")]
    if detection.regions is not None:
        entries.append(mark_key(detection.region_words, USUAL, "o"))
    if detection.in_doubt.any():
        entries.append(mark_key("doubtful: look at it", WIDE, DIAMOND))
    if (wide & ~detection.in_doubt).any():
        entries.append(mark_key(f"radius over {WIDE_FACTOR:g} times this image's median", WIDE, "o"))
    return entries


def _note_lines(detection: Detection, width: float) -> list[str]:
    """The notes and, last, what the points are for and their model; broken to fit into ``width`` output pixels."""
    notes = [*detection.notes, " ".join(filter(None, [RESEARCH_ONLY, detection.model and f"Model: {detection.model}"]))]
    return [line for note in notes for line in textwrap.wrap(note, int(width / 7.4))]

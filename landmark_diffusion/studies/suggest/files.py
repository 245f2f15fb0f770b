"""What ``ldx suggest`` leaves: the list as CSV, and one picture of the images that it names."""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.files import writing
from landmark_diffusion.core.grid import Grid
from landmark_diffusion.pictures.figures import LEGEND, PREDICTION, TITLE, Canvas, outlined, shorten
from landmark_diffusion.pictures.sheet import GROUND, Film, fitted, mark_key
from landmark_diffusion.studies.suggest.belief import Belief
from landmark_diffusion.studies.suggest.pool import PoolImage
from landmark_diffusion.studies.suggest.suggestion import Suggestion

LIST, PICTURE = "suggestions.csv", "suggestions.png"
COLUMNS = (
    "rank", "image", "file", "reason", "gain", "nearer", "distance", "expected_error", "spread", "moved", "missed",
    "image_score",
)  # fmt: skip
SHOWN = 50
"""Images that the picture shows at most, the first ones."""
_ACROSS, _GAP = 5, 14  # images a row; output pixels between them
_BOX = (270, 330)  # most output pixels of a radiograph


def write_list(path: Path, found: Sequence[Suggestion], images: Sequence[PoolImage], belief: Belief | None) -> Path:
    """Write a row an image with ``COLUMNS``; what is not known is empty. Raises UserError where that cannot be done."""
    rows: list[Sequence[str | int | float | None]] = [COLUMNS]
    for each in found:
        image = images[each.place]
        numbers = [each.gain, float(each.nearer), each.distance, *_of_model(each.place, belief)]
        rows.append((each.rank, image.name, image.file, each.reason, *numbers))
    return write_csv(path, rows, _written)


def is_list(path: Path) -> bool:
    """Tell whether a file is a list that ``write_list`` wrote."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.readline(1000).strip() == ",".join(COLUMNS)
    except (OSError, UnicodeDecodeError):
        return False


def keep_earlier(folder: Path) -> Path | None:
    """Put the list that an earlier call left, and its picture, aside under the next free number.

    Returns where the list is now; None where there is none of ours. Raises UserError where it cannot be renamed.
    """
    if not is_list(folder / LIST):
        return None
    names = next(
        names for names in map(_numbered, itertools.count(1)) if not any((folder / name).exists() for name in names)
    )
    with writing(folder):
        for name, aside in zip((LIST, PICTURE), names, strict=True):
            if (folder / name).is_file():
                os.replace(folder / name, folder / aside)
    return folder / names[0]


def _numbered(number: int) -> tuple[str, str]:
    """Names of an earlier list and picture."""
    stem, (_, table), (_, picture) = Path(LIST).stem, os.path.splitext(LIST), os.path.splitext(PICTURE)
    return f"{stem}_{number}{table}", f"{stem}_{number}{picture}"


def _of_model(place: int, belief: Belief | None) -> list[float]:
    if belief is None:
        return [float("nan")] * 5
    columns = (belief.of_images, belief.spread, belief.moved, belief.missed, belief.score)
    return [float(column[place]) for column in columns]


def _written(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def suggestion_grid(found: Sequence[Suggestion], images: Sequence[PoolImage], above: str) -> Grid:
    """Lay out the list for the terminal."""
    rows = tuple((str(each.rank), images[each.place].name, each.reason) for each in found)
    headings = ("rank", "image", "why")
    return Grid("images to label next", (above,), headings, headings, (rows,), words=(1, 2))


def draw_sheet(
    path: Path, found: Sequence[Suggestion], images: Sequence[PoolImage], pixels: Callable[[int], np.ndarray],
    points: Callable[[int], np.ndarray] | None = None,
) -> Path:  # fmt: skip
    """Draw the first ``SHOWN`` images of the list and save them as PNG; returns the path.

    ``pixels`` gives the image (H, W) uint8 at a place, ``points`` a model's (N, 2) in it. Raises UserError where the
    file cannot be written.
    """
    shown = found[:SHOWN]
    across = min(_ACROSS, len(shown))
    rows = -(-len(shown) // across)
    reasons = [textwrap.wrap(each.reason, 54) for each in shown]
    words = 26 + 12 * max(map(len, reasons))
    step = _BOX[0] + _GAP, words + _BOX[1] + _GAP
    canvas = Canvas(_GAP + across * step[0], TITLE + rows * step[1] + LEGEND * (points is not None))
    canvas.title("images to label next")
    for number, each in enumerate(shown):
        left, top = _GAP + (number % across) * step[0], TITLE + (number // across) * step[1]
        canvas.write(left, top + 8, shorten(f"{each.rank}  {images[each.place].name}", 36), 10, weight="bold")
        for line, text in enumerate(reasons[number]):
            canvas.write(left, top + 22 + 12 * line, text, 7.5)
        image = pixels(each.place)
        size = image.shape[1], image.shape[0]
        film = Film(canvas, left, top + words, size, fitted(size, _BOX), GROUND)
        film.show(image)
        if points is not None:
            film.markers(points(each.place), "x", 3.5, 5, markeredgecolor=PREDICTION, path_effects=outlined(2.0))
            film.look_at_all()
    if points is not None:
        canvas.key(TITLE + rows * step[1], [mark_key("what the model finds", PREDICTION, "x")])
    with writing(path):
        return canvas.save(path, formulas=False)

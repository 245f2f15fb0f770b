"""One picture of the worst cases: each image with its labels, the model's points, and what is doubted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.files import writing
from landmark_diffusion.pictures.figures import ANNOTATORS, BAD, LEGEND, PREDICTION, TITLE, Canvas, outlined, shorten
from landmark_diffusion.pictures.sheet import GROUND, Film, fitted, mark_key
from landmark_diffusion.studies.label_faults.judging import LabelFault
from landmark_diffusion.studies.label_faults.material import LabelMaterial
from landmark_diffusion.studies.label_faults.tables import reason

_ACROSS, _GAP, _WORDS = 4, 12, 44  # cases a row; output pixels between them, and of the words above each
_BOX = (330, 400)  # most output pixels of a radiograph


def contact_sheet(
    path: Path,
    faults: Sequence[LabelFault],
    material: LabelMaterial,
    pixels: Callable[[int], np.ndarray],
    shown_points: Callable[[LabelFault], np.ndarray],
) -> Path:
    """Draw the cases given, in their order, and save them as PNG; returns the path.

    ``pixels`` gives the image (H, W) uint8 at a place, ``shown_points`` the model's (N, 2) in it. Raises UserError
    where the file cannot be written.
    """
    rows = -(-len(faults) // _ACROSS)
    step = _BOX[0] + _GAP, _WORDS + _BOX[1] + _GAP
    canvas = Canvas(_GAP + _ACROSS * step[0], TITLE + rows * step[1] + LEGEND)
    canvas.title("labels in doubt, the worst first")
    for place, fault in enumerate(faults):
        left, top = _GAP + (place % _ACROSS) * step[0], TITLE + (place // _ACROSS) * step[1]
        head = f"{place + 1}  {material.ids[fault.image]}  {min(100 * fault.probability, 99.9):.1f} %"
        canvas.write(left, top + 10, shorten(head, 44), 10, weight="bold")
        lines = _wrapped(reason(fault, material))
        for number, line in enumerate(lines):
            canvas.write(left, top + 24 + 12 * number, line, 7.5)
        _draw(canvas, left, top + _WORDS + 4, fault, material, pixels(fault.image), shown_points(fault))
    entries = [mark_key("what the model finds", PREDICTION, "x")]
    entries += [mark_key(name, ANNOTATORS[i % len(ANNOTATORS)], "o") for i, name in enumerate(material.annotators)]
    canvas.key(TITLE + rows * step[1], [*entries, mark_key("in doubt", BAD, "s")])
    with writing(path):
        return canvas.save(path, formulas=False)


def _draw(
    canvas: Canvas, left: float, top: float, fault: LabelFault, material: LabelMaterial, image: np.ndarray,
    points: np.ndarray,
) -> None:  # fmt: skip
    """One radiograph with points; those in doubt have red lines to the model's and their numbers."""
    size = image.shape[1], image.shape[0]
    film = Film(canvas, left, top, size, fitted(size, _BOX), GROUND)
    film.show(image)
    doubted = list(fault.landmarks or range(len(material.landmarks)))
    for annotator, labels in enumerate(material.labels[fault.image]):
        colour: dict[str, Any] = {
            "markerfacecolor": "none", "markeredgecolor": ANNOTATORS[annotator % len(ANNOTATORS)],
        }  # fmt: skip
        film.markers(labels, "o", 4.5, 4, **colour)
        if annotator in fault.annotators:
            for place in doubted:
                film.axes.plot(*np.stack([labels[place], points[place]], -1), color=BAD, linewidth=1.2, zorder=3)
            if fault.landmarks:
                film.markers(labels[doubted], "s", 8, 5, markerfacecolor="none", markeredgecolor=BAD)
    film.markers(points, "x", 4, 5, markeredgecolor=PREDICTION, path_effects=outlined(2.0))
    film.look_at_all()


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 66, max_lines=2, placeholder=" …")

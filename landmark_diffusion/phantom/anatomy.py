"""One phantom skull on the film: its outlines in film mm, and the landmarks found on them by their definitions."""

# ruff: noqa: RUF005 - "points + (x, y)" moves an array here, it does not join lists

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landmark_diffusion.phantom.outlines import Line, SkullParameters, draw_outlines, nearest
from landmark_diffusion.phantom.shapes import extreme, rotate

FILM = (193.5, 240.0)
"""Width and height of the film in mm."""

LANDMARK_NAMES = (
    "sella", "nasion", "orbitale", "porion", "anterior nasal spine", "A point", "upper incisor tip", "B point",
    "pogonion", "menton", "gonion", "soft tissue pogonion",
)  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """One skull on the film.

    Args:
        lines: name -> (M, 2) outline in film mm (closed outlines do not repeat their first point).
        teeth: (crown, root) outlines in film mm, most posterior first, for each side.
        landmarks: (N, 2) film mm, in the order of LANDMARK_NAMES.
        tangents: (N, 2) unit direction of the contour at each landmark, on the film.
    """

    lines: dict[str, Line]
    teeth: list[tuple[Line, Line]]
    landmarks: np.ndarray
    tangents: np.ndarray

    @property
    def molars(self) -> list[Line]:
        """Crowns of the molars of both sides and jaws."""
        return [crown for side in (0, 10) for crown, _ in self.teeth[side : side + 4]]


def build(p: SkullParameters) -> Anatomy:
    """Draw one skull, find its landmarks in the head frame, then place everything on the film."""
    lines, teeth = draw_outlines(p)
    points, tangents = _landmarks(lines)
    return Anatomy(
        {name: to_film(line, p) for name, line in lines.items()},
        [(to_film(crown, p), to_film(root, p)) for crown, root in teeth],
        to_film(points, p),
        rotate(tangents, p.rotation),
    )


def to_film(points: np.ndarray, p: SkullParameters) -> np.ndarray:
    """Map head mm (..., 2) to film mm: scale and turn about the sella, then move."""
    return rotate(points * p.scale, p.rotation) + (p.sella_x, p.sella_y)


def _landmarks(lines: dict[str, Line]) -> tuple[np.ndarray, np.ndarray]:
    """Places and contour tangents (N, 2) in the head frame, each by its textbook definition on the drawn outlines."""
    fossa = lines["sella fossa"]
    chin, front = lines["chin front"], lines["maxilla front"]
    knob, knob_way = extreme(lines["chin knob"], (1.0, 0.0))
    labial = chin[: nearest(chin, knob)]
    jaw = lines["jaw angle"]
    axis = lines["incisor axis"][1] - lines["incisor axis"][0]
    profile = lines["nasal profile"]
    found = {
        "sella": (_centroid(fossa), np.array([1.0, 0.0])),
        "nasion": extreme(profile[: len(profile) * 2 // 3], (-1.0, 0.0)),
        "orbitale": extreme(lines["orbital rim"], (0.0, 1.0)),
        "porion": extreme(np.roll(lines["ear canal"], -30, axis=0), (0.0, -1.0)),
        "anterior nasal spine": (front[0], np.array([1.0, 0.1]) / np.hypot(1.0, 0.1)),
        "A point": _deepest(front),
        "upper incisor tip": (lines["incisor axis"][0], axis / np.linalg.norm(axis)),
        "B point": _deepest(labial),
        "pogonion": (knob, knob_way),
        "menton": extreme(chin, (0.0, 1.0)),
        "gonion": _deepest(jaw),
        "soft tissue pogonion": extreme(lines["soft chin"], (1.0, 0.0)),
    }
    points, tangents = zip(*(found[name] for name in LANDMARK_NAMES), strict=True)
    return np.stack(points), np.stack(tangents)


def _deepest(line: Line) -> tuple[np.ndarray, np.ndarray]:
    """The point of an arc farthest from the chord between its ends."""
    chord = line[-1] - line[0]
    normal = np.array([-chord[1], chord[0]])
    bulge = (line[len(line) // 2] - line[0]) @ normal
    return extreme(line, normal if bulge > 0 else -normal)


def _centroid(polygon: Line) -> np.ndarray:
    x, y = polygon.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    sums = [((x + np.roll(x, -1)) * cross).sum(), ((y + np.roll(y, -1)) * cross).sum()]
    centroid: np.ndarray = np.stack(sums) / (3 * cross.sum())
    return centroid

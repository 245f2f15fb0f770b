"""The drawn tracing: the radiograph with its planes, landmarks and soft-tissue profile, and the measures beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landmark_diffusion.core.texts import RESEARCH_ONLY
from landmark_diffusion.data.landmark_names import respelled
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.pictures.figures import BAD, FAINT, INK, PREDICTION, TITLE, Canvas, outlined, shorten
from landmark_diffusion.pictures.sheet import GROUND, Film, draw_warning, fitted
from landmark_diffusion.studies.cephalometry import measures as m
from landmark_diffusion.studies.cephalometry.analysis import Analysis, MeasureFinding
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.tables import SYMBOLS, class_words, interval_words, legible, value_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, MARGIN = 430, 14  # output pixels
ROW = 102  # output pixels of one measure in the panel
MARK, PROFILE, ANGLE_LINE = "#FFFFFF", "#FFB3D9", "#BFC4CA"
UNSURE = "#8A5A00"

SHORT = {
    m.S: "S", m.N: "N", m.OR: "Or", m.PO: "Po", m.A: "A", m.B: "B", m.POG: "Pog", m.ME: "Me", m.GN: "Gn", m.GO: "Go",
    m.LOWER_INCISOR: "L1", m.UPPER_INCISOR: "U1", "upper lip": "UL", "lower lip": "LL", "subnasale": "Sn",
    "soft tissue pogonion": "Pog'", m.PNS: "PNS", m.ANS: "ANS", "articulare": "Ar",
}  # fmt: skip

PLANES = (
    ("sella-nasion", m.S, m.N, "#56B4E9"),
    ("Frankfort", m.PO, m.OR, "#F0E442"),
    ("palatal", m.PNS, m.ANS, "#E69F00"),
    ("mandibular", m.GO, m.ME, "#2BE37E"),
    ("facial", m.N, m.POG, "#CC79A7"),
    ("A-B", m.A, m.B, "#FF6A1A"),
)
"""Name, its two landmarks, colour (Okabe and Ito's, some a little lighter to stand out from bone)."""

ANGLE_LINES = ((m.N, m.A), (m.N, m.B))
SOFT_TISSUE = ("subnasale", "upper lip", "lower lip", "soft tissue pogonion")


def tracing_picture(path: Path, detection: Detection, analysis: Analysis) -> Path:
    """Draw one image's tracing as PNG, the radiograph up to 1000 output pixels high; returns the path.

    The radiograph is ``detection.pixels``; without it the lines stand on a plain ground. Ellipses are the regions of
    their stated level; without a calibration, and for an image that is unlike, there are none.
    """
    detection = detection.without_absent()
    output = width, height = fitted(detection.size)
    notes = _note_lines(detection, analysis)
    below = 18 * len(notes) + 12
    body = max(height, round(ROW * len(analysis.findings) + 12 + below))
    canvas = Canvas(width + PANEL, TITLE + body)
    canvas.title(f"{legible(detection.name)}: cephalometric tracing")
    if detection.unlike:
        _draw_warning(canvas, width, f"Do not use: {detection.unlike_words}")
    elif analysis.doubts or analysis.impossible:
        _draw_warning(canvas, width, "; ".join(analysis.doubts) or "Measures that no head has: look at the points")
    film = Film(canvas, 0, TITLE, detection.size, output, GROUND)
    film.show(detection.pixels, vmax=330)  # dimmed, so that thin lines stand out
    found = {
        name: point
        for name, point in zip(respelled(detection.landmark_names, m.LANDMARKS), detection.points, strict=True)
        if np.isfinite(point).all()
    }
    _draw_lines(film, found)
    _draw_doubtful(film, detection.points[detection.in_doubt])
    _draw_key(film.axes, "lower right" if analysis.facing == "left" else "lower left")
    style: dict[str, Any] = {"facecolor": "#FFFFFF22", "linewidth": 0.8, "zorder": 4}
    film.regions(detection.points, detection.ellipses(), [MARK] * len(detection.points), **style)
    _draw_landmarks(film, found)
    _draw_panel(canvas, width, body, analysis, notes)
    return canvas.save(path, formulas=False)


def _draw_warning(canvas: Canvas, left: float, words: str) -> None:
    """Say in red, over the measures, why they should not be used."""
    draw_warning(canvas, left, 0, (PANEL, TITLE), shorten(words[0].upper() + words[1:], 60), 8.5)


def _draw_lines(film: Film, found: dict[str, np.ndarray]) -> None:
    """Draw the planes, a tenth longer than their landmarks at both ends, the angles' lines, and the soft tissue."""
    for start, end in ANGLE_LINES:
        if start in found and end in found:
            line = np.stack([found[start], found[end]])
            film.axes.plot(*line.T, color=ANGLE_LINE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
    for name, start, end, colour in PLANES:
        if start in found and end in found:
            along = found[end] - found[start]
            line = np.stack([found[start] - 0.1 * along, found[end] + 0.1 * along])
            film.axes.plot(*line.T, color=colour, linewidth=1.5, label=name, zorder=3, path_effects=outlined(2.4))
    profile = [found[name] for name in SOFT_TISSUE if name in found]
    if len(profile) > 1:
        style: dict[str, Any] = {"color": PROFILE, "linewidth": 1.2, "linestyle": (0, (1, 1.5)), "zorder": 3}
        film.axes.plot(*np.stack(profile).T, label="soft-tissue profile", **style)
    film.look_at_all()


def _draw_key(axes: Axes, place: Literal["lower left", "lower right"]) -> None:
    """Draw the key behind the neck, where no landmark lies."""
    style: dict[str, Any] = {"fontsize": 8.5, "facecolor": "black", "edgecolor": "none", "labelcolor": "white"}
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, framealpha=0.6, handlelength=1.8, labelspacing=0.35, borderpad=0.6, **style)


def _draw_landmarks(film: Film, found: dict[str, np.ndarray]) -> None:
    """Draw a small ring and the usual abbreviation of every landmark."""
    if not found:
        return
    points = np.stack(list(found.values()))
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": MARK, "markeredgewidth": 1.2}
    film.markers(points, "o", 3.6, 5, path_effects=outlined(2.4), **ring)
    texts = [SHORT.get(name, shorten(name, 14)) for name in found]
    style: dict[str, Any] = {"color": MARK, "fontsize": 9, "path_effects": outlined(2.4)}
    film.labels(points, texts, _along_lines(found), pad=3, **style)


def _draw_doubtful(film: Film, points: np.ndarray) -> None:
    """Draw a hollow diamond around each doubtful point (K, 2), so that one sees which to look at."""
    if np.isfinite(points).all(-1).any():
        style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": PREDICTION, "label": "doubtful point"}
        film.markers(points, "D", 9, 5, **style)


def _along_lines(found: dict[str, np.ndarray]) -> np.ndarray:
    """Places (M, 2) in image pixels that labels should leave free: the landmarks, and steps along the planes."""
    lines = [(found[a], found[b]) for _, a, b, _ in PLANES if a in found and b in found]
    steps = [a + (b - a) * np.linspace(-0.1, 1.1, 25)[:, None] for a, b in lines]
    return np.concatenate([np.stack(list(found.values())), *steps])


def _draw_panel(canvas: Canvas, left: float, height: float, analysis: Analysis, notes: Sequence[str]) -> None:
    axes = canvas.picture(left + MARGIN, TITLE, PANEL - 2 * MARGIN, height)
    axes.set(xlim=(0, PANEL - 2 * MARGIN), ylim=(height, 0))
    for place, finding in enumerate(analysis.findings):
        _draw_measure(axes, 6 + place * ROW, finding)
    for index, line in enumerate(reversed(notes)):
        axes.text(0, height - 10 - 18 * index, line, fontsize=8, color=FAINT, va="center")


def _draw_measure(axes: Axes, top: float, finding: MeasureFinding) -> None:
    """Draw one measure: name, value and interval; a scale with the normal range; the class."""
    right = PANEL - 2 * MARGIN
    interval = interval_words(finding)
    axes.text(0, top + 10, finding.measure.name, fontsize=11.5, weight="bold", color=INK, va="center")
    axes.text(56, top + 11, finding.measure.title, fontsize=8.5, color=FAINT, va="center")
    axes.text(right, top + 10, value_words(finding), fontsize=11.5, weight="bold", color=INK, ha="right", va="center")
    _draw_scale(axes, top + 37, right, finding)
    style: dict[str, Any] = {"color": _colour(finding), "fontsize": 9.5, "va": "center"}
    axes.text(0, top + 68, shorten(class_words(finding), 44 if interval else 62), **style)
    if interval:
        axes.text(right, top + 68, f"90 %: {interval}", fontsize=8.5, color=INK, ha="right", va="center")
    if finding.note and finding.class_number is not None:
        colour = BAD if finding.doubtful else FAINT
        axes.text(0, top + 83, shorten(finding.note, 82), fontsize=8, color=colour, va="center")
    axes.plot([0, right], [top + 93] * 2, color="#E4E4E4", linewidth=0.8)


def _colour(finding: MeasureFinding) -> str:
    if finding.class_number is None:
        return FAINT
    return UNSURE if finding.uncertain else INK if finding.class_number == 1 else BAD


def _draw_scale(axes: Axes, y: float, right: float, finding: MeasureFinding) -> None:
    """Draw the normal range as a band, the interval as a bar and the value as a mark on one scale; none in pixels."""
    if finding.unit == "px":
        return
    low, high = SCHEMES[finding.measure.name].normal
    width = high - low
    least, most = low - 3 * width, high + 3 * width
    seen = [each for each in (finding.value, finding.low, finding.high) if each is not None and np.isfinite(each)]
    if seen:
        least, most = min(least, min(seen) - 0.3 * width), max(most, max(seen) + 0.3 * width)

    def place(value: float) -> float:
        return (value - least) / (most - least) * right

    axes.plot([0, right], [y, y], color="#C9CDD1", linewidth=1.2, zorder=1, solid_capstyle="butt")
    axes.fill_between([place(low), place(high)], y - 7, y + 7, color="#CFE8DC", linewidth=0, zorder=2)
    digits = finding.measure.decimals
    for limit, align in ((low, "right"), (high, "left")):
        shift = -3 if align == "right" else 3
        text = f"{limit:.{digits}f}{SYMBOLS[finding.unit] if align == 'left' and finding.unit == 'deg' else ''}"
        axes.text(place(limit) + shift, y + 15, text, fontsize=7.5, color=FAINT, ha=align, va="center", zorder=2)
    colour = _colour(finding)
    if finding.low is not None and finding.high is not None:
        axes.plot([place(finding.low), place(finding.high)], [y, y], color=colour, linewidth=4, alpha=0.45, zorder=3,
                  solid_capstyle="butt")  # fmt: skip
    if np.isfinite(finding.value):
        axes.plot([place(finding.value)], [y], marker="D", markersize=6.5, color=colour, zorder=4)


def _note_lines(detection: Detection, analysis: Analysis) -> list[str]:
    spacing = "" if detection.spacing is None else f"{detection.spacing[0]:g} x {detection.spacing[1]:g} mm a pixel"
    facts = [
        "Green band: normal range (class 1; Wang et al. 2016)." + _interval_note(analysis),
        ", ".join(each for each in (f"Facing {analysis.facing}" if analysis.facing else "", spacing) if each),
        *(each[0].upper() + each[1:] + "." for each in analysis.doubts),
        *analysis.notes,
        *detection.notes,
        RESEARCH_ONLY + (f" Model: {detection.model}" if detection.model else ""),
    ]
    return [line for fact in facts if fact for line in textwrap.wrap(fact, 68)]


def _interval_note(analysis: Analysis) -> str:
    known = any(each.low is not None for each in analysis.findings)
    return " Bar: 90 % interval; uncertain: the class has under 80 %." if known else ""

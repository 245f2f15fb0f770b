"""What all figures share: colours that colour-blind readers tell apart, canvases measured in pixels, atomic saving.

Only matplotlib's Figure object with the Agg canvas is used: pyplot keeps global state and is not safe in threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, the vermillion a little lighter so that it stands out from dark bone.
PREDICTION = "#FF6A1A"
ANNOTATORS = ("#56B4E9", "#F0E442", "#CC79A7", "#009E73")
VARIANTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TRUTH = "#2BE37E"
HEAT = "#FF4FD8"
INK, FAINT, BAD = "#222222", "#8A8A8A", "#B3261E"
DPI = 100
TITLE, LEGEND = 38, 34  # output pixels of the strips above and below pictures


class Canvas:
    """A white picture of (width, height) output pixels; places on it are counted from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def chart(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes in a box of output pixels."""
        box = left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height
        return self.figure.add_axes(box)

    def picture(self, left: float, top: float, width: float, height: float, ground: str = "none") -> Axes:
        """Add axes without ticks or frame in a box of output pixels; ``ground`` is the colour behind what is drawn."""
        axes = self.chart(left, top, width, height)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_facecolor(ground)
        return axes

    def write(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        """Write a text whose middle line lies at ``y``; ``size`` is in typographic points."""
        drawn = {"color": INK, "va": "center"} | style
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, **drawn)

    def title(self, text: str) -> None:
        """Write the title into the strip of ``TITLE`` output pixels above the pictures."""
        self.write(10, TITLE / 2, shorten(text, int(self.width / 8)), 11, weight="bold")

    def key(self, top: float, entries: Sequence[Any], left: float = 0, **style: Any) -> None:
        """Draw the key to marks and colours into the strip that begins at ``top``."""
        axes = self.picture(left, top, self.width - left, LEGEND)
        drawn = {"fontsize": 9.5, "handletextpad": 0.3, "columnspacing": 1.4, "borderpad": 0.2} | style
        axes.legend(handles=list(entries), loc="center left", ncols=len(entries), frameon=False, **drawn)

    def save(self, path: str | Path, formulas: bool = True) -> Path:
        """Write it as PNG beside ``path`` and rename it there (its folder is made); returns the path.

        ``formulas`` False takes every text as it is: a "$" in a name stays one.
        """
        from matplotlib.text import Text

        path = Path(path)
        for text in self.figure.findobj(Text) if not formulas else ():
            text.set_parse_math(False)
        with atomic_path(path) as temporary:
            self.figure.savefig(temporary, format="png", dpi=DPI)
        return path


def show_image(axes: Axes, image: np.ndarray, **options: Any) -> None:
    """Draw an image (H, W) in ``axes`` so that data coordinates are its pixels, centres at integers."""
    height, width = image.shape[:2]
    low_high = {"vmin": 0, "vmax": 255} if image.dtype == np.uint8 else {}
    axes.imshow(image, **({"cmap": "gray", "aspect": "auto", "interpolation": "antialiased"} | low_high | options))
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def heat_rgba(heat: np.ndarray, gamma: float = 0.5, opacity: float = 0.85) -> np.ndarray:
    """Turn a map (H, W) in [0, 1] into the colour HEAT whose opacity is the map's value: (H, W, 4) in [0, 1].

    ``gamma`` below 1 lifts the faint activations, which else vanish beside the peak.
    """
    from matplotlib.colors import to_rgb

    rgba = np.empty((*heat.shape, 4))
    rgba[..., :3] = to_rgb(HEAT)
    rgba[..., 3] = opacity * np.clip(np.nan_to_num(heat), 0, 1) ** gamma
    return rgba


def unit_range(values: np.ndarray) -> np.ndarray:
    """Scale a map to [0, 1] by its own least and greatest value; a constant map becomes zeros."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (values - low) / (high - low) if high > low else np.zeros_like(values, dtype=float)


def shrink_keeping_peaks(values: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """Shrink a map (H, W) to at most ``limit`` pixels a side, keeping in each block what departs most from the median.

    A single hot pixel would vanish if a large map were averaged down to a small panel. Returns the map and the block's
    side in pixels (1: nothing done); a last incomplete block is filled with the edge's values.
    """
    block = max(1, -(-max(values.shape) // limit))
    if block == 1:
        return values, 1
    height, width = (-(-side // block) for side in values.shape)
    padded = np.pad(values, ((0, height * block - values.shape[0]), (0, width * block - values.shape[1])), mode="edge")
    blocks = padded.reshape(height, block, width, block).swapaxes(1, 2).reshape(height, width, -1)
    strongest = np.abs(blocks - np.median(values)).argmax(-1)
    return np.take_along_axis(blocks, strongest[..., None], -1)[..., 0], block


def outlined(width: float = 2.2) -> list[Any]:
    """Path effects that draw a dark edge behind a line, marker or text, so that it reads on bone and on film alike."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground="black"), Normal()]


def annotator_labels(names: Sequence[str], count: int) -> list[str]:
    """Names of ``count`` annotators; one without a name is called by its number."""
    return [names[i] if i < len(names) else f"annotator {i + 1}" for i in range(count)]


def numbered(index: int, name: str) -> str:
    """A landmark's number, counted from 1, and its name; the number alone where that is the name."""
    return name if name == str(index + 1) else f"{index + 1} {name}"


def shorten(text: str, length: int) -> str:
    """Cut ``text`` to ``length`` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= length else text[: max(1, length - 1)].rstrip() + "…"


def place_labels(
    anchors: np.ndarray, sizes: Sequence[tuple[float, float]], bounds: tuple[float, float], obstacles: np.ndarray
) -> np.ndarray:
    """Find a place for each label near its anchor where it covers little: a greedy choice among places around it.

    ``anchors`` (N, 2), ``obstacles`` (M, 2) and the result, the labels' centres (N, 2), are in output pixels;
    ``sizes`` are (width, height); ``bounds`` is the (width, height) of the area that labels must stay in.
    """
    centres = np.full((len(anchors), 2), np.nan)
    angles = np.deg2rad([-45, 45, -135, 135, 0, 180, -90, 90, -22, 22, -158, 158])
    for index, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        if np.isnan(anchor).any():
            continue
        half = np.asarray(size) / 2
        best, best_cost = anchor, np.inf
        for radius in (9.0, 16.0, 25.0, 36.0):
            for angle in angles:
                direction = np.array([np.cos(angle), np.sin(angle)])
                centre = anchor + direction * (radius + half * np.abs(direction))
                cost = radius / 9 + _crowding(centre, half, centres[:index], sizes[:index], bounds, obstacles)
                if cost < best_cost:
                    best, best_cost = centre, cost
        centres[index] = np.clip(best, half, np.maximum(np.asarray(bounds) - half, half))
    return centres


def _crowding(
    centre: np.ndarray,
    half: np.ndarray,
    centres: np.ndarray,
    sizes: Sequence[tuple[float, float]],
    bounds: tuple[float, float],
    obstacles: np.ndarray,
) -> float:
    """Cost of a label's place: 20 for leaving the area, 10 for each label covered, 4 for each marker covered."""
    cost = 20.0 * float((centre - half < 0).any() or (centre + half > np.asarray(bounds)).any())
    if len(centres):
        gaps = np.abs(centres - centre) - (np.asarray(sizes) / 2 + half)
        cost += 10.0 * float((gaps < 1).all(-1).sum())
    if len(obstacles):
        cost += 4.0 * float((np.abs(obstacles - centre) < half + 5).all(-1).sum())
    return cost

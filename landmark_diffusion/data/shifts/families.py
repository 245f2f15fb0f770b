"""The suite of other devices: families of changes by name, each of one stated strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.seeds import shift_seed
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.data.shifts import layout, marks, values
from landmark_diffusion.data.shifts.shifted import IDENTITY, ShiftedImage

SUITE_VERSION = 1
"""Goes up whenever a change alters any picture, so that what was measured under an older suite is not gone on with."""

Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], ShiftedImage]


@dataclass(frozen=True)
class ShiftFamily:
    """One kind of change.

    Attributes:
        says: what is done, with its strength, for tables.
        change: grey (H, W) uint8, points (N, 2) and rng to the changed image.
    """

    says: str
    change: Change


def _in_place(change: Callable[..., np.ndarray], **strength: Any) -> Change:
    def changed(grey: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> ShiftedImage:
        return ShiftedImage(change(grey, rng, **strength), IDENTITY)

    return changed


FAMILIES: Mapping[str, ShiftFamily] = {
    "film_curve": ShiftFamily("film with strong toe and shoulder", _in_place(values.film_curve, slope=7.0)),
    "clahe_small": ShiftFamily("CLAHE, 16 x 16 tiles, clip 6", _in_place(values.clahe, tiles=16, clip=6.0)),
    "clahe_large": ShiftFamily("CLAHE, 3 x 3 tiles, clip 6", _in_place(values.clahe, tiles=3, clip=6.0)),
    "edges": ShiftFamily("unsharp mask, amount 4, overshoot", _in_place(values.edges, amount=4.0, radius=1 / 120)),
    "shading": ShiftFamily("heel effect 65 %, vignette 45 %", _in_place(values.shading, heel=0.65, vignette=0.45)),
    "collimated_black": ShiftFamily("oval or polygon, black outside", partial(layout.collimated, room=0.1, fill=0)),
    "collimated_white": ShiftFamily("oval or polygon, white outside", partial(layout.collimated, room=0.1, fill=255)),
    "margin_black": ShiftFamily("20 % black at each side", partial(layout.margin, share=0.2, fill=0)),
    "margin_white": ShiftFamily("20 % white at each side", partial(layout.margin, share=0.2, fill=255)),
    "zoom": ShiftFamily("cut to the landmarks and 6 % more", partial(layout.zoom, room=0.06)),
    "stretch": ShiftFamily("aspect 1.15 or 1/1.15", partial(layout.stretch, aspect=1.15)),
    "turn": ShiftFamily("12 degrees", partial(layout.turn, degrees=12.0)),
    "photograph": ShiftFamily("light box from aslant, uneven light", partial(layout.photograph, slant=0.12, light=0.6)),
    "marks": ShiftFamily("text, ruler, metal rings, rod", partial(marks.marked, texts=5, rings=3, metal=250)),
    "noise": ShiftFamily(
        "Poisson noise, horizontal bands", _in_place(values.noise, quanta=60.0, banding=9.0, grain=1 / 400)
    ),
    "motion_blur": ShiftFamily("2.5 % of the width", _in_place(values.motion_blur, length=0.025)),
    "grid_lines": ShiftFamily(
        "anti-scatter grid with moire", _in_place(values.grid_lines, period=(0.008, 0.016), depth=0.25)
    ),
    "jpeg": ShiftFamily("JPEG of quality 8 at 640 px", partial(layout.jpeg, quality=8, width=640)),
    "narrow": ShiftFamily("200 px wide", partial(layout.narrow, width=200)),
    "posterised": ShiftFamily("12 grey levels", _in_place(values.posterised, levels=12)),
    "part_inverted": ShiftFamily(
        "black for white in 25 to 45 % of it", _in_place(values.part_inverted, share=(0.25, 0.45))
    ),
    "negative": ShiftFamily("black for white", _in_place(values.negative)),
    "dark": ShiftFamily("gamma 2.2", _in_place(values.gamma, exponent=2.2)),
    "bright": ShiftFamily("gamma 0.35", _in_place(values.gamma, exponent=0.35)),
    "low_contrast": ShiftFamily("a quarter of the range", _in_place(values.flat, contrast=0.25, black=(40, 150))),
}


def shift_image(grey: np.ndarray, points: np.ndarray, family: str, seed: int, image_id: str) -> ShiftedImage:
    """Give an image (H, W) uint8 as another device would have made it, drawn from (family, seed, image id) alone.

    ``points`` (N, 2) are its landmarks in original pixels, NaN where missing: cuts keep them in, and marks leave them
    free. Raises UserError for an unknown family, ValueError for another kind of image.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise ValueError(f"image: found {grey.dtype} of shape {grey.shape}, expected uint8 (H, W)")
    check_family(family)
    rng = np.random.default_rng(shift_seed(seed, family, image_id))
    return FAMILIES[family].change(grey, np.asarray(points, dtype=np.float64), rng)


def check_family(name: str, option: str = "family") -> None:
    """Raise UserError unless there is a family of that name."""
    if name not in FAMILIES:
        hint = did_you_mean(name, list(FAMILIES)) or " `ldx shifts --list` names those that there are"
        raise UserError(f"{option}: found {name!r}.{hint}")

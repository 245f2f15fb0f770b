"""Why an image is unlike those of the calibration: what undoes the fault and makes it like them, or "unknown".

A reason is a finding, not a guess: the image is mirrored, inverted, turned and brought to the usual brightness, one
after the other, and the model looks again. The first of these that it calls like the calibration's names the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from landmark_diffusion.data.forms import BY_NAME
from landmark_diffusion.spread.image_score import UNLIKE

UNKNOWN = "unknown"
DARK, BRIGHT, LOW_CONTRAST = "dark", "bright", "low contrast"
_HALF = 128
"""Grey values: an image that uses less than half of the range, above, below or around its middle, is badly exposed."""
_STEEPEST = 4.0

TURNS = {
    "mirrored": "mirror it left to right",
    "negative": "invert its grey values",
    "upside down": "turn it by 180 degrees",
    "turned left": "turn it by 90 degrees to the right",
    "turned right": "turn it by 90 degrees to the left",
    "flipped": "mirror it top to bottom",
    "turned left and mirrored": "turn it to the right and mirror it",
    "turned right and mirrored": "turn it to the left and mirror it",
}
"""The forms that are tried (``data.forms``), and what undoes them in words; in the order in which they are tried."""

REASONS = (DARK, BRIGHT, LOW_CONTRAST, *TURNS, UNKNOWN)
"""All that ``Detection.unlike_reason`` may say."""

MOST_LOOKS = len(TURNS) + 1
"""How often an image that is unlike is looked at again, at most."""


def find_reasons(
    greys: Sequence[np.ndarray], scores: Callable[[list[np.ndarray]], np.ndarray], known: Sequence[bool] | None = None
) -> list[str]:
    """Say why each image (H, W) uint8 is unlike, one of ``REASONS``; ``scores`` gives the p-values of changed images.

    Each is looked at again once for every change that is tried, until one makes it like the calibration's. Those whose
    form is ``known``, and undone, are neither turned nor mirrored nor inverted.
    """
    reasons = [UNKNOWN] * len(greys)
    exposures = [exposure(grey) for grey in greys]
    _try(reasons, {place: (word, balanced(greys[place])) for place, word in enumerate(exposures) if word}, scores)
    for reason in TURNS:
        left = [place for place, found in enumerate(reasons) if found == UNKNOWN and not (known and known[place])]
        _try(reasons, {place: (reason, BY_NAME[reason].undo(greys[place])) for place in left}, scores)
    return reasons


def reason_note(reason: str, seen: str = "", known: bool = False) -> str:
    """Say in a sentence what a reason rests on and what to do; ``seen`` is the image's ``exposure``.

    ``known`` is for an image whose form was recognised and undone.
    """
    if reason == UNKNOWN:
        also = f" It is also {seen}, which evening out does not mend." if seen else ""
        tried = (
            "neither in the orientation that was recognised nor" if known else "neither mirrored, turned, inverted nor"
        )
        return (
            f"Why is not known: {tried} at another brightness is it like them. It may show another view or another "
            f"part of the body.{also}"
        )
    if reason in TURNS:
        return f"It is {reason}: undone, it is like them. To use it, {TURNS[reason]} and detect again."
    return f"It is {reason}: brightened evenly, it is like them. To use it, export it with another window."


def exposure(grey: np.ndarray) -> str:
    """Name what is wrong with the brightness of an image (H, W) uint8; empty where nothing is."""
    low, middle, high = np.percentile(grey, [0.5, 50, 99.5])
    if high < _HALF or middle < _HALF / 2:
        return DARK
    if low >= _HALF or middle >= 255 - _HALF / 2:
        return BRIGHT
    return LOW_CONTRAST if high - low < _HALF else ""


def balanced(grey: np.ndarray) -> np.ndarray:
    """Spread the values of an image (H, W) uint8 over the whole range, with their median in its middle."""
    low, middle, high = np.percentile(grey, [0.5, 50, 99.5])
    table = ((np.arange(256) - low) / max(high - low, 1.0)).clip(0, 1)
    centre = float(np.clip((middle - low) / max(high - low, 1.0), 0.5**_STEEPEST, 0.5 ** (1 / _STEEPEST)))
    levels: np.ndarray = np.rint(255 * table ** (np.log(0.5) / np.log(centre))).astype(np.uint8)[grey]
    return levels


def _try(
    reasons: list[str], changed: dict[int, tuple[str, np.ndarray]], scores: Callable[[list[np.ndarray]], np.ndarray]
) -> None:
    """Look at changed images, by their places, and note the reason where that makes one like the calibration's."""
    if not changed:
        return
    found = scores([grey for _, grey in changed.values()])
    for (place, (reason, _)), score in zip(changed.items(), found, strict=True):
        if score > UNLIKE:
            reasons[place] = reason

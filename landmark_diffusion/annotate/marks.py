"""Marks as the page sends and gets them: plain values, checked."""

from __future__ import annotations

import math
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.labels.label_set import ORIGINS, Flag, Mark, Origin

KEYS = {"x", "y", "flag", "origin", "time", "score"}


def mark_json(mark: Mark | None) -> dict[str, Any] | None:
    """A mark as plain values, null for what is not known; None stays None."""
    if mark is None:
        return None
    x, y = (mark.x, mark.y) if mark.placed else (None, None)
    return {"x": x, "y": y, "flag": str(mark.flag), "origin": mark.origin, "time": mark.time}


def read_mark(value: Any, size: tuple[int, int], name: str) -> Mark | None:
    """Read what the page sends for a landmark ``name`` of an image of ``size`` (width, height); None removes the mark.

    A point is rounded to 0.001 px. Raises UserError for anything else than a point within the image or an absence.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) - KEYS:
        raise UserError(f"{name}: found {value!r:.80}, expected x, y, flag and origin, or null")
    flag, origin = _flag(value.get("flag", Flag.VISIBLE), name), _origin(value.get("origin"), name)
    if flag is Flag.ABSENT:
        if value.get("x") is not None or value.get("y") is not None:
            raise UserError(f"{name}: found a point that is absent, expected one of them")
        return Mark(math.nan, math.nan, flag, origin)
    x, y = (_coordinate(value.get(axis), side, f"{name}: {axis}") for axis, side in zip("xy", size, strict=True))
    return Mark(x, y, flag, origin)


def _flag(found: Any, name: str) -> Flag:
    if not isinstance(found, str) or found not in list(Flag):
        raise UserError(f"{name}: flag: found {found!r:.20}, expected one of {', '.join(Flag)}")
    return Flag(found)


def _origin(found: Any, name: str) -> Origin | None:
    if found is None:
        return None
    if found not in ORIGINS:
        raise UserError(f"{name}: origin: found {found!r:.20}, expected one of {', '.join(ORIGINS)}")
    return next(each for each in ORIGINS if each == found)


def _coordinate(value: Any, side: int, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UserError(f"{name}: found {value!r:.40}, expected a number of pixels")
    rounded = round(float(value), 3) + 0.0
    if not -0.5 <= rounded < side - 0.5:
        raise UserError(f"{name}: found {value:g}, outside the image, which reaches from -0.5 to {side - 0.5:g}")
    return rounded

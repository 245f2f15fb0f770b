"""The spacing that a user gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landmark_diffusion.core.errors import UserError

OPTION_SPACING = "option"
"""``Detection.spacing_source`` of a spacing that was given and not read."""

Spacing = tuple[float, float]


def check_spacing(spacing: float | Sequence[float]) -> Spacing:
    """Return mm per pixel (x, y) from one value or two; raises UserError unless they are above 0 and finite."""
    try:
        values = [float(each) for each in np.atleast_1d(np.asarray(spacing, dtype=np.float64))]
    except (TypeError, ValueError):  # no numbers, or not in a row
        values = []
    if len(values) not in (1, 2) or not all(np.isfinite(each) and each > 0 for each in values):
        raise UserError(f"spacing: found {spacing}, expected mm per pixel above 0: one value, or two for x and y")
    return values[0], values[-1]


def read_spacing(text: str) -> Spacing:
    """Read mm per pixel as people write it, "0.1" or "0.1,0.12" for x and y; raises UserError for anything else."""
    try:
        return check_spacing([float(part) for part in text.split(",")])
    except (ValueError, UserError) as error:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise UserError(
            f"spacing: found {shown!r}, expected mm per pixel above 0: 0.1, or 0.1,0.12 for x and y"
        ) from error

"""Which side a lateral cephalogram looks to, found from its points: the sign of several measures hangs on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.cephalometry.measures import Facing
from landmark_diffusion.studies.cephalometry.plausible import exchange

_BEHIND_AHEAD = (
    ("sella", "nasion"),
    ("porion", "orbitale"),
    ("posterior nasal spine", "anterior nasal spine"),
    ("gonion", "menton"),
)
"""Pairs of landmarks of which the second lies ahead of the first in every face."""

_ABOVE_BELOW = (("nasion", "menton"), ("nasion", "supramentale"), ("orbitale", "subspinale"), ("sella", "gonion"))


ADVICE = "; or say it with --facing"
"""The end of an error that a known side would mend; of no use where the points are not to be used."""


def find_facing(points: np.ndarray, names: Sequence[str], asked: Facing | None = None) -> Facing | None:
    """Tell from points (N, 2) in image pixels (y down) which side the face looks to; None where no pair is there.

    With ``asked`` that side is taken, unless every pair says the other one. Raises UserError where pairs contradict
    each other or ``asked``, and where the face stands on its head or lies on its side: a measure with a wrong sign
    looks like a finding.
    """
    found = {name: point for name, point in zip(names, points, strict=True) if np.isfinite(point).all()}
    if _on_its_side(found):
        pair = next(pair for pair in _ABOVE_BELOW if set(pair) <= set(found))
        side = "right" if found[pair[1]][0] > found[pair[0]][0] else "left"
        raise UserError(
            f"the face lies on its side: {pair[1]} lies {side} of {pair[0]}; turn the image and detect again"
        )
    upright = _steps(found, _ABOVE_BELOW, axis=1)
    if upright and not any(step > 0 for step in upright.values()):
        pair = next(iter(upright))
        raise UserError(f"the face stands on its head: {pair[0]} lies below {pair[1]}; turn the image and detect again")
    sides: dict[tuple[str, str], Facing] = {
        pair: "right" if step > 0 else "left" for pair, step in _steps(found, _BEHIND_AHEAD, axis=0).items()
    }
    if not sides:
        return asked
    if asked is not None and asked in sides.values():
        return asked
    if len(set(sides.values())) == 2:
        cause = exchange(points, names) or "the image may be turned, or landmarks exchanged: look at the points"
        raise UserError(f"which side the face looks to is not clear: {_told(sides)}; {cause}{ADVICE}")
    seen = next(iter(sides.values()))
    if asked is not None:
        raise UserError(
            f"found --facing {asked}, but the points say the other side: {_told(sides)}; the image or its points are "
            "mirrored, or the option is wrong"
        )
    return seen


def _on_its_side(found: dict[str, np.ndarray]) -> bool:
    """Whether each pair lies more beside than above one another, as in a face turned by about 90 degrees."""
    steps = [found[below] - found[above] for above, below in _ABOVE_BELOW if above in found and below in found]
    return len(steps) > 1 and all(abs(x) > abs(y) for x, y in steps)


def _steps(found: dict[str, np.ndarray], pairs: Sequence[tuple[str, str]], axis: int) -> dict[tuple[str, str], float]:
    """How far along ``axis`` each pair's second point lies behind its first, where both are there."""
    return {
        (first, second): float(found[second][axis] - found[first][axis])
        for first, second in pairs
        if first in found and second in found and found[second][axis] != found[first][axis]
    }


def _told(sides: dict[tuple[str, str], Facing]) -> str:
    return ", ".join(f"{ahead} lies {side} of {behind}" for (behind, ahead), side in sides.items())

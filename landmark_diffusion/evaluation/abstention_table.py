"""What is left when the share with the largest expected errors is put aside, as a table and as plain values."""

from __future__ import annotations

from typing import Any

from landmark_diffusion.core.grid import Grid, rounded
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.spread.statistics import Abstention

KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Shares kept in the table of abstention."""


def abstention_grid(by_point: Abstention, by_image: Abstention, unit: Unit) -> Grid:
    """Lay out abstention from single points and from whole images, a row a kept share; lengths are in ``unit``."""
    within = f"< {by_point.radius:g} {unit_words(unit)}, %"
    rows = [(f"{100 * share:.0f} %", *_cells(by_point, share), *_cells(by_image, share)) for share in KEPT]
    short = ("kept", "points", "best", within, "images", "best", within)
    long = [(f"MRE of {kind}, {unit_words(unit)}", "at best", within) for kind in ("points", "images")]
    notes = (
        "kept: those of the smallest expected error, single points or whole images (by their mean); best: if the "
        "smallest true errors were kept",
        "excess area under the curve (NAURC: 0 the best order, 1 a random one): points "
        f"{rounded(by_point.normalized_excess)}, images {rounded(by_image.normalized_excess)}",
    )
    above = (f"mean radial error of the points or images that are kept, {unit_words(unit)}",)
    return Grid("Abstention", above, short, ("kept", *long[0], *long[1]), (tuple(rows),), notes)


def plain_curve(curve: Abstention) -> dict[str, Any]:
    """Turn a curve into plain values: its areas, and a row for each share of ``KEPT``; rates are in percent."""
    places = [(share, curve.kept(share)) for share in KEPT]
    rows = [{"share": s, "mre": curve.mre[k], "rate": curve.rate[k], "oracle": curve.oracle[k]} for s, k in places]
    return {
        "aurc": curve.aurc, "oracle_aurc": curve.oracle_aurc, "random": curve.random,
        "normalized_excess": curve.normalized_excess, "radius": curve.radius, "kept": rows,
    }  # fmt: skip


def _cells(curve: Abstention, share: float) -> tuple[str, str, str]:
    place = curve.kept(share)
    return rounded(curve.mre[place]), rounded(curve.oracle[place]), f"{curve.rate[place]:.1f}"

"""What an adaptation did to the errors on its own images: of the model as it was, and of the folds' models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landmark_diffusion.core.grid import ABSENT, Grid, rounded
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.core.texts import counted
from landmark_diffusion.metrics.bootstrap import bootstrap_interval, paired_difference
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.studies.calibrate.collect import Collected

SAME = 0.01
"""Network pixels within which a label is the start's own point: somebody accepted it as it was."""
LEAST = 2
"""Images that an interval over images needs."""


@dataclass(frozen=True)
class Row:
    """Errors of some landmarks, averaged over each image's; intervals over images.

    Attributes:
        label: which landmarks.
        before, after: mean radial error with its interval; None for landmarks that the start does not know.
        medians: median error of single points, before and after.
        difference: after - before, paired by image.
    """

    label: str
    before: Interval | None
    after: Interval
    medians: tuple[float | None, float]
    difference: Interval | None


@dataclass(frozen=True)
class BeforeAfter:
    """The table "as it was / adapted".

    Attributes:
        rows: of the landmarks that the start knew, and of new ones.
        unit: of the errors.
        images, folds: how many.
        accepted: points whose label is the start's own point. They cannot tell which of both models is nearer, and
            the rows leave them out.
    """

    rows: tuple[Row, ...]
    unit: str
    images: int
    folds: int
    accepted: int = 0

    @property
    def helped(self) -> bool:
        """Whether the error fell beyond its interval, or there was no error before to compare with."""
        return self._change is None or self._change.sign < 0

    @property
    def _change(self) -> Interval | None:
        return next((row.difference for row in self.rows if row.difference is not None), None)

    @property
    def verdict(self) -> str:
        """Say in one line whether adapting helped."""
        if (change := self._change) is None and self.accepted:
            return (
                "the labels are the model's own points, accepted as they were, so there is nothing to compare the "
                "errors with: correct points, or mark some by hand"
            )
        if change is None:
            return "the start knows none of these landmarks, so there is nothing to compare the errors with"
        unit = unit_words(self.unit)
        where = " on the points that were not accepted" if self.accepted else ""
        if change.sign < 0:
            return (
                f"adapting helped: the error{where} fell by {-change.mean:.2f} {unit} [{-change.high:.2f}, "
                f"{-change.low:.2f}]"
            )
        if change.sign > 0:
            return (
                f"adapting did harm: the error{where} rose by {change.mean:.2f} {unit} [{change.low:.2f}, "
                f"{change.high:.2f}]; use the model as it was"
            )
        return (
            f"no clear difference on {counted(self.images, 'image')} ({change.mean:+.2f} {unit} [{change.low:+.2f}, "
            f"{change.high:+.2f}]): use the model as it was, or label more images"
        )

    def grid(self) -> Grid:
        """Lay it out."""
        unit = unit_words(self.unit)
        return Grid(
            title="As it was / adapted",
            above=(
                f"radial error in {unit} on {counted(self.images, 'image')} with 95 % intervals over images; adapted: "
                f"each image judged by one of {self.folds} models that had not seen it",
            ),
            headings=("landmarks", "as it was", "adapted", "change", "median was", "median"),
            long_headings=(
                "landmarks", f"as it was: mean error, {unit}", f"adapted: mean error, {unit}", f"change, {unit}",
                "median error as it was", "median error adapted",
            ),
            sections=(tuple(_cells(row) for row in self.rows),),
            notes=(self.verdict, *self._left_out()),
        )  # fmt: skip

    def _left_out(self) -> tuple[str, ...]:
        if not self.accepted:
            return ()
        what = counted(self.accepted, "point") + (" whose labels are" if self.accepted > 1 else " whose label is")
        return (
            f"{what} the model's own, accepted as it found them, left out: it would have no error there at all. What "
            "is left was moved, so it is where the model was worst, and on all points the gain is smaller. A fair "
            "comparison needs images that were marked without its points (ldx annotate --blind)",
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for the model file."""
        rows = [
            {
                "label": row.label, "before": _ends(row.before), "after": _ends(row.after),
                "difference": _ends(row.difference), "medians": list(row.medians),
            }
            for row in self.rows
        ]  # fmt: skip
        return {
            "unit": self.unit, "images": self.images, "folds": self.folds, "rows": rows, "verdict": self.verdict,
            "accepted": self.accepted,
        }  # fmt: skip


def compare(before: Collected, after: Collected, places: Sequence[int | None], folds: int) -> BeforeAfter:
    """Compare errors on the same images in the same order; ``places`` are the landmarks' in the start.

    Points that are the start's own are left out (``BeforeAfter.accepted``).
    """
    known = np.array([place is not None for place in places])
    own = known & (np.linalg.norm(before.residuals, axis=-1) < SAME)
    was, now = (np.where(own, np.nan, each.errors) for each in (before, after))
    groups = [(known, "known to the start"), (~known, "new")]
    count = len(places)
    rows = [
        _row(f"{label}, {group.sum()} of {count}" if group.sum() < count else f"all {count}", was, now, group, i == 0)
        for i, (group, label) in enumerate(groups)
        if np.isfinite(now[:, group]).any(1).sum() >= LEAST
    ]
    return BeforeAfter(tuple(rows), after.unit, len(after.truth), folds, int(own.sum()))


def _row(label: str, was: np.ndarray, now: np.ndarray, group: np.ndarray, was_known: bool) -> Row:
    now = now[:, group]
    seen = np.isfinite(now).any(1)
    now, was = now[seen], was[:, group][seen]
    return Row(
        label=label,
        before=bootstrap_interval(was) if was_known else None,
        after=bootstrap_interval(now),
        medians=(float(np.nanmedian(was)) if was_known else None, float(np.nanmedian(now))),
        difference=paired_difference(now, was) if was_known else None,
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (row.label, *map(_shown, (row.before, row.after, row.difference)), *map(rounded, row.medians))


def _shown(interval: Interval | None) -> str:
    return ABSENT if interval is None else f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.mean, interval.low, interval.high]

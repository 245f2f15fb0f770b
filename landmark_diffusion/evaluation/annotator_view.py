"""A method beside the doctors: its error and its spread, next to what separates the doctors at each landmark.

Two doctors differ by a constant offset, which is a habit, and by a rest, which changes from image to image. A method
whose spread says what cannot be known from the image spreads where the rest is large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.grid import Grid, LaidOut, rounded
from landmark_diffusion.evaluation.by_landmark import Line, Lines, mean_of_known
from landmark_diffusion.metrics.annotators import Disagreement, distance_ratio, nearer_annotator
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.pictures.figures import annotator_labels
from landmark_diffusion.spread.statistics import spearman

COLUMNS = (
    "number", "landmark", "images", "error", "rms_error", "nearer", "ratio", "distance", "offset_x", "offset_y",
    "constant", "rest", "sigma", "spread", "unit",
)  # fmt: skip
HEADINGS = {
    "landmark": "label", "error": "error", "nearer": "nearer", "ratio": "ratio", "people": "distance", "x": "offset_x",
    "y": "offset_y", "offset": "constant", "rest": "rest", "rest/√2": "sigma", "spread": "spread",
}  # fmt: skip
"""Headings of the printed table, and what stands below them."""


@dataclass(frozen=True, kw_only=True)
class AnnotatorLine(Line):
    """One landmark, or all of them: lengths in the view's unit, NaN where nothing was measured.

    Args:
        images: images (for all: points) that both annotators marked.
        error, rms_error: mean and root mean square distance to the mean of the annotators.
        nearer: mean distance to whichever annotator is nearer.
        ratio: mean of ``annotators.distance_ratio``.
        distance: mean distance between the two annotators.
        offset_x, offset_y: mean vector from the first to the second; NaN for all together.
        constant: its length; for all, the root mean square over points.
        rest: root mean square of what the offset leaves of the difference.
        spread: root mean square spread of the prediction (root of the covariance's trace) where there is a truth.
    """

    images: int
    error: float
    rms_error: float
    nearer: float
    ratio: float
    distance: float
    offset_x: float
    offset_y: float
    constant: float
    rest: float
    spread: float

    @property
    def sigma(self) -> float:
        """One annotator's part of the rest, if both scatter alike and independently: what a spread compares with."""
        return self.rest / 2**0.5


@dataclass(frozen=True)
class Correlations:
    """Spearman correlations of the spread; NaN with fewer than three pairs or where one side does not vary.

    Args:
        rest, offset, error: over landmarks, with the rest, the constant offset and the mean error.
        within: with the error over the images of a landmark, averaged over landmarks.
    """

    rest: float
    offset: float
    error: float
    within: float


@dataclass(frozen=True, kw_only=True)
class AnnotatorView(LaidOut, Lines[AnnotatorLine]):
    """One variant beside the annotators: a line a landmark, all together, and how its spread follows them.

    Args:
        variant: the method's name.
        annotators: names of the two whose disagreement is split.
        correlations: None where the predictions have no spread.
    """

    variant: str
    unit: Unit
    annotators: tuple[str, str]
    correlations: Correlations | None

    def grid(self, vectors: bool = True) -> Grid:
        """Round the numbers and lay them out, all landmarks together last; ``vectors`` gives the offset's x and y."""
        left_out = ([] if vectors else ["x", "y"]) + ([] if self.correlations else ["spread"])
        kept = {head: each for head, each in HEADINGS.items() if head not in left_out}
        above = (
            f"{self.variant} beside {self.annotators[0]} and {self.annotators[1]}; lengths in {unit_words(self.unit)}",
        )
        sections = self.sections(tuple(kept.values()))
        return Grid("Annotators and spread", above, tuple(kept), tuple(kept), sections, self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the columns mean, and the correlations in words."""
        first, second = self.annotators
        notes = [
            "error: mean distance to the mean of the annotators; nearer: mean distance to the nearer one (flattering); "
            "ratio: people's distance / sum of the prediction's distances to both",
            "people: mean distance between the two; offset: length of the constant vector (x right, y down) from "
            f"{first} to {second}; rest: root mean square of what the offset leaves; rest/√2: one person's part of it",
        ]
        if (found := self.correlations) is not None:
            notes += [
                "spread: root mean square over images of the root of the covariance's trace; compare with rest/√2",
                f"Spearman correlation of the spread over {len(self.lines)} landmarks: with the rest "
                f"{rounded(found.rest)}, the offset {rounded(found.offset)}, the error {rounded(found.error)}; with "
                f"the error over the images of a landmark, mean over landmarks: {rounded(found.within)}",
            ]
        return (*notes, "all: error, nearer, ratio and people are means over points, the others root mean squares")

    def __rich__(self) -> Any:
        return self.grid(vectors=False).to_rich()  # in 80 columns the names would else be broken

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values what metrics.json does not hold elsewhere.

        Errors, distances and offsets by landmark stand under its "landmarks"; the overall errors to the mean and to the
        nearer annotator, and the ratio, under its "table".
        """
        spread = ("spread",) if self.correlations is not None else ()
        keys = ("rms_error", "sigma", *spread)
        return {
            "variant": self.variant,
            "annotators": list(self.annotators),
            "overall": {key: getattr(self.overall, key) for key in ("constant", "rest", *keys)},
            "landmarks": [
                {"number": line.number, **{key: getattr(line, key) for key in ("nearer", "ratio", *keys)}}
                for line in self.lines
            ],
            "spearman": None if self.correlations is None else vars(self.correlations),
        }


def annotator_view(evaluation: Evaluation) -> AnnotatorView | None:
    """Put the main variant beside the first two annotators.

    None where no image was marked by both, or under a protocol that does not measure in the original frame. With more
    annotators, the error is to the mean of all and the nearer one is the nearest of all. Raises MetricError on a
    negative covariance, and what ``Evaluation`` raises.
    """
    split, main = evaluation.disagreement, evaluation.main
    if split is None:
        return None
    given = evaluation.points[main], evaluation.annotations, evaluation.scale
    errors, found = evaluation.errors_to_mean[main], evaluation.rms_spread
    spread = np.full_like(errors, np.nan) if found is None else np.where(np.isnan(errors), np.nan, found)
    tables = {
        "error": errors, "rms_error": errors**2, "nearer": nearer_annotator(*given), "ratio": distance_ratio(*given),
        "spread": spread**2,
    }  # fmt: skip
    names = annotator_labels(evaluation.annotator_names, evaluation.annotations.shape[1])
    lines = tuple(_line(number, name, tables, split) for number, name in enumerate(evaluation.landmark_names))
    related = None if found is None else _correlations(lines, spread, errors)
    return AnnotatorView(
        variant=main, unit=evaluation.unit, annotators=(names[0], names[1]), lines=lines,
        overall=_overall(tables, split), correlations=related,
    )  # fmt: skip


def write_annotators_csv(path: str | Path, view: AnnotatorView) -> Path:
    """Write one row a landmark and one for "all" (without a number), lengths in ``unit``; returns the path."""
    return view.write_csv(path, {name: name for name in COLUMNS}, unit=view.unit)


def _line(number: int, name: str, tables: Mapping[str, np.ndarray], split: Disagreement) -> AnnotatorLine:
    x, y = split.offset[number].tolist()
    return AnnotatorLine(
        number=number + 1, landmark=name, images=int(split.count[number]), **_summed(tables, number),
        distance=float(split.distance[number]), offset_x=x, offset_y=y, constant=float(split.constant[number]),
        rest=float(split.rest[number]),
    )  # fmt: skip


def _overall(tables: Mapping[str, np.ndarray], split: Disagreement) -> AnnotatorLine:
    """Pool the points: weights are the images of each landmark, so that offset and rest still add up in squares."""
    weights = np.where(split.count > 0, split.count, 0)
    distance, constant, rest = (
        float(np.average(np.nan_to_num(values), weights=weights))
        for values in (split.distance, split.constant**2, split.rest**2)
    )
    return AnnotatorLine(
        number=None, landmark="all", images=int(split.count.sum()), **_summed(tables, slice(None)), distance=distance,
        offset_x=float("nan"), offset_y=float("nan"), constant=constant**0.5, rest=rest**0.5,
    )  # fmt: skip


def _summed(tables: Mapping[str, np.ndarray], landmark: int | slice) -> dict[str, float]:
    """Means of tables (I, N) over images, or over all points; root mean squares of the squared ones."""
    means = {name: mean_of_known(table[:, landmark]) for name, table in tables.items()}
    return means | {name: means[name] ** 0.5 for name in ("rms_error", "spread")}


def _correlations(lines: Sequence[AnnotatorLine], spread: np.ndarray, errors: np.ndarray) -> Correlations:
    over = np.array([[line.spread, line.rest, line.constant, line.error] for line in lines]).T
    within = np.array([spearman(*pair) for pair in zip(spread.T, errors.T, strict=True)])
    rest, offset, error = (spearman(over[0], other) for other in over[1:])
    return Correlations(rest, offset, error, mean_of_known(within))

"""Compare runs on the images that all of them have, paired: what one errs more than another on the same images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.interval import Interval
from landmark_diffusion.metrics.bootstrap import bootstrap_interval, paired_difference
from landmark_diffusion.metrics.predictions_file import PredictionTable, read_predictions_csv
from landmark_diffusion.metrics.records import Unit, unit_words
from landmark_diffusion.metrics.summary import FAR_MM, within

PREDICTIONS, METRICS = "predictions.csv", "metrics.json"
RADII_MM = (2.0, 2.5, 3.0, 4.0)
SAME_PX = 1e-3
"""Truths of one image that lie closer are the same: the files keep six decimals."""


@dataclass(frozen=True)
class Run:
    """One method's predictions: S seeds (one, mostly) of the same images and landmarks.

    Attributes:
        name: what the table calls it.
        files: the predictions.csv of each seed.
        tables: what they hold.
    """

    name: str
    files: tuple[Path, ...]
    tables: tuple[PredictionTable, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the images."""
        return self.tables[0].image_ids

    def errors(self, images: Sequence[str], landmarks: Sequence[str]) -> np.ndarray:
        """Errors (S, I, N) of these images and landmarks, in this order."""
        return np.stack([_ordered(table, images, landmarks, table.errors) for table in self.tables])

    def truth(self, images: Sequence[str], landmarks: Sequence[str]) -> np.ndarray:
        """Truth (I, N, 2) in original pixels."""
        return _ordered(self.tables[0], images, landmarks, self.tables[0].truth)


@dataclass(frozen=True)
class Figure:
    """A figure of one run: its mean over images with a 95 % interval, and the same of its difference to the first run.

    Attributes:
        figure: "MRE", "< 2" or "> 10", which are in percent.
        run: name of the run.
        value: None for the median, which has no interval here.
        median: of all errors, for the figure "median".
        difference: this run minus the first one, over the same images; None for the first.
    """

    figure: str
    run: str
    value: Interval | None
    median: float | None = None
    difference: Interval | None = None


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found: ``figures`` by figure and run, on ``images`` that all runs have."""

    unit: Unit
    images: tuple[str, ...]
    landmarks: int
    left_out: dict[str, tuple[str, ...]]
    figures: tuple[Figure, ...]


def read_run(name: str, places: Sequence[str | Path]) -> Run:
    """Read a run's predictions, one place a seed; raises UserError where the seeds hold other images or landmarks."""
    files = tuple(find_predictions(place) for place in places)
    tables = tuple(read_predictions_csv(path) for path in files)
    for path, table in zip(files[1:], tables[1:], strict=True):
        if {*table.image_ids} != {*tables[0].image_ids} or table.unit != tables[0].unit:
            raise UserError(f"{path}: found other images or another unit than in {files[0]}, a seed of the same run")
    return Run(name, files, tables)


def find_predictions(place: str | Path) -> Path:
    """Find the predictions of a run folder, a folder of results, or a file; raises UserError where there are none."""
    path = Path(place)
    found = [path] if path.is_file() else [path / PREDICTIONS, path / "test" / PREDICTIONS]
    for each in found:
        if each.is_file():
            return each
    what = f"found no {PREDICTIONS} in it nor in its test/" if path.is_dir() else "there is no such file or folder"
    raise UserError(f"{path}: {what}; `ldx test` writes it into the run folder")


def known_radii(run: Run) -> tuple[float, ...]:
    """Radii of the run's test, from the metrics.json beside its predictions; in mm the usual ones, else none."""
    path = run.files[0].with_name(METRICS)
    try:
        return tuple(float(radius) for radius in json.loads(path.read_text(encoding="utf-8"))["radii"])
    except (OSError, ValueError, KeyError, TypeError):
        return RADII_MM if run.tables[0].unit == "mm" else ()


def compare(runs: Sequence[Run], radii: Sequence[float]) -> Comparison:
    """Compare runs with the first one, on the images that all of them have.

    Raises UserError where units, landmarks or an image's truth differ, or no two images are common to all.
    """
    first = runs[0]
    _refuse_other_kinds(runs)
    images = tuple(image for image in first.images if all(image in run.images for run in runs))
    if len(images) < 2:
        shown = "; ".join(f"{run.name}: {', '.join(run.images[:3])}, ..." for run in runs)
        raise UserError(f"ldx compare: images in all runs: {len(images)}, expected 2 or more ({shown})")
    landmarks = first.tables[0].landmark_names
    _refuse_other_truth(runs, images, landmarks)
    errors = {run.name: run.errors(images, landmarks) for run in runs}
    kept = ~np.isnan(errors[first.name]).all((0, 2))
    errors = {name: values[:, kept] for name, values in errors.items()}
    unit = first.tables[0].unit
    figures = [
        _figure(figure, name, values, errors[first.name] if name != first.name else None, view)
        for figure, view in _views(unit, radii).items()
        for name, values in errors.items()
    ]
    left = {run.name: tuple(image for image in run.images if image not in images) for run in runs}
    return Comparison(unit, tuple(np.array(images)[kept]), len(landmarks), left, tuple(figures))


View = Callable[[np.ndarray], np.ndarray] | None


def _views(unit: Unit, radii: Sequence[float]) -> dict[str, View]:
    """Figure -> what it makes of errors: a value each, or None for the median."""

    def share(holds: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda errors: np.where(np.isnan(errors), np.nan, 100.0 * holds(errors))

    hits = {f"< {radius:g}": share(lambda errors, r=radius: within(errors, r)) for radius in radii}  # type: ignore[misc]
    far: dict[str, View] = {f"> {FAR_MM:g}": share(lambda errors: errors > FAR_MM)} if unit == "mm" else {}
    return {"MRE": lambda errors: errors, "median": None, **hits, **far}


def _figure(figure: str, name: str, errors: np.ndarray, first: np.ndarray | None, view: View) -> Figure:
    if view is None:
        medians = np.nanmedian(errors, (1, 2))
        return Figure(figure, name, None, float(medians.mean()))
    values = view(errors)
    difference = None if first is None else paired_difference(values, view(first))
    return Figure(figure, name, bootstrap_interval(values), None, difference)


def _refuse_other_kinds(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = first.tables[0], run.tables[0]
        if theirs.unit != ours.unit:
            raise UserError(
                f"ldx compare: {run.files[0]} is in {unit_words(theirs.unit)}, {first.files[0]} in "
                f"{unit_words(ours.unit)}; runs of one unit can be compared"
            )
        if other := sorted({*theirs.landmark_names} ^ {*ours.landmark_names}):
            raise UserError(
                f"ldx compare: {run.files[0]} and {first.files[0]} have other landmarks: only one of them has "
                f"{', '.join(other[:5])}{', ...' if len(other) > 5 else ''}"
            )


def _refuse_other_truth(runs: Sequence[Run], images: Sequence[str], landmarks: Sequence[str]) -> None:
    ours = runs[0].truth(images, landmarks)
    for run in runs[1:]:
        theirs = run.truth(images, landmarks)
        other = ~np.isclose(theirs, ours, rtol=0, atol=SAME_PX, equal_nan=True).all((1, 2))
        if other.any():
            raise UserError(
                f"ldx compare: {int(other.sum())} of {len(images)} images have another truth in {run.files[0]} than in "
                f"{runs[0].files[0]}, the first is {images[int(other.argmax())]}; test both on the same labels"
            )


def _ordered(table: PredictionTable, images: Sequence[str], landmarks: Sequence[str], values: np.ndarray) -> np.ndarray:
    rows = {image: row for row, image in enumerate(table.image_ids)}
    columns = {name: column for column, name in enumerate(table.landmark_names)}
    return values[np.ix_([rows[image] for image in images], [columns[name] for name in landmarks])]

"""Prediction: what a method found in one image, in original pixels, and the table that is written from it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.metrics.functional import MetricError

LengthUnit = Literal["mm", "px256"]
Unit = Literal["mm", "px", "px256"]
UNIT_WORDS: dict[str, str] = {"px256": "px of 256x256"}
"""What people read instead of the unit's name in files, where that is not plain: pixels of the 256x256 grid."""
COLUMNS = ("image_id", "landmark", "x", "y", "x_true", "y_true", "error", "unit")
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Prediction:
    """The landmarks of one image beside its annotations.

    Args:
        image_id: unique within the dataset.
        index: the sample's place in its dataset.
        points: (N, 2) predicted original pixels (x, y).
        annotations: (A, N, 2) original pixels; NaN where an annotator left a landmark out.
        spacing: ``length_unit`` per original pixel (x, y), or None where it is not known.
        covariance: (N, 2, 2) spread of the prediction in squared original pixels, where the method gives one.
        length_unit: "mm", or "px256": pixels of the image stretched to 256x256, where no mm is known.
        image_size: (W, H) of the original image; protocols that measure on another grid need it.
    """

    image_id: str
    index: int
    points: np.ndarray
    annotations: np.ndarray
    spacing: tuple[float, float] | None = None
    covariance: np.ndarray | None = None
    length_unit: LengthUnit = "mm"
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.points = np.asarray(self.points, dtype=np.float64)
        self.annotations = np.asarray(self.annotations, dtype=np.float64)
        if self.points.ndim != 2 or self.points.shape[1] != 2 or self.annotations.shape[1:] != self.points.shape:
            raise MetricError(
                f"{self.image_id}: found points {self.points.shape} and annotations {self.annotations.shape}, "
                "expected (N, 2) and (A, N, 2)"
            )
        if self.length_unit not in ("mm", "px256"):
            raise MetricError(f"{self.image_id}: found length_unit {self.length_unit!r}, expected 'mm' or 'px256'")

    @property
    def truth(self) -> np.ndarray:
        """Mean of the annotators, (N, 2) original pixels; NaN only where no annotator marked the point."""
        return mean_of_annotators(self.annotations)

    @property
    def unit(self) -> Unit:
        """``length_unit`` where the spacing is known, else "px"."""
        return "px" if self.spacing is None else self.length_unit


def unit_words(unit: str) -> str:
    """Say a unit as people read it: "mm", "px", "px of 256x256"."""
    return UNIT_WORDS.get(unit, unit)


def errors(prediction: Prediction, unit: Unit | None = None, truth: np.ndarray | None = None) -> np.ndarray:
    """Measure a prediction's radial errors, (N,) float64, NaN where there is no truth.

    ``unit`` None takes the unit of the spacing where that is known, else original pixels; ``truth`` (N, 2) is the
    annotators' mean unless given. Raises MetricError on "mm" or "px256" without a spacing in it, and on a point that
    is not finite although its truth is known.
    """
    unit = prediction.unit if unit is None else unit
    if unit not in ("px", prediction.unit):
        raise MetricError(
            f"{prediction.image_id}: an error in {unit} needs the spacing in {unit}, which is not known; use unit "
            f"{prediction.unit!r}"
        )
    truth = prediction.truth if truth is None else truth
    check_finite(prediction, truth)
    scale = np.ones(2) if unit == "px" else np.asarray(prediction.spacing, dtype=np.float64)
    return np.linalg.norm((prediction.points - truth) * scale, axis=-1)


def check_finite(prediction: Prediction, truth: np.ndarray) -> None:
    """Raise MetricError where a predicted point is not finite although its truth (N, 2) is known."""
    faulty = ~np.isnan(truth).any(-1) & ~np.isfinite(prediction.points).all(-1)
    if faulty.any():
        raise MetricError(
            f"{prediction.image_id}: predicted point {int(faulty.argmax())} is "
            f"{prediction.points[faulty.argmax()].tolist()}, expected finite pixels"
        )


def in_dataset_order(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Sort predictions by their index and keep the first of each: several processes give them interleaved, padded."""
    first: dict[int, Prediction] = {}
    for prediction in predictions:
        first.setdefault(prediction.index, prediction)
    return [first[index] for index in sorted(first)]


def write_predictions_csv(
    path: str | Path, predictions: Sequence[Prediction], landmark_names: Sequence[str], unit: Unit | None = None
) -> None:
    """Write one row for each landmark of each image, in dataset order, each image once; whole or not at all.

    Points are original pixels with six decimals, ``error`` is in ``unit`` (None: the record's own);
    truth and error are empty where no annotator marked the landmark. Names that a spreadsheet would run as formulas
    get an apostrophe in front, which :func:`read_predictions_csv` takes away.
    """
    lines = [",".join(COLUMNS)]
    for prediction in in_dataset_order(predictions):
        if len(prediction.points) != len(landmark_names):
            raise MetricError(
                f"{prediction.image_id}: found {len(prediction.points)} points for {len(landmark_names)} landmark names"
            )
        used = prediction.unit if unit is None else unit
        values = np.column_stack([prediction.points, prediction.truth, errors(prediction, used)])
        for name, row in zip(landmark_names, values, strict=True):
            lines.append(",".join([text_cell(prediction.image_id), text_cell(name), *map(number_cell, row), used]))
    atomic_write_text(path, "\n".join(lines) + "\n")


@dataclass(frozen=True)
class PredictionTable:
    """What predictions.csv holds: I images in file order, N landmarks; points and truth in original pixels."""

    image_ids: tuple[str, ...]
    landmark_names: tuple[str, ...]
    points: np.ndarray  # (I, N, 2)
    truth: np.ndarray  # (I, N, 2), NaN where unknown
    errors: np.ndarray  # (I, N) in unit, NaN where unknown
    unit: Unit


def read_predictions_csv(path: str | Path) -> PredictionTable:
    """Read what :func:`write_predictions_csv` wrote; raises DataError with file and line on anything else."""
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file; `ldx test` writes predictions.csv into the run folder", path)
    cells: dict[str, dict[str, np.ndarray]] = {}
    units: set[str] = set()
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise DataError(f"found the columns {','.join(header)}, expected {','.join(COLUMNS)}", path, 1)
        for row in reader:
            image, name, values, unit = _parse(row, path, reader.line_num)
            landmarks = cells.setdefault(image, {})
            if name in landmarks:
                raise DataError(f"a second row for landmark {name!r} of image {image!r}", path, reader.line_num)
            landmarks[name] = values
            units.add(unit)
    return _table(cells, units, path)


def _table(cells: dict[str, dict[str, np.ndarray]], units: set[str], path: Path) -> PredictionTable:
    if len(units) != 1:
        raise DataError(f"found the units {sorted(units)}, expected rows of one unit, mm, px or px256", path)
    names = tuple(next(iter(cells.values())))
    for image, landmarks in cells.items():
        if set(landmarks) != set(names):
            raise DataError(f"image {image!r} has {len(landmarks)} landmarks that are not the first image's", path)
    values = np.array([[landmarks[name] for name in names] for landmarks in cells.values()])
    unit = cast(Unit, units.pop())
    return PredictionTable(tuple(cells), names, values[..., :2], values[..., 2:4], values[..., 4], unit)


def _parse(row: list[str], path: Path, line: int) -> tuple[str, str, np.ndarray, str]:
    if len(row) != len(COLUMNS):
        raise DataError(f"found {len(row)} cells, expected {len(COLUMNS)}", path, line)
    image, name, *numbers, unit = row
    if unit not in get_args(Unit):
        raise DataError(f"found the unit {unit!r}, expected {' or '.join(get_args(Unit))}", path, line)
    try:
        values = np.array([float(cell) if cell else np.nan for cell in numbers])
    except ValueError as error:
        raise DataError(f"found {','.join(numbers)}, expected numbers ({error})", path, line) from None
    return _unescape(image), _unescape(name), values, unit


def number_cell(value: float) -> str:
    """Write a number for a table: six decimals, empty for NaN."""
    return "" if np.isnan(value) else f"{value:.6f}"


def spreadsheet_safe(text: str) -> str:
    """Put an apostrophe in front of a text that a spreadsheet would run as a formula.

    A text that itself begins with an apostrophe gets one too, so that reading can always take one away.
    """
    return "'" + text if text.startswith((*RUN_BY_SPREADSHEETS, "'")) else text


def text_cell(text: str) -> str:
    """Write a text as one cell of a table. (csv.writer leaves a lone carriage return unquoted.)"""
    safe = spreadsheet_safe(text)
    return '"' + safe.replace('"', '""') + '"' if any(mark in safe for mark in ',"\r\n') else safe


def _unescape(text: str) -> str:
    return text[1:] if text.startswith("'") else text

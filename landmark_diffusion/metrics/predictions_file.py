"""predictions.csv: one variant's points beside the truth, written and read again."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from landmark_diffusion.core.cells import unescape, write_csv
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.metrics.evaluation import Evaluation
from landmark_diffusion.metrics.records import Unit

COLUMNS = ("image_id", "landmark", "x", "y", "x_true", "y_true", "error", "unit")


def write_predictions_csv(path: str | Path, evaluation: Evaluation, variant: str | None = None) -> None:
    """Write one row for each landmark of each image, in dataset order; whole or not at all.

    ``variant`` None is the main one. Points are original pixels with six decimals, ``error`` is to the mean of the
    annotators in the unit that was asked for, else in that of the image's spacing; truth and error are empty where no
    annotator marked the landmark. Names that a spreadsheet would run as formulas get an apostrophe in front, which
    :func:`read_predictions_csv` takes away.
    """
    points = evaluation.points[variant or evaluation.main]
    asked = evaluation.protocol.unit
    scale = evaluation.spacing if asked is None else evaluation.scale
    units = evaluation.units if asked is None else [asked] * len(points)
    errors = np.linalg.norm((points - evaluation.truth) * scale[:, None], axis=-1)
    table = np.concatenate([points, evaluation.truth, errors[..., None]], axis=-1)
    lines = (
        (image, name, *row.tolist(), unit)
        for image, rows, unit in zip(evaluation.image_ids, table, units, strict=True)
        for name, row in zip(evaluation.landmark_names, rows, strict=True)
    )
    write_csv(path, [COLUMNS, *lines])


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
    return unescape(image), unescape(name), values, unit

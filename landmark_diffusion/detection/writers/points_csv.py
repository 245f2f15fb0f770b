"""points.csv: one row for each landmark of each image, for spreadsheets and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from landmark_diffusion.core.files import atomic_write_text, writing
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.base import Writer
from landmark_diffusion.metrics.records import number_cell, text_cell

FILE_NAME = "points.csv"
COLUMNS = (
    "image", "landmark", "x", "y", "x_mm", "y_mm", "spacing_source", "region_level", "region_semi_major",
    "region_semi_minor", "region_angle", "region_area_mm2", "expected_error_mm", "expected_error_px", "image_score",
    "unlike", "unlike_reason", "name",
)  # fmt: skip


class PointsCsvWriter(Writer):
    """Write ``points.csv`` of all images when it is closed."""

    name = "csv"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.detections: list[Detection] = []

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the one table."""
        return [self.folder / FILE_NAME]

    def add(self, detection: Detection) -> None:
        """Keep the detection, without its picture, until the end."""
        self.detections.append(replace(detection, pixels=None))

    def close(self) -> list[Path]:
        """Write the table and return it; nothing where no image was added. Raises UserError where it cannot."""
        return [write_points_csv(self.folder / FILE_NAME, self.detections)] if self.detections else []


def write_points_csv(path: str | Path, detections: Sequence[Detection]) -> Path:
    """Write one row for each landmark of each image, in the order given, whole or not at all; returns the path.

    ``x`` and ``y``, the semi-axes and ``expected_error_px`` are in original pixels, the angle in degrees from the x
    axis towards the y axis (down); numbers have six decimals and are empty where unknown. A text that a spreadsheet
    would run as a formula gets an apostrophe in front. Raises UserError where the file cannot be written.
    """
    lines = [",".join(COLUMNS)]
    for detection in detections:
        lines.extend(",".join(row) for row in _rows(detection))
    text = "\n".join(lines) + "\n"
    with writing(path):  # a file's name may be no valid Unicode
        atomic_write_text(path, text.encode("utf-8", "backslashreplace").decode())
    return Path(path)


def _rows(detection: Detection) -> Iterator[list[str]]:
    count = len(detection.landmark_names)

    def known(value: np.ndarray | None, width: int = 1) -> np.ndarray:
        return np.full((count, width), np.nan) if value is None else value.reshape(count, width)

    points = np.hstack([detection.points, known(detection.points_mm, 2)])
    spread = np.hstack(
        [
            known(detection.ellipses(), 3),
            known(detection.areas_mm2()),
            known(detection.expected_error_mm),
            known(detection.expected_error),
        ]
    )
    source = text_cell(detection.spacing_source)
    level, score = (_cell(value) for value in (detection.level, detection.image_score))
    unlike = "" if detection.unlike is None else str(detection.unlike).lower()
    last = [unlike, text_cell(detection.unlike_reason), text_cell(detection.name)]
    for name, point, sizes in zip(detection.landmark_names, points, spread, strict=True):
        places = [number_cell(value) for value in point]
        yield [
            text_cell(detection.path), text_cell(name), *places, source, level, *map(number_cell, sizes), score, *last
        ]  # fmt: skip


def _cell(value: float | None) -> str:
    return "" if value is None else number_cell(value)

"""points.csv: one row for each landmark of each image, for spreadsheets and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from landmark_diffusion.core.cells import write_csv
from landmark_diffusion.core.files import writing
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import OneFile

FILE_NAME = "points.csv"
COLUMNS = (
    "image", "landmark", "x", "y", "x_mm", "y_mm", "spacing_source", "region_level", "region_semi_major",
    "region_semi_minor", "region_angle", "region_area_mm2", "expected_error_mm", "expected_error_px", "image_score",
    "unlike", "unlike_reason", "name", "orientation", "orientation_probability", "outside_probability",
    "far_probability", "doubtful",
)  # fmt: skip


class PointsCsvWriter(OneFile):
    """Write ``points.csv`` of all images when it is closed."""

    name, file_name = "csv", FILE_NAME

    @classmethod
    def record(cls, detection: Detection) -> Detection:
        """Keep the detection without its picture."""
        return replace(detection, pixels=None)

    @classmethod
    def write(cls, path: Path, records: Sequence[Detection]) -> None:
        """Write the table."""
        write_points_csv(path, records)


def write_points_csv(path: str | Path, detections: Sequence[Detection]) -> Path:
    """Write one row for each landmark of each image, in the order given, whole or not at all; returns the path.

    ``x`` and ``y``, the semi-axes and ``expected_error_px`` are in original pixels, the angle in degrees from the x
    axis towards the y axis (down); numbers have six decimals and are empty where unknown. A text that a spreadsheet
    would run as a formula gets an apostrophe in front. Raises UserError where the file cannot be written.
    """
    with writing(path):
        return write_csv(path, [COLUMNS, *(row for detection in detections for row in _rows(detection))])


def _rows(detection: Detection) -> Iterator[list[str | float | None]]:
    numbers = detection.numbers()
    unlike = _truth(detection.unlike)
    outside, far, doubtful = detection.outside, detection.far, detection.doubtful
    file, level = _valid(detection.path), detection.level
    for index, name in enumerate(detection.landmark_names):
        x, y, x_mm, y_mm, *spread = (float(values[index]) for values in numbers.values())
        yield [
            file, _valid(name), x, y, x_mm, y_mm, detection.spacing_source, level, *spread, detection.image_score,
            unlike, detection.unlike_reason, _valid(detection.name), detection.orientation,
            detection.orientation_probability, None if outside is None else float(outside[index]),
            None if far is None else float(far[index]), _truth(None if doubtful is None else bool(doubtful[index])),
        ]  # fmt: skip


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _valid(text: str) -> str:
    """The text as it can be stored: a file's name may be no valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()

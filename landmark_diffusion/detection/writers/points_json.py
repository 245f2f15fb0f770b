"""points.json: everything that was found but the pictures, for programs; and back.

The format is described by the JSON Schema in ``detection/schema/points.schema.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text, writing
from landmark_diffusion.core.plain import plain
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import OneFile
from landmark_diffusion.detection.writers.points_json_reader import FORMAT_VERSION, SCHEMA, read_points_json

__all__ = ["FILE_NAME", "PointsJsonWriter", "points_schema", "read_points_json"]

FILE_NAME = "points.json"
IMAGE_FIELDS = (
    "name", "path", "size", "spacing", "spacing_source", "level", "image_score", "unlike", "unlike_reason",
    "orientation", "orientation_probability", "notes", "settings",
)  # fmt: skip


def points_schema() -> dict[str, Any]:
    """Load the published JSON Schema (draft 2020-12) of points.json."""
    text = files("landmark_diffusion.detection").joinpath("schema", "points.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


class PointsJsonWriter(OneFile):
    """Write ``points.json`` of all images when it is closed."""

    name, file_name = "json", FILE_NAME

    @classmethod
    def record(cls, detection: Detection) -> tuple[str, str]:
        """Keep the model's name, and the detection as text."""
        return detection.model, _image_text(detection)

    def add(self, detection: Detection) -> None:
        """Keep the detection until the end; raises UserError where another model made it than the first."""
        if self.records and detection.model != self.records[0][0]:
            raise UserError(
                f"{detection.path}: found by the model {detection.model!r}, the images before by "
                f"{self.records[0][0]!r}; {FILE_NAME} holds what one model found: write another file for the other one"
            )
        super().add(detection)

    @classmethod
    def write(cls, path: Path, records: Sequence[tuple[str, str]]) -> None:
        """Write the file."""
        from landmark_diffusion.core.version import version

        head = {
            "schema": SCHEMA, "format_version": FORMAT_VERSION, "package_version": version(), "model": records[0][0]
        }  # fmt: skip
        fields = [f"{_dump(key)}: {_dump(value)}" for key, value in head.items()]
        fields.append('"images": [' + ",".join("\n" + image for _, image in records) + "\n]")
        with writing(path):
            atomic_write_text(path, "{\n" + ",\n".join(fields) + "\n}\n")


def _image_text(detection: Detection) -> str:
    """One image as JSON, a line for each landmark: short for programs, and still legible for people."""
    image = {name: getattr(detection, name) for name in IMAGE_FIELDS}
    for name in ("unlike_reason", "orientation"):
        image[name] = image[name] or None
    fields = [f"  {_dump(key)}: {_dump(value)}" for key, value in image.items()]
    lines = ",".join("\n   " + _dump(landmark) for landmark in _landmarks(detection))
    fields.append('  "landmarks": [' + lines + ("\n  ]" if lines else "]"))
    return " {\n" + ",\n".join(fields) + "\n }"


def _landmarks(found: Detection) -> list[dict[str, Any]]:
    columns = {
        "point_px": found.points, "point_mm": found.points_mm, "covariance_px2": found.covariance,
        "region_px2": found.regions, "ellipse_px": found.ellipses(), "ellipse_mm": found.ellipses_mm(),
        "region_area_mm2": found.areas_mm2(), "expected_error_px": found.expected_error,
        "expected_error_mm": found.expected_error_mm, "outside_probability": found.outside,
        "far_probability": found.far, "doubtful": found.doubtful,
    }  # fmt: skip
    landmarks = []
    for index, name in enumerate(found.landmark_names):
        values = {key: _known(column, index) for key, column in columns.items()}
        for key in ("ellipse_px", "ellipse_mm"):
            if values[key] is not None:
                values[key] = dict(zip(("semi_major", "semi_minor", "angle"), values[key], strict=True))
        landmarks.append({"name": name, **values})
    return landmarks


def _known(column: np.ndarray | None, index: int) -> Any:
    """A landmark's value as plain numbers; None where any of it is not a number, since half a point is none."""
    return None if column is None or not np.isfinite(column[index]).all() else column[index].tolist()


def _dump(value: Any) -> str:
    """JSON in ASCII: the name of a file need not be valid Unicode, and has to come back as it was."""
    return json.dumps(plain(value), allow_nan=False)

"""All detections of one call in one HTML page that needs no network: a gallery, a viewer and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.detection.detection import DOUBTFUL, Detection
from landmark_diffusion.detection.writer import Writer
from landmark_diffusion.pictures.page import Page, number

TITLE = "Detected landmarks"
WARN_FACTOR = 2.0
"""The page warns from this many times the median expected error of all its landmarks, until the reader changes it."""
PAGE_COLUMNS = (
    "x", "y", "x_mm", "y_mm", "error_px", "error_mm", "area_px2", "area_mm2", "longer", "shorter", "angle",
)  # fmt: skip
"""What page.js reads of each landmark."""


class HtmlWriter(Writer):
    """Write ``detections.html``; until then each image's JPEGs and numbers are in an unnamed file of that folder."""

    name = "html"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._page = Page(self.targets(())[0], "detections")
        self._head: dict[str, Any] = {}
        self._errors: dict[str, list[float | None]] = {"mm": [], "px": []}
        self._unit = "mm"

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the page."""
        return [self.folder / "detections.html"]

    def add(self, detection: Detection) -> None:
        """Keep one image's numbers and its pictures as JPEG; raises WriteError where that cannot be done."""
        if not len(self._page):
            settings = [[str(key), str(value)] for key, value in detection.settings.items() if value is not None]
            self._head = {"model": detection.model, "settings": settings}
        record = image_record(detection)
        self._page.add(record, detection.pixels)
        self._unit = "px" if detection.spacing is None else self._unit
        for unit, errors in self._errors.items():
            errors += [each[f"error_{unit}"] for each in record["landmarks"]]

    def close(self) -> list[Path]:
        """Write the page and return it, nothing without images; raises WriteError where it cannot be written."""
        return [self._page.write(TITLE, {**self._head, **self._warning()})] if len(self._page) else []

    def _warning(self) -> dict[str, Any]:
        """The unit in which images are compared, mm where each has a spacing, and the error from which it warns."""
        known = [error for error in self._errors[self._unit] if error is not None]
        threshold = float(f"{WARN_FACTOR * float(np.median(known)):.2g}") if known else None
        return {"kind": "detections", "unit": self._unit, "error": f"error_{self._unit}", "threshold": threshold}

    @classmethod
    def save(cls, path: Path, detection: Detection) -> None:
        """Write one detection as ``path``; raises WriteError where that cannot be done."""
        writer = cls(path.parent)
        writer._page.path = path
        writer.add(detection)
        writer.close()


def _orientation_words(detection: Detection) -> str:
    """How the image lies in its file, with its probability; empty where nobody looked."""
    share = detection.orientation_probability
    return "" if share is None else f"{detection.orientation} (p = {share:.3g})"


def _marks(detection: Detection, index: int) -> dict[str, Any]:
    """What is known of a landmark beside its place: a word to show, and the probabilities that go with it."""
    outside, far = detection.outside, detection.far
    return {
        "mark": detection.marks[index],
        "doubtful": detection.marks[index] == DOUBTFUL,
        "outside": None if outside is None else number(outside[index]),
        "far": None if far is None else number(far[index]),
    }


def image_record(detection: Detection) -> dict[str, Any]:
    """Turn a detection into what page.js reads: numbers in original pixels (and mm), null where not known."""
    shown = detection.without_absent()
    columns = shown.numbers()
    columns["area_px2"] = np.pi * columns["longer"] * columns["shorter"]
    return {
        "name": detection.name,
        "path": detection.path,
        "size": [int(side) for side in detection.size],
        "spacing": None if detection.spacing is None else [float(each) for each in detection.spacing],
        "spacing_source": detection.spacing_source,
        "level": detection.level,
        "score": None if detection.image_score is None else float(detection.image_score),
        "unlike": bool(detection.unlike),
        "unlike_words": detection.unlike_words if detection.unlike else "",
        "unlike_reason": detection.unlike_reason,
        "orientation": _orientation_words(detection),
        "notes": list(detection.notes),
        "landmarks": [
            {"name": name, **{key: number(columns[key][index]) for key in PAGE_COLUMNS}, **_marks(shown, index)}
            for index, name in enumerate(detection.landmark_names)
        ],
    }

"""All detections of one call in one HTML page that needs no network: a gallery, a viewer and a table."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.files import atomic_path, writing
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.base import Writer
from landmark_diffusion.detection.writers.overlay import RESEARCH_ONLY

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE, PICTURE_QUALITY = 1100, 80
"""Longest side in pixels of the picture in the viewer, and its JPEG quality: about 90 kB for a cephalogram."""
THUMBNAIL, THUMBNAIL_QUALITY = 220, 70
WARN_FACTOR = 2.0
"""The page warns from this many times the median expected error of all its landmarks, until the reader changes it."""

_PARTS = ("page.html", "page.css", "page.js", "page_viewer.js", "page_table.js", "page_actions.js")
_PICTURES = "<!-- pictures -->"


class HtmlWriter(Writer):
    """Write ``detections.html``; of each image only its JPEGs and numbers are kept until then."""

    name = "html"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._head: dict[str, Any] = {}
        self._images: list[dict[str, Any]] = []
        self._pictures: list[str] = []

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the page."""
        return [self.folder / "detections.html"]

    def add(self, detection: Detection) -> None:
        """Keep one image's numbers and its pictures as JPEG."""
        if not self._images:
            settings = [[str(key), str(value)] for key, value in detection.settings.items() if value is not None]
            self._head = {"model": detection.model, "settings": settings}
        picture, thumbnail = ("", "") if detection.pixels is None else _jpegs(detection.pixels)
        self._images.append({**image_record(detection), "thumbnail": thumbnail})
        self._pictures.append(picture)

    def close(self) -> list[Path]:
        """Write the page and return it, nothing without images; raises UserError where it cannot be written."""
        if not self._images:
            return []
        (path,) = self.targets(())
        data = {**self._head, **_warning(self._images), "images": self._images}
        with (
            writing(path),
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as file,
        ):
            file.writelines(_page(data, self._pictures))
        return [path]


def image_record(detection: Detection) -> dict[str, Any]:
    """Turn a detection into what page.js reads: numbers in original pixels (and mm), null where not known."""
    count = len(detection.landmark_names)
    points_mm, errors_mm, areas_mm2 = detection.points_mm, detection.expected_error_mm, detection.areas_mm2()
    ellipses = _or_nan(detection.ellipses(), (count, 3))
    columns = {
        "x": detection.points[:, 0],
        "y": detection.points[:, 1],
        "x_mm": _or_nan(points_mm, (count, 2))[:, 0],
        "y_mm": _or_nan(points_mm, (count, 2))[:, 1],
        "error_px": _or_nan(detection.expected_error, (count,)),
        "error_mm": _or_nan(errors_mm, (count,)),
        "area_px2": np.pi * ellipses[:, 0] * ellipses[:, 1],
        "area_mm2": _or_nan(areas_mm2, (count,)),
        "longer": ellipses[:, 0],
        "shorter": ellipses[:, 1],
        "angle": ellipses[:, 2],
    }
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
        "notes": list(detection.notes),
        "landmarks": [
            {"name": name, **{key: _number(values[index]) for key, values in columns.items()}}
            for index, name in enumerate(detection.landmark_names)
        ],
    }


def _warning(images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The unit in which images are compared, mm where each has a spacing, and the error from which the page warns."""
    unit = "px" if any(image["spacing"] is None for image in images) else "mm"
    errors = [each[f"error_{unit}"] for image in images for each in image["landmarks"]]
    known = [error for error in errors if error is not None]
    threshold = float(f"{WARN_FACTOR * float(np.median(known)):.2g}") if known else None
    return {"unit": unit, "threshold": threshold}


def _page(data: Mapping[str, Any], pictures: Sequence[str]) -> Iterable[str]:
    """The page in pieces; the pictures come last, so that the gallery stands before they are read."""
    folder = files("landmark_diffusion.detection.writers")
    template, style, *scripts = (folder.joinpath(name).read_text("utf-8") for name in _PARTS)
    before, after = template.split(_PICTURES)
    yield Template(before).substitute(
        style=style, script="".join(scripts), research_only=RESEARCH_ONLY, data=script_json(data)
    )
    for index, picture in enumerate(pictures):
        yield f'<script type="text/plain" id="picture-{index}">{picture}</script>\n'
    yield after


def script_json(value: Any) -> str:
    """Write JSON that is safe within a script element: ASCII, and no character that could end the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _jpegs(pixels: np.ndarray) -> tuple[str, str]:
    """Encode (H, W) uint8 as picture and thumbnail, each a JPEG in base64."""
    from PIL.Image import fromarray

    picture = _shrunk(fromarray(pixels), PICTURE)
    return _base64(picture, PICTURE_QUALITY), _base64(_shrunk(picture, THUMBNAIL), THUMBNAIL_QUALITY)


def _shrunk(image: Image, longest: int) -> Image:
    """Shrink an image to at most ``longest`` pixels a side; a smaller one stays as it is."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, reducing_gap=2.0)  # bicubic; the gap saves time where much is to be shrunk


def _base64(image: Image, quality: int) -> str:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _or_nan(values: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan) if values is None else values


def _number(value: float) -> float | None:
    """A number with as many digits as matter, 0.001 px; null for what is not a finite number."""
    return round(float(value), 3) if math.isfinite(value) else None

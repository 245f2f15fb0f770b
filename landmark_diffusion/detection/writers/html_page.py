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
from landmark_diffusion.core.texts import RESEARCH_ONLY
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import OneFile

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE, PICTURE_QUALITY = 1100, 80
"""Longest side in pixels of the picture in the viewer, and its JPEG quality: about 90 kB for a cephalogram."""
THUMBNAIL, THUMBNAIL_QUALITY = 220, 70
WARN_FACTOR = 2.0
"""The page warns from this many times the median expected error of all its landmarks, until the reader changes it."""

PAGE_COLUMNS = (
    "x", "y", "x_mm", "y_mm", "error_px", "error_mm", "area_px2", "area_mm2", "longer", "shorter", "angle",
)  # fmt: skip
"""What page.js reads of each landmark."""

_PARTS = ("page.html", "page.css", "page.js", "page_viewer.js", "page_table.js", "page_actions.js")
_PICTURES = "<!-- pictures -->"


class HtmlWriter(OneFile):
    """Write ``detections.html``; of each image only its JPEGs and numbers are kept until then."""

    name, file_name = "html", "detections.html"

    @classmethod
    def record(cls, detection: Detection) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Keep the page's head, the image's numbers with its thumbnail, and its picture as JPEG."""
        settings = [[str(key), str(value)] for key, value in detection.settings.items() if value is not None]
        picture, thumbnail = ("", "") if detection.pixels is None else _jpegs(detection.pixels)
        head = {"model": detection.model, "settings": settings}
        return head, {**image_record(detection), "thumbnail": thumbnail}, picture

    @classmethod
    def write(cls, path: Path, records: Sequence[tuple[dict[str, Any], dict[str, Any], str]]) -> None:
        """Write the page, its head as the first image has it."""
        heads, images, pictures = zip(*records, strict=True)
        data = {**heads[0], **_warning(images), "images": images}
        with (
            writing(path),
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as file,
        ):
            file.writelines(_page(data, pictures))


def image_record(detection: Detection) -> dict[str, Any]:
    """Turn a detection into what page.js reads: numbers in original pixels (and mm), null where not known."""
    columns = detection.numbers()
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
        "notes": list(detection.notes),
        "landmarks": [
            {"name": name, **{key: _number(columns[key][index]) for key in PAGE_COLUMNS}}
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


def _number(value: float) -> float | None:
    """A number with as many digits as matter, 0.001 px; null for what is not a finite number."""
    return round(float(value), 3) if math.isfinite(value) else None

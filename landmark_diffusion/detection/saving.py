"""Save one detection to a file whose suffix says the form."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from landmark_diffusion.core.errors import UserError

if TYPE_CHECKING:
    from landmark_diffusion.detection.detection import Detection


def save_detection(detection: Detection, path: str | Path, overwrite: bool = False) -> Path:
    """Write a detection as .csv, .json, .mrk.json (3D Slicer, with the image as .nrrd beside it), .png or .html.

    Returns the path. Raises UserError for another suffix, where a file is already (unless ``overwrite``), and where it
    cannot be written.
    """
    path = Path(path)
    suffix = next((each for each in SAVERS if path.name.lower().endswith(each)), None)
    if suffix is None:
        raise UserError(f"{path}: found the suffix {path.suffix!r}, expected one of {', '.join(SAVERS)}")
    for target in _targets(path, suffix):
        if target.is_dir() or (target.exists() and not overwrite):
            raise UserError(f"{target} exists already and was left as it is; give another name, or overwrite=True")
    SAVERS[suffix](path, detection)
    return path


def _targets(path: Path, suffix: str) -> list[Path]:
    if suffix != ".mrk.json":
        return [path]
    from landmark_diffusion.detection.writers.slicer import image_beside

    return [path, image_beside(path)]


def _save_csv(path: Path, detection: Detection) -> None:
    from landmark_diffusion.detection.writers.points_csv import write_points_csv

    write_points_csv(path, [detection])


def _save_json(path: Path, detection: Detection) -> None:
    from landmark_diffusion.detection.writers.points_json import write_points_json

    write_points_json(path, detection)


def _save_markups(path: Path, detection: Detection) -> None:
    from landmark_diffusion.detection.writers.slicer import write_slicer

    write_slicer(path, detection)


def _save_overlay(path: Path, detection: Detection) -> None:
    from landmark_diffusion.detection.writers.overlay import overlay_picture

    overlay_picture(path, detection)


def _save_page(path: Path, detection: Detection) -> None:
    from landmark_diffusion.core.files import writing
    from landmark_diffusion.detection.writers.html_page import HtmlWriter

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".tmp-") as folder:  # the writer names its page itself
            writer = HtmlWriter(Path(folder))
            writer.add(detection)
            os.replace(writer.close()[0], path)


SAVERS: dict[str, Callable[[Path, Detection], None]] = {
    ".csv": _save_csv,
    ".mrk.json": _save_markups,
    ".json": _save_json,
    ".png": _save_overlay,
    ".html": _save_page,
}
"""The suffixes, longer ones before those that they end in."""

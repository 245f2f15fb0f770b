"""The forms that detections are written in, by name (``ldx detect --to``) and by suffix (``Detection.save``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import Registry

_HERE = "landmark_diffusion.detection.writers"

WRITERS = Registry(
    what="output",
    option="--to",
    group="landmark_diffusion.writers",
    base="landmark_diffusion.detection.writer:Writer",
    built_in={
        "csv": f"{_HERE}.points_csv:PointsCsvWriter",
        "json": f"{_HERE}.points_json:PointsJsonWriter",
        "overlay": f"{_HERE}.overlay:OverlayWriter",
        "slicer": f"{_HERE}.slicer:SlicerWriter",
        "html": f"{_HERE}.html_page:HtmlWriter",
        "dicom-sr": f"{_HERE}.dicom_sr:DicomSrWriter",
        "coco": f"{_HERE}.labels:CocoWriter",
        "labelme": f"{_HERE}.labels:LabelMeWriter",
        "cvat": f"{_HERE}.labels:CvatWriter",
        "label-studio": f"{_HERE}.labels:LabelStudioWriter",
    },
    extras={"highdicom": "dicom-sr"},
)

SUFFIXES = {".csv": "csv", ".mrk.json": "slicer", ".json": "json", ".png": "overlay", ".html": "html"}
"""The form of a single file by its suffix, longer ones before those that they end in."""


def make_writers(names: Sequence[str], folder: Path) -> list[Any]:
    """Make the writers of these forms (names, or class paths of one's own), each once, for results under ``folder``.

    Raises UserError for a form that does not exist and for one whose extra is not installed.
    """
    return [writer(folder) for writer in dict.fromkeys(map(WRITERS.load, names))]


def save_detection(detection: Any, path: str | Path, overwrite: bool = False) -> Path:
    """Write one detection as .csv, .json, .mrk.json (3D Slicer, with the image as .nrrd beside it), .png or .html.

    Returns the path. Raises UserError for another suffix, where a file is already (unless ``overwrite``), and where it
    cannot be written.
    """
    path = Path(path)
    suffix = next((each for each in SUFFIXES if path.name.lower().endswith(each)), None)
    if suffix is None:
        raise UserError(f"{path}: found the suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    writer = WRITERS.load(SUFFIXES[suffix])
    for target in writer.files_of(path):
        if target.is_dir() or (target.exists() and not overwrite):
            raise UserError(f"{target} exists already and was left as it is; give another name, or overwrite=True")
    writer.save(path, detection)
    return path

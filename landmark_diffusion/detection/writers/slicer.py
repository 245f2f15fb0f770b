"""Points and image for 3D Slicer: Markups (NAME.mrk.json) and beside it the radiograph as volume (NAME.nrrd).

Both are in LPS, Slicer's coordinate system of files: pixel (x, y) with spacing (sx, sy) lies at (x sx, y sy, 0) mm. The
directions are the identity, whatever the patient's position was. Slicer's axial (red) view shows L to the right and P
downwards, so that a radiograph stands there as in any picture viewer; directions of a true sagittal plane would need to
know on which side the face is, and mirror the picture in the view where they are wrong. The letters that Slicer writes
at the edges (L, P) therefore say nothing about the patient.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.files import atomic_path, atomic_write_text, writing
from landmark_diffusion.core.texts import LIMITS
from landmark_diffusion.data.labels.slicer import MARKUPS, VOLUME, ControlPoint, about, document
from landmark_diffusion.data.readers.image_plane import ImagePlane
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import FileAnImage

UNITS_ARE_PIXELS = "no spacing is known: 1 mm stands for 1 pixel"
NOT_FOUND = "not found"


class SlicerWriter(FileAnImage):
    """Write ``slicer/NAME.mrk.json`` and ``slicer/NAME.nrrd`` for each image."""

    name, subfolder, suffix = "slicer", "slicer", MARKUPS

    @classmethod
    def files_of(cls, path: Path) -> list[Path]:
        """List the markups and the image beside them."""
        return [path, image_beside(path)]

    @classmethod
    def save(cls, path: Path, detection: Detection) -> None:
        """Write one detection as ``path``; raises UserError where that cannot be done."""
        write_slicer(path, detection)


def image_beside(path: Path) -> Path:
    """Name the image that belongs to Markups at ``path``, which ends in .mrk.json."""
    return path.with_name(path.name.removesuffix(MARKUPS) + VOLUME)


def write_slicer(path: Path, detection: Detection) -> Path:
    """Write Markups to ``path`` (NAME.mrk.json) and, where the pixels are known, the image beside it; returns the path.

    Without a spacing 1 mm stands for 1 pixel, and both files say so. Raises UserError where a file cannot be written.
    """
    with writing(path):
        if detection.pixels is not None:
            _write_image(image_beside(path), detection.pixels, detection)
        atomic_write_text(path, json.dumps(markups(detection), indent=1, allow_nan=False) + "\n")
    return path


def markups(detection: Detection) -> dict[str, Any]:
    """Describe a detection as Slicer's Markups, schema 1.0.3: one point list, a control point for each landmark."""
    detection = detection.without_absent()
    plane = ImagePlane.of(detection.spacing or (1.0, 1.0))
    points = [
        ControlPoint(name, plane.to_space(point) if np.isfinite(point).all() else None, words)
        for name, point, words in zip(detection.landmark_names, detection.points, _descriptions(detection), strict=True)
    ]
    image = about(detection.path, plane, detection.spacing) if detection.path else None
    return document(detection.name, points, _description(detection), image)


def _descriptions(detection: Detection) -> list[str]:
    """How sure each landmark is, in mm where these are known; Slicer shows it in the table of control points."""
    errors, unit = detection.shown_errors
    axes = detection.ellipses_mm() if unit == "mm" else detection.ellipses()
    words = []
    for index, (point, mark) in enumerate(zip(detection.points, detection.marks, strict=True)):
        parts = [mark] if mark else [] if np.isfinite(point).all() else [NOT_FOUND]
        if errors is not None and np.isfinite(errors[index]):
            parts.append(f"expected error {errors[index]:.2f} {unit}")
        if axes is not None and np.isfinite(axes[index]).all():
            longer, shorter, angle = axes[index]
            parts.append(
                f"{detection.region_words}: semi-axes {longer:.2f} and {shorter:.2f} {unit} at {angle:.0f} degrees"
            )
        words.append("; ".join(parts))
    return words


def _description(detection: Detection) -> str:
    units = UNITS_ARE_PIXELS if detection.spacing is None else f"spacing from {detection.spacing_source}"
    return " ".join([f"{detection.path}: {units}.", *detection.warnings, *detection.notes, LIMITS[0]])


def _write_image(path: Path, pixels: np.ndarray, detection: Detection) -> None:
    """Write (H, W) uint8 as a volume of one slice, with the same coordinates as the Markups."""
    import nrrd

    x, y = detection.spacing or (1.0, 1.0)
    units = f", {UNITS_ARE_PIXELS}" if detection.spacing is None else ""
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([x, y, 1.0]),
        "space origin": np.zeros(3),
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
        "content": f"radiograph {detection.name}{units}".encode("ascii", "replace").decode(),  # a header is ASCII
    }
    volume = np.ascontiguousarray(pixels.T)[..., None]
    with atomic_path(path) as temporary:  # level 1 takes a third of the time of 9, for a file 4 % larger
        nrrd.write(str(temporary), volume, header, index_order="F", compression_level=1)

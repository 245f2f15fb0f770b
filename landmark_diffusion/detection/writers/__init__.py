"""Forms of output of ``ldx detect``: each a Writer of its own, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.core.errors import UserError

if TYPE_CHECKING:
    from landmark_diffusion.detection.writers.base import Writer

WRITERS = {
    "csv": "points_csv:PointsCsvWriter",
    "json": "points_json:PointsJsonWriter",
    "overlay": "overlay:OverlayWriter",
    "slicer": "slicer:SlicerWriter",
    "html": "html_page:HtmlWriter",
    "dicom-sr": "dicom_sr:DicomSrWriter",
}
"""What ``--to`` knows: the module in this folder and its class."""

EXTRAS = {"highdicom": "dicom-sr"}
"""The extra of this package that brings a library which is not always installed."""


def make_writers(names: Sequence[str], folder: Path) -> list[Writer]:
    """Make the writers of these forms, each once, for results under ``folder``.

    Raises UserError for a form that does not exist and for one whose extra is not installed.
    """
    return [_load(name)(folder) for name in dict.fromkeys(names)]


def _load(name: str) -> type[Writer]:
    if name not in WRITERS:
        raise UserError(f"found the output {name!r}, expected one or several of {', '.join(WRITERS)}")
    module, _, class_name = WRITERS[name].partition(":")
    try:
        found: type[Writer] = getattr(import_module(f"{__name__}.{module}"), class_name)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise UserError(
            f"the output {name!r} needs {error.name}, which is not installed: pip install 'landmark_diffusion[{extra}]'"
        ) from error
    return found

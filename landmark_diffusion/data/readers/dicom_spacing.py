"""Where the mm of a DICOM radiograph come from, and reading an element's numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from landmark_diffusion.core.texts import counted

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UNKNOWN_SPACING = "unknown"

_DECIMAL = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")


class Spacing(NamedTuple):
    """Millimetres a pixel (x, y), None where not known, and the element of the file that they come from."""

    value: tuple[float, float] | None
    source: str


def read_spacing(dataset: Dataset, notes: list[str]) -> Spacing:
    """Find the spacing at the patient, or as near to it as the file says; add what the reader has to know to ``notes``.

    DICOM PS3.3 10.7.1: Pixel Spacing is calibrated where a calibration is named or where it differs from Imager Pixel
    Spacing, which holds at the detector and is larger than at the patient by the magnification. Stored as (row spacing,
    column spacing), that is (y, x).
    """
    pixel = _stored_spacing(dataset, "PixelSpacing", notes)
    imager = _stored_spacing(dataset, "ImagerPixelSpacing", notes)
    named = str(dataset.get("PixelSpacingCalibrationType") or "").strip().upper() in ("GEOMETRY", "FIDUCIAL")
    if pixel and (named or (imager and not np.allclose(pixel, imager, rtol=1e-4, atol=0))):
        return Spacing(pixel, "PixelSpacing (calibrated)")
    if imager:
        factor = _positive(dataset, "EstimatedRadiographicMagnificationFactor", 1, notes)
        if factor:
            return Spacing((imager[0] / factor[0], imager[1] / factor[0]), "ImagerPixelSpacing / magnification")
        return Spacing(imager, "ImagerPixelSpacing")
    scanned = _stored_spacing(dataset, "NominalScannedPixelSpacing", notes)
    if scanned:
        return Spacing(scanned, "NominalScannedPixelSpacing")
    if pixel:
        notes.append("The spacing is not calibrated (PixelSpacing without a word on where it holds): mm may be wrong.")
        return Spacing(pixel, "PixelSpacing (uncalibrated)")
    return Spacing(None, UNKNOWN_SPACING)


def _stored_spacing(dataset: Dataset, keyword: str, notes: list[str]) -> tuple[float, float] | None:
    found = _positive(dataset, keyword, 2, notes)
    return (found[1], found[0]) if found else None


def _positive(dataset: Dataset, keyword: str, count: int, notes: list[str]) -> list[float] | None:
    """Read ``count`` positive numbers; None where they are absent, and with a note where they are anything else."""
    found = numbers(dataset, keyword, notes)
    if found is None or (len(found) == count and all(0 < number < np.inf for number in found)):
        return found
    notes.append(f"{keyword} in the file is not {counted(count, 'positive number')}; it was passed over.")
    return None


def numbers(dataset: Dataset, keyword: str, notes: list[str]) -> list[float] | None:
    """Read an element's numbers: None where it is absent or empty, and NaN for what is no number.

    A decimal comma is read as a point, with a note, where it is the only mark in each of the numbers.
    """
    if keyword not in dataset:
        return None
    try:
        value = dataset[keyword].value
    except Exception:  # whatever pydicom makes of bytes that are not of the element's kind
        return [np.nan]
    if value is None or value == "":
        return None
    parts = [value] if isinstance(value, str | int | float) else list(value)
    found = [_number(part) for part in parts]
    if all(np.isfinite(found)) or not all(_DECIMAL.fullmatch(str(part).strip()) for part in parts):
        return found
    texts = [str(part).strip() for part in parts]
    found = [float(text.replace(",", ".")) for text in texts]
    read = " and ".join(f"{number:g}" for number in found)
    notes.append(f"{keyword} in the file is written with a decimal comma ({' and '.join(texts)}); read as {read}.")
    return found


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")

"""Radiograph: any file that holds one, for training and prediction: grey by one rule, and the spacing where known."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.dicom import DICOM_SUFFIXES, has_no_suffix, is_dicom, read_dicom, read_dicom_header
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.image_io import IMAGE_SUFFIXES, check_contrast, read_grey_and_bits, read_header

RADIOGRAPH_SUFFIXES = (*IMAGE_SUFFIXES, *DICOM_SUFFIXES)
"""File names that count as radiographs, in lower case; DICOM files without suffix are told by their content."""

_DIRECTORY = "DICOMDIR"  # the list of a DICOM medium's files, itself a DICOM file without image


@dataclass(frozen=True)
class Radiograph:
    """One radiograph as the network's preparation takes it.

    Attributes:
        grey: (H, W) uint8, by the rule of ``image_io``.
        spacing: mm per pixel (x, y), None where it is not known. The dpi of a PNG, JPEG, BMP or TIFF are not used:
            they say how large to print, and most programs write 72 or 96 whatever the picture shows.
        spacing_source: the DICOM element that it comes from, "unknown" without one.
        notes: what the reader has to know, one sentence each.
        bits: depth that the values were read with: of the file where it says so, else the smallest that holds them.
    """

    grey: np.ndarray
    spacing: tuple[float, float] | None
    spacing_source: str
    notes: tuple[str, ...]
    bits: int


def read_radiograph(path: str | Path) -> Radiograph:
    """Read a PNG, JPEG, BMP, TIFF or DICOM file; what it is, is told by its content.

    Raises DataError that names the file if it is missing, no such image, damaged, turned by an EXIF tag, too large,
    holds several images, or is of one grey all over.
    """
    radiograph = read_any_grey(path)
    check_contrast(radiograph.grey, path)
    return radiograph


def read_any_grey(path: str | Path) -> Radiograph:
    """Read what ``read_radiograph`` reads, and images of one grey too; raises DataError otherwise as it does."""
    path = Path(path)
    if is_dicom(path):
        grey, bits, spacing, notes = read_dicom(path)
        return Radiograph(grey, spacing.value, spacing.source, notes, bits)
    grey, bits = read_grey_and_bits(path)
    return Radiograph(grey, None, UNKNOWN_SPACING, (), bits)


@dataclass(frozen=True)
class RadiographHeader:
    """What a file says of its radiograph without its pixels.

    Attributes:
        size: (width, height) in px.
        spacing: mm per pixel (x, y), and the DICOM element that it comes from, as in ``Radiograph``.
        patient: of a DICOM file, its Patient ID and the issuer of that; ("", "") where not known. It is not shown.
        dicom: whether it is a DICOM file.
    """

    size: tuple[int, int]
    spacing: tuple[float, float] | None = None
    spacing_source: str = UNKNOWN_SPACING
    patient: tuple[str, str] = field(default=("", ""), repr=False)
    dicom: bool = False


def read_radiograph_header(path: str | Path) -> RadiographHeader:
    """Read the header of a file that ``read_radiograph`` reads; no pixels are decoded.

    Raises DataError that names the file if it is missing, no such image, too large, turned by an EXIF tag, or holds
    several images.
    """
    path = Path(path)
    if is_dicom(path):
        size, spacing, patient = read_dicom_header(path)
        return RadiographHeader(size, spacing.value, spacing.source, patient, dicom=True)
    return RadiographHeader(read_header(path))


def list_radiographs(folder: Path, recursive: bool = False) -> list[Path]:
    """List what is named as a radiograph, and DICOM files without suffix, sorted by name.

    What has such a name and cannot be read (a broken link, a pipe) is listed too, so that it is missed by name;
    folders, hidden files and a medium's DICOMDIR are left out.
    """
    found = folder.rglob("*") if recursive else folder.glob("*")
    return sorted((path for path in found if _is_radiograph(path)), key=str)


def _is_radiograph(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == _DIRECTORY or os.path.isdir(path):  # Path.is_dir may raise
        return False
    if path.suffix.lower() in RADIOGRAPH_SUFFIXES:
        return True
    try:
        return has_no_suffix(path) and is_dicom(path)
    except DataError:  # a file of no name that is known, which cannot be opened
        return False

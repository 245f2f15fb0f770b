"""Where programs built on ITK, such as 3D Slicer, put an image's pixels in space: LPS, in mm.

That need not be the spacing that holds at the patient (``dicom_spacing``). ITK takes the dpi of JPEG and TIFF for a
spacing, and those of PNG and BMP not; of DICOM it takes another element by the kind of image. Compared with SimpleITK
(``tests/data/test_image_plane.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.readers.dicom import is_dicom, read_dicom_elements
from landmark_diffusion.data.readers.dicom_spacing import numbers
from landmark_diffusion.data.readers.image_io import opened_image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PROJECTIONS = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.12")
"""SOP classes whose spacing is that of the detector, and those below them: CR, DX, mammography, XA, XRF (PS3.4 B.5)."""
_CAPTURED = "1.2.840.10008.5.1.4.1.1.7"
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296  # TIFF 6.0, section 8
_MM = {2: 25.4, 3: 10.0}  # of TIFF's units: inch, cm
_JFIF_MM = {1: 25.4, 2: 10.0}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class ImagePlane:
    """An image's pixels in space, LPS in mm.

    Attributes:
        origin: (3,) the centre of the top left pixel.
        steps: (3, 2) from a pixel's centre to that of the next to the right, and of the next below.
    """

    origin: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, spacing: tuple[float, float], origin: Any = (0.0, 0.0, 0.0), directions: Any = _IDENTITY) -> ImagePlane:
        """Lay out pixels by mm a pixel (x, y) along two directions (6,): that of a row, then that of a column."""
        axes = np.asarray(directions, np.float64).reshape(2, 3).T
        return cls(np.asarray(origin, np.float64), axes * np.asarray(spacing, np.float64))

    def to_space(self, points: np.ndarray) -> np.ndarray:
        """Give pixels (..., 2) as mm (..., 3)."""
        mm: np.ndarray = self.origin + points @ self.steps.T
        return mm

    def to_pixels(self, mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give mm (..., 3) as pixels (..., 2) of the nearest place in the plane, and how far off it lies, in mm."""
        pixels = (mm - self.origin) @ np.linalg.pinv(self.steps).T
        return pixels, np.linalg.norm(mm - self.to_space(pixels), axis=-1)


def read_plane(path: Path) -> ImagePlane:
    """Tell where ITK puts the pixels of an image file or of an NRRD volume of one slice.

    Raises DataError that names a file which cannot be read.
    """
    if path.suffix.lower() == ".nrrd":
        return _of_nrrd(path)
    if is_dicom(path):
        return _of_dicom(path)
    with opened_image(path) as image:
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            found = tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION)
            return ImagePlane.of(_of_density(found, _MM.get(tags.get(_RESOLUTION_UNIT, 2))))
        if image.format in ("JPEG", "MPO"):
            return ImagePlane.of(
                _of_density(image.info.get("jfif_density"), _JFIF_MM.get(image.info.get("jfif_unit", 0)))
            )
    return ImagePlane.of((1.0, 1.0))


def _of_density(density: Any, unit: float | None) -> tuple[float, float]:
    """The mm a pixel of dots along x and y in each ``unit`` mm; 1 where it is not said, as ITK has it."""
    try:
        x, y = (float(each) for each in density or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return 1.0, 1.0
    usable = unit is not None and 0 < x < np.inf and 0 < y < np.inf
    return (unit / x, unit / y) if usable and unit is not None else (1.0, 1.0)


def _of_dicom(path: Path) -> ImagePlane:
    dataset = read_dicom_elements(path)
    kind = str(dataset.get("SOPClassUID") or "")
    if any(kind == each or kind.startswith(f"{each}.") for each in _PROJECTIONS):
        keywords: tuple[str, ...] = ("ImagerPixelSpacing",)
    elif kind.startswith(_CAPTURED):
        keywords = ("PixelSpacing", "NominalScannedPixelSpacing")
    else:
        keywords = ("PixelSpacing",)
    spacing = next((found for keyword in keywords if (found := _numbers(dataset, keyword, 2))), (1.0, 1.0))
    origin = _numbers(dataset, "ImagePositionPatient", 3) or (0.0, 0.0, 0.0)
    directions = _numbers(dataset, "ImageOrientationPatient", 6) or _IDENTITY
    return ImagePlane.of((spacing[1], spacing[0]), origin, directions)


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    found = numbers(dataset, keyword, [])
    return tuple(found) if found is not None and len(found) == count and np.isfinite(found).all() else None


def _of_nrrd(path: Path) -> ImagePlane:
    import nrrd

    try:
        header = nrrd.read_header(str(path))
        steps = np.asarray(header["space directions"], np.float64)[:2].T
        origin = np.asarray(header["space origin"], np.float64)
        signs = _SIGNS[str(header["space"]).lower()]
    except Exception as error:  # a damaged header makes it raise nearly anything
        raise DataError(f"the volume's place in space cannot be read ({one_line(error)})", path) from None
    if steps.shape != (3, 2) or origin.shape != (3,) or not (np.isfinite(steps).all() and np.isfinite(origin).all()):
        raise DataError("the volume has no directions of three numbers, expected those of one slice", path)
    return ImagePlane(origin * signs, steps * signs[:, None])


_SIGNS = {
    "left-posterior-superior": np.array([1.0, 1.0, 1.0]), "lps": np.array([1.0, 1.0, 1.0]),
    "right-anterior-superior": np.array([-1.0, -1.0, 1.0]), "ras": np.array([-1.0, -1.0, 1.0]),
}  # fmt: skip
"""From a volume's space to LPS."""

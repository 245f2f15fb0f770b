"""Where ITK puts an image's pixels in space: SimpleITK is the oracle, for every kind of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalIntraOralXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    XRayAngiographicImageStorage,
)

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.image_plane import ImagePlane, read_plane
from tests.detection.bad_inputs import LEVELS, write_dicom

PIXELS = np.array([[0.0, 0.0], [3.25, 17.5], [40.0, 2.0]])


def by_itk(path: Path) -> np.ndarray:
    """The places of ``PIXELS`` in LPS."""
    image = SimpleITK.ReadImage(str(path))
    more = (0,) if image.GetDimension() == 3 else ()
    found = [image.TransformContinuousIndexToPhysicalPoint((*pixel, *more)) for pixel in PIXELS.tolist()]
    return np.array([[*point, 0.0][:3] for point in found])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
@pytest.mark.parametrize("options", [{}, {"dpi": (254, 127)}, {"dpi": (96, 96)}, {"dpi": (72.5, 72.5)}])
def test_the_dpi_count_where_itk_takes_them(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(LEVELS).save(path, **options)
    np.testing.assert_allclose(read_plane(path).to_space(PIXELS), by_itk(path), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unit", [1, 2, 3])
def test_units_of_tiff(unit: int, tmp_path: Path) -> None:
    tags = {282: 40.0, 283: 20.0, 296: unit}
    Image.fromarray(LEVELS).save(tmp_path / "a.tif", tiffinfo=tags)
    np.testing.assert_allclose(read_plane(tmp_path / "a.tif").to_space(PIXELS), by_itk(tmp_path / "a.tif"), rtol=1e-6)


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_units_of_jpeg(unit: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(LEVELS).save(path, dpi=(50, 25))
    content = bytearray(path.read_bytes())
    assert content[6:11] == b"JFIF\0"
    content[13] = unit
    path.write_bytes(bytes(content))
    np.testing.assert_allclose(read_plane(path).to_space(PIXELS), by_itk(path), rtol=1e-6)


KINDS = (
    ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, DigitalXRayImageStorageForProcessing,
    DigitalIntraOralXRayImageStorageForPresentation, DigitalMammographyXRayImageStorageForProcessing,
    XRayAngiographicImageStorage, SecondaryCaptureImageStorage, CTImageStorage, MRImageStorage,
)  # fmt: skip
P, IM, N = {"PixelSpacing": [0.2, 0.1]}, {"ImagerPixelSpacing": [0.4, 0.3]}, {"NominalScannedPixelSpacing": [0.6, 0.5]}
SPACINGS: tuple[dict[str, Any], ...] = (
    {}, P, IM, N, {**P, **IM}, {**P, **N}, {**P, **IM, "PixelSpacingCalibrationType": "FIDUCIAL"},
    {**IM, "EstimatedRadiographicMagnificationFactor": 2},
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_spacings_of_dicom(kind: Any, tmp_path: Path) -> None:
    for elements in SPACINGS:
        path = write_dicom(tmp_path / "a.dcm", SOPClassUID=kind, **elements)
        np.testing.assert_allclose(read_plane(path).to_space(PIXELS), by_itk(path), atol=1e-9, err_msg=str(elements))


@pytest.mark.parametrize("kind", [CTImageStorage, DigitalXRayImageStorageForPresentation])
def test_places_of_dicom(kind: Any, tmp_path: Path) -> None:
    place = {"ImagePositionPatient": [5, -6, 7], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    path = write_dicom(tmp_path / "a.dcm", SOPClassUID=kind, **P, **IM, **place)
    np.testing.assert_allclose(read_plane(path).to_space(PIXELS), by_itk(path), atol=1e-9)


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0)])
def test_volumes_of_one_slice(direction: tuple[float, ...], tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(LEVELS[None])
    image.SetSpacing((0.1, 0.25, 1))
    image.SetOrigin((3, 4, 5))
    image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    np.testing.assert_allclose(read_plane(tmp_path / "a.nrrd").to_space(PIXELS), by_itk(tmp_path / "a.nrrd"), atol=1e-9)


def test_pixels_come_back_and_what_lies_off_the_plane_is_told() -> None:
    plane = ImagePlane.of((0.1, 0.25), (3, 4, 5), (0, 1, 0, 0, 0, -1))
    pixels, off = plane.to_pixels(plane.to_space(PIXELS) + np.array([2.0, 0, 0]))
    np.testing.assert_allclose(pixels, PIXELS, atol=1e-9)
    np.testing.assert_allclose(off, 2)


@pytest.mark.parametrize("content", [b"", b"NRRD0004\n", b"NRRD0004\ntype: uint8\nspace: left-posterior-superior\n\n"])
def test_a_damaged_volume_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nrrd: the volume's place in space cannot be read"):
        read_plane(tmp_path / "a.nrrd")

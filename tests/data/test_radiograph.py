"""The same picture gives the same grey whatever file holds it, and a folder's radiographs are all found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.readers.image_io import read_grey
from landmark_diffusion.data.readers.levels import read_levels
from landmark_diffusion.data.readers.radiograph import list_radiographs, read_radiograph
from tests.detection.bad_inputs import deep, write_dicom


def test_picture_is_the_same_in_every_file_and_depth(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (50, 60), dtype=np.uint8)
    levels[0, 0] = 255
    Image.fromarray(levels).save(tmp_path / "8.png")
    Image.fromarray(deep(12, levels)).save(tmp_path / "12_in_16.png")
    Image.fromarray(deep(16, levels)).save(tmp_path / "16.tif")
    spacing = {"PixelSpacing": [0.1, 0.1], "PixelSpacingCalibrationType": "GEOMETRY"}
    paths = [
        *(tmp_path / name for name in ("8.png", "12_in_16.png", "16.tif")),
        write_dicom(tmp_path / "8.dcm", levels, **spacing),
        write_dicom(tmp_path / "12.dcm", deep(12, levels), BitsStored=12, **spacing),
        write_dicom(tmp_path / "16.dcm", deep(16, levels), PhotometricInterpretation="MONOCHROME2", **spacing),
        write_dicom(tmp_path / "1.dcm", 65535 - deep(16, levels), PhotometricInterpretation="MONOCHROME1", **spacing),
    ]
    for path, bits in zip(paths, (8, 12, 16, 8, 12, 16, 16), strict=True):
        radiograph = read_radiograph(path)
        np.testing.assert_array_equal(radiograph.grey, levels, err_msg=path.name)
        stored = read_levels(path)
        np.testing.assert_array_equal(stored.table[stored.values], levels, err_msg=path.name)
        assert len(stored.table) == 2**bits and stored.values.dtype == (np.uint8 if bits == 8 else np.uint16)
        assert stored.spacing == radiograph.spacing
        assert radiograph.bits == bits and radiograph.grey.dtype == np.uint8
        known = path.suffix == ".dcm"
        assert radiograph.spacing == ((0.1, 0.1) if known else None)
        assert radiograph.spacing_source == ("PixelSpacing (calibrated)" if known else "unknown")


def test_dpi_are_no_spacing(tmp_path: Path) -> None:
    Image.fromarray(deep(16)).save(tmp_path / "a.tif", dpi=(254, 254))
    assert read_radiograph(tmp_path / "a.tif").spacing is None


def test_folder_gives_its_radiographs(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.png").mkdir()
    for name in ("IM0001", "1.2.840.9", "DICOMDIR", "b.DCM", "c.ima", ".d.dcm", "sub/e"):
        write_dicom(tmp_path / name)
    for name in ("f.png", "g.JPG", "notes", "notes.txt", "report.123"):
        (tmp_path / name).write_bytes(b"text")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.tif")
    os.mkfifo(tmp_path / "pipe")  # must not be waited for
    there = ["1.2.840.9", "IM0001", "b.DCM", "c.ima", "f.png", "g.JPG", "gone.png", "pipe.tif"]
    assert [path.name for path in list_radiographs(tmp_path)] == there
    within = [path.relative_to(tmp_path).as_posix() for path in list_radiographs(tmp_path, recursive=True)]
    assert within == [*there, "sub/e"]


def test_real_radiograph_is_read_as_in_training(shared_data: Callable[[str], Path]) -> None:
    path = min(shared_data("isbi2015").rglob("*.jpg"))
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.grey, read_grey(path))
    assert radiograph.grey.shape == (2400, 1935) and radiograph.spacing is None and radiograph.notes == ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as other libraries set it
        assert read_radiograph(path).grey.shape == (2400, 1935)

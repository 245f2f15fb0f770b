"""DICOM files give the grey that a viewer shows, and mm that hold where the file says they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.dicom import is_dicom
from landmark_diffusion.data.readers.radiograph import read_radiograph
from tests.detection.bad_inputs import LEVELS, write_dicom

VALUES = np.arange(4096, dtype=np.uint16).reshape(64, 64)
"""Each value of 12 bits once."""


def grey_of(path: Path, values: np.ndarray = VALUES, **elements: Any) -> np.ndarray:
    """Write and read values of 12 bits; return the grey in the values' order, (values.size,)."""
    return read_radiograph(write_dicom(path / "a.dcm", values, BitsStored=12, **elements)).grey.ravel()


def lut(entries: np.ndarray, first: int, depth: int, words: bool = True) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, depth]
    item.LUTData = entries.tolist() if words else entries.astype("<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US" if words else "OW"
    return item


def test_linear_window_by_hand(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2."""
    grey = grey_of(tmp_path, WindowCenter=2000, WindowWidth=1001)
    shown = ((np.arange(4096) - 1999.5) / 1000 + 0.5).clip(0, 1)
    np.testing.assert_array_equal(grey, np.floor(shown * 255 + 0.5))
    assert (grey[1499], grey[2500], grey[2000]) == (0, 255, 128)


def test_sigmoid_and_exact_windows_by_hand(tmp_path: Path) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    exact = ((np.arange(4096) - 2000) / 1000 + 0.5).clip(0, 1)
    sigmoid = 1 / (1 + np.exp(-4 * (np.arange(4096) - 2000) / 1000))
    for function, shown in (("LINEAR_EXACT", exact), ("SIGMOID", sigmoid)):
        grey = grey_of(tmp_path, **window, VOILUTFunction=function)
        np.testing.assert_array_equal(grey, np.floor(shown * 255 + 0.5))


def test_window_holds_for_rescaled_values_and_monochrome1_turns_what_it_shows(tmp_path: Path) -> None:
    window = grey_of(tmp_path, WindowCenter=2000, WindowWidth=1001)
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 3899.5, "WindowWidth": 2001}
    np.testing.assert_array_equal(grey_of(tmp_path, **rescaled), window)  # 2 x 1999.5 - 100 + 0.5, and 2 x 1000 + 1
    turned = grey_of(tmp_path, WindowCenter=2000, WindowWidth=1001, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(255 - turned.astype(int) - window).max() <= 1  # a half is rounded up in both
    assert (turned[0], turned[-1]) == (255, 0)


@pytest.mark.parametrize("more", [2, 100, 2 * VALUES.nbytes])
def test_zeros_behind_the_pixels_are_padding_and_noted(tmp_path: Path, more: int) -> None:
    """As pydicom takes them, which only warns; whole images of zeros are none."""
    content = VALUES.tobytes() + bytes(more)
    radiograph = read_radiograph(write_dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, PixelData=content))
    np.testing.assert_array_equal(radiograph.grey.ravel(), grey_of(tmp_path))
    assert radiograph.notes == (f"The file holds {more} zero bytes behind its pixels, which were left out.",)


@pytest.mark.parametrize("size", [{"Rows": 63}, {"Columns": 60}, {"Rows": 32}])
def test_pixels_that_go_on_behind_the_last_row_are_refused(tmp_path: Path, size: dict[str, int]) -> None:
    """Columns that are too few turn the picture into stripes, and pydicom would only warn."""
    path = write_dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, **size)
    with pytest.raises(DataError, match=r"a\.dcm: found 8192 bytes of pixels, expected one image of .*size is wrong"):
        read_radiograph(path)


def test_the_byte_that_makes_the_length_even_is_no_padding(tmp_path: Path) -> None:
    odd = np.arange(63 * 63, dtype=np.uint16).astype(np.uint8).reshape(63, 63)
    content = odd.tobytes() + b"\x01"  # its value is anything
    assert read_radiograph(write_dicom(tmp_path / "a.dcm", odd, PixelData=content)).notes == ()


@pytest.mark.parametrize("words", [True, False])
def test_voi_lut_of_8_bits_with_more_entries_than_8_bits_count(tmp_path: Path, words: bool) -> None:
    """pydicom 3.0.2 looks entry 256 up at 0."""
    entries = np.sqrt(np.arange(1000) / 999) * 255
    item = lut(np.rint(entries).astype(np.uint16), 500, 8, words)
    grey = grey_of(tmp_path, VOILUTSequence=[item])
    np.testing.assert_array_equal(grey, np.rint(entries)[np.clip(np.arange(4096) - 500, 0, 999)])


def test_lut_in_implicit_vr_and_modality_lut_of_16_bits(tmp_path: Path) -> None:
    entries = (np.arange(4096)[::-1] * 16).astype(np.uint16)
    expected = np.rint(entries * (255 / 65535))
    for syntax in (None, ImplicitVRLittleEndian):
        options = {} if syntax is None else {"syntax": syntax}
        grey = grey_of(tmp_path, ModalityLUTSequence=[lut(entries, 0, 16, words=syntax is None)], **options)
        np.testing.assert_array_equal(grey, expected)


def test_reader_is_told_which_window_was_used(tmp_path: Path) -> None:
    several = {"WindowCenter": [2000, 9], "WindowWidth": [1001, 5], "WindowCenterWidthExplanation": ["BONE", "SKIN"]}
    radiograph = read_radiograph(write_dicom(tmp_path / "a.dcm", VALUES, BitsStored=12, **several))
    np.testing.assert_array_equal(radiograph.grey.ravel(), grey_of(tmp_path, WindowCenter=2000, WindowWidth=1001))
    assert radiograph.notes == ("The file has 2 windows; center 2000 and width 1001 were used.",)
    one = read_radiograph(write_dicom(tmp_path / "b.dcm", VALUES, BitsStored=12, WindowCenter=2000, WindowWidth=1001))
    assert one.notes == () and one.bits == 12


YX, XY = [0.2, 0.1], (0.1, 0.2)  # as stored: between rows, between columns; and as returned
NO_FACTOR: dict[str, Any] = {"ImagerPixelSpacing": YX}
SPACINGS: dict[str, tuple[dict[str, Any], tuple[float, float] | None, str, int]] = {
    "nothing": ({}, None, "unknown", 0),
    "bare": ({"PixelSpacing": YX}, XY, "PixelSpacing (uncalibrated)", 1),
    "imager": (NO_FACTOR, XY, "ImagerPixelSpacing", 0),
    "imager and the same": ({**NO_FACTOR, "PixelSpacing": YX}, XY, "ImagerPixelSpacing", 0),
    "magnified": (
        {**NO_FACTOR, "EstimatedRadiographicMagnificationFactor": 1.25},
        (0.08, 0.16),
        "ImagerPixelSpacing / magnification",
        0,
    ),
    "magnification 0": (
        {**NO_FACTOR, "EstimatedRadiographicMagnificationFactor": 0},
        XY,
        "ImagerPixelSpacing",
        1,
    ),
    "calibrated as it differs": (
        {"PixelSpacing": YX, "ImagerPixelSpacing": [0.25, 0.125], "EstimatedRadiographicMagnificationFactor": 1.1},
        XY,
        "PixelSpacing (calibrated)",
        0,
    ),
    "calibrated by a ball": (
        {"PixelSpacing": YX, "PixelSpacingCalibrationType": "FIDUCIAL"},
        XY,
        "PixelSpacing (calibrated)",
        0,
    ),
    "calibrated by geometry": (
        {**NO_FACTOR, "PixelSpacing": YX, "PixelSpacingCalibrationType": "GEOMETRY"},
        XY,
        "PixelSpacing (calibrated)",
        0,
    ),
    "film": ({"NominalScannedPixelSpacing": YX}, XY, "NominalScannedPixelSpacing", 0),
    "film and bare": (
        {"NominalScannedPixelSpacing": YX, "PixelSpacing": [1, 1]},
        XY,
        "NominalScannedPixelSpacing",
        0,
    ),
    "imager before film": ({**NO_FACTOR, "NominalScannedPixelSpacing": [1, 1]}, XY, "ImagerPixelSpacing", 0),
    "wrong one before a right one": ({"PixelSpacing": [0, 0.1], **NO_FACTOR}, XY, "ImagerPixelSpacing", 1),
    "empty": ({"PixelSpacing": None, "ImagerPixelSpacing": ""}, None, "unknown", 0),
    "negative": ({"PixelSpacing": [-0.1, 0.1]}, None, "unknown", 1),
    "three": ({"ImagerPixelSpacing": [0.1, 0.1, 0.1]}, None, "unknown", 1),
}


@pytest.mark.parametrize("case", SPACINGS)
def test_spacing_is_the_one_nearest_to_the_patient(tmp_path: Path, case: str) -> None:
    elements, expected, source, notes = SPACINGS[case]
    given = {keyword: value for keyword, value in elements.items() if value is not None}
    radiograph = read_radiograph(write_dicom(tmp_path / "a.dcm", **given))
    assert radiograph.spacing == (None if expected is None else pytest.approx(expected, abs=1e-12))
    assert radiograph.spacing_source == source
    assert len(radiograph.notes) == notes


def test_reader_is_warned_of_a_spacing_without_calibration(tmp_path: Path) -> None:
    (note,) = read_radiograph(write_dicom(tmp_path / "a.dcm", PixelSpacing=YX)).notes
    assert "not calibrated" in note


def test_independent_reader_gives_the_same_spacing_and_values(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    signed = (VALUES.astype(np.int16) - 2048).astype(np.int16)
    path = write_dicom(tmp_path / "a.dcm", signed, BitsStored=12, PixelSpacing=YX, RescaleSlope=1, RescaleIntercept=5)
    image = itk.ReadImage(str(path))
    shown = (itk.GetArrayFromImage(image).squeeze().astype(float) + 2048 - 5) / 4095
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.grey, np.floor(shown * 255 + 0.5))
    assert radiograph.spacing == pytest.approx(image.GetSpacing()[:2])


def test_dicom_is_told_by_its_content(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "a.png").read_bytes()
    assert is_dicom(tmp_path / "a.png")
    for name, is_one in (("bare", True), ("bare.IMA", True), ("1.2.840.3", True), ("bare.png", False)):
        (tmp_path / name).write_bytes(whole[132:])  # without preamble the name has its say
        assert is_dicom(tmp_path / name) is is_one
    (tmp_path / "text.dcm").write_bytes(b"some text that somebody named so" * 9)
    assert not is_dicom(tmp_path / "text.dcm")


def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    path = write_dicom(tmp_path / "a.dcm")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LEVELS.size - 1)
    with pytest.raises(DataError, match=r"a\.dcm: the image claims to be larger than 1919 pixels \(48x40 px\)"):
        read_radiograph(path)

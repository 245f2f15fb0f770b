"""DICOM headers: grey of the size that the file says and a spacing of finite mm, or the file is refused by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from landmark_diffusion.data.readers.radiograph import read_radiograph, read_radiograph_header
from tests.detection.bad_inputs import write_dicom
from tests.fuzz.harness import inputs, judge
from tests.fuzz.strategies import spoilt_bytes

VALUES = np.add.outer(np.arange(9) * 200, np.arange(13) * 40).astype(np.uint16)
NUMBERS = (0, 1, 2, 8, 9, 12, 13, 14, 16, 17, 26, 32, 255, 5000, 65535)
DECIMALS = (
    "", "0", "0.1", "-0.1", "nan", "inf", "1e400", "abc", "0.1\\0.2", "0.1\\0.2\\0.3", "\\", "0.1\\", "0\\0",
    "1e-400\\1", "0.1\\nan", "3\\3", "1,5", "1" * 30,
)  # fmt: skip
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
WHOLE = ("Rows", "Columns", "BitsStored", "BitsAllocated", "HighBit", "SamplesPerPixel", "PixelRepresentation")
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.sampled_from((None, *NUMBERS)) for name in WHOLE},
    **{
        name: st.sampled_from(DECIMALS)
        for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "WindowCenter", "WindowWidth",
                     "RescaleSlope", "RescaleIntercept", "EstimatedRadiographicMagnificationFactor")
    },
    "NumberOfFrames": st.sampled_from(("", "0", "1", "2", "-1", "1\\2", "x")),
    "PhotometricInterpretation": st.sampled_from(
        (None, "MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "PALETTE COLOR", "", "x\n")
    ),
    "VOILUTFunction": st.sampled_from(("LINEAR", "SIGMOID", "LINEAR_EXACT", "x")),
    "PixelSpacingCalibrationType": st.sampled_from(("GEOMETRY", "FIDUCIAL", "x")),
    "PixelData": st.sampled_from((None, b"", b"\0\0", bytes(2 * 9 * 13 - 2), bytes(2 * 9 * 13 + 2), bytes(9 * 13 + 1))),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dicom")


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(ELEMENTS)), max_size=3, unique=True))
    return {name: draw(ELEMENTS[name]) for name in names}


def write(path: Path, syntax: str, elements: dict[str, Any]) -> bool:
    """Write VALUES with some elements changed; False for what pydicom cannot write."""
    found = {"SOPInstanceUID": "1.2.3", "BitsStored": 12, "HighBit": 11, "PixelSpacing": [0.1, 0.2], **elements}
    before = config.settings.writing_validation_mode, config.settings.reading_validation_mode
    config.settings.writing_validation_mode = config.settings.reading_validation_mode = config.IGNORE
    try:
        write_dicom(path, VALUES, syntax, **found)
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError):
        return False
    finally:
        config.settings.writing_validation_mode, config.settings.reading_validation_mode = before
    return True


def check(path: Path, kind: str) -> Any:
    found = judge(kind, lambda: read_radiograph(path), path)
    header = judge(kind, lambda: read_radiograph_header(path), path)
    if header is not None:
        assert header.spacing is None or all(0 < value < math.inf for value in header.spacing)
    if found is not None:
        assert header is not None and (header.size, header.spacing) == (found.grey.shape[::-1], found.spacing)
        assert found.grey.dtype == np.uint8 and found.grey.ndim == 2 and found.grey.size > 0
        assert found.spacing is None or all(0 < value < math.inf for value in found.spacing)
        assert 1 <= found.bits <= 16
    return found


@inputs(60, 1500)
@given(syntax=st.sampled_from(SYNTAXES), elements=changes())
def test_no_element_gives_another_size_or_an_odd_spacing(folder: Path, syntax: str, elements: dict[str, Any]) -> None:
    path = folder / "x.dcm"
    if not write(path, syntax, elements):
        return
    found = check(path, "DICOM: elements")
    if not elements:
        assert found is not None and found.spacing == (0.2, 0.1)
    if found is None:
        return
    rows, columns = elements.get("Rows", 9), elements.get("Columns", 13)
    assert found.grey.shape == (rows, columns)
    width = (elements.get("BitsAllocated", 16) // 8) * elements.get("SamplesPerPixel", 1)
    # More bytes than that are let through: some devices pad. So a file that says too few columns is not found out.
    assert rows * columns * width <= len(elements.get("PixelData", VALUES.tobytes()))


@inputs(40, 800)
@given(data=st.data())
def test_no_damaged_file_is_read_as_something_odd(folder: Path, data: st.DataObject) -> None:
    path = folder / "y.dcm"
    assert write(path, ExplicitVRLittleEndian, {})
    path.write_bytes(data.draw(spoilt_bytes(path.read_bytes(), head=data.draw(st.sampled_from((400, 900))))))
    check(path, "DICOM: bytes")

"""The range of DICOM values: what the header says where it is right, what the pixels hold where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.radiograph import Radiograph, read_radiograph
from tests.data.layouts.dicom import coded
from tests.detection.bad_inputs import LEVELS, deep, encoded, with_text, write_dicom

BITS = (8, 10, 12, 14)
VALUES = np.arange(4096, dtype=np.uint16).reshape(64, 64)
"""Each value of 12 bits once."""
SHOWN = np.rint(VALUES * (255 / 4095)).astype(np.uint8)


def read(path: Path, values: np.ndarray = VALUES, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Radiograph:
    return read_radiograph(write_dicom(path / "a.dcm", values, syntax, **elements))


def lut(entries: Any, descriptor: list[int], kind: str = "US") -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, entries
    item["LUTDescriptor"].VR, item["LUTData"].VR = "SS" if min(descriptor) < 0 else "US", kind
    return item


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_values_of_fewer_bits_than_16_are_read_as_in_a_png(tmp_path: Path, bits: int, kind: str) -> None:
    levels = LEVELS if kind == "MONOCHROME2" else 255 - LEVELS
    found = read(tmp_path, deep(bits, levels), PhotometricInterpretation=kind)
    np.testing.assert_array_equal(found.grey, LEVELS)
    assert found.bits == bits and f"read as {bits} bits" in " ".join(found.notes)


@pytest.mark.parametrize("rescale", [(1, 0), (2.5, -1000), (-1, 4095)])
def test_rescale_changes_nothing_of_the_range(tmp_path: Path, rescale: tuple[float, float]) -> None:
    found = read(tmp_path, RescaleSlope=rescale[0], RescaleIntercept=rescale[1])
    np.testing.assert_array_equal(found.grey, 255 - SHOWN if rescale[0] < 0 else SHOWN)


@pytest.mark.parametrize("window", [(32768, 65536), (32767, 65535), (32767.5, 65535)])
def test_a_window_over_all_16_bits_says_no_more_than_the_bits(tmp_path: Path, window: tuple[float, float]) -> None:
    found = read(tmp_path, WindowCenter=window[0], WindowWidth=window[1])
    np.testing.assert_array_equal(found.grey, SHOWN)
    assert found.bits == 12


def test_what_the_file_says_of_12_bits_is_kept(tmp_path: Path) -> None:
    """Equal exposures of one detector stay equal, whatever the largest value."""
    found = read(tmp_path, VALUES // 8, BitsStored=12)
    np.testing.assert_array_equal(found.grey, np.rint((VALUES // 8) * (255 / 4095)))
    assert found.bits == 12 and found.notes == ()


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_jpeg_2000_is_read_with_the_depth_of_its_stream(tmp_path: Path, bits: int) -> None:
    """Dark values, which the rule for 16-bit files alone would take for fewer bits."""
    imagecodecs = pytest.importorskip("imagecodecs")
    dark = deep(bits) // 8
    data = imagecodecs.jpeg2k_encode(dark, level=0, reversible=True, codecformat="j2k", bitspersample=bits)
    found = read(tmp_path, dark, JPEG2000Lossless, PixelData=encapsulate([data]))
    np.testing.assert_array_equal(found.grey, np.rint(dark * (255 / (2**bits - 1))))
    assert found.bits == bits and f"The file says 16 bits, its compressed pixels {bits}" in found.notes[0]


@pytest.mark.parametrize("codec", ["JPEG 2000", pytest.param("lossless JPEG", marks=pytest.mark.slow)])
def test_an_overlay_in_a_stream_of_16_bits_is_left_out(tmp_path: Path, codec: str) -> None:
    pytest.importorskip("imagecodecs")
    values = VALUES.copy()
    values[20:40, 10:30] |= 1 << 12
    found = read_radiograph(coded(tmp_path / "a.dcm", codec, values, 16, BitsStored=12))
    np.testing.assert_array_equal(found.grey, SHOWN)
    assert found.bits == 12
    assert codec != "JPEG 2000" or "Bits above the 12" in found.notes[0]  # gdcm leaves them out by itself


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("said", [False, True])
def test_an_overlay_above_the_stored_bits_is_left_out(tmp_path: Path, rle: bool, said: bool) -> None:
    values = VALUES.copy()
    values[20:40, 10:30] |= 1 << 12
    path = write_dicom(tmp_path / "a.dcm", values, BitsStored=12)
    dataset = dcmread(path)
    if said:
        dataset.add_new(0x60000102, "US", 12)  # OverlayBitPosition
    if rle:
        dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.save_as(path)
    found = read_radiograph(path)
    np.testing.assert_array_equal(found.grey, SHOWN)
    assert ("Bits above the 12" in " ".join(found.notes)) is not said


def test_values_of_more_bits_than_the_file_says_are_refused(tmp_path: Path) -> None:
    """Cut to 12 bits, a picture of 14 begins anew at each quarter of its range."""
    smooth = np.sort(np.random.default_rng(0).integers(0, 16384, (64, 64)), axis=1).astype(np.uint16)
    with pytest.raises(DataError, match=r"a\.dcm: found values from \d+ to \d+ in pixels of BitsStored 12"):
        read(tmp_path, smooth, BitsStored=12)


ROOT = np.rint(np.sqrt(np.arange(4096) / 4095) * 4095).astype(int)
CURVE = np.rint(ROOT * (255 / 4095))
"""Grey of each value by the curve of the tables below."""
BYTES = np.rint(ROOT * (255 / 4095)).astype(np.uint8)
WRONG: dict[str, tuple[Dataset, str]] = {
    "16 bits for 12": (lut(ROOT.tolist(), [4096, 0, 16]), "says 16 bits and goes up to 4095"),
    "8 bits for 12": (lut(ROOT.tolist(), [4096, 0, 8]), "says 8 bits and goes up to 4095"),
    "0 bits": (lut(ROOT.tolist(), [4096, 0, 0]), "says 0 bits"),
    "256 entries": (lut(ROOT.tolist(), [256, 0, 12]), "has 4096 entries and says 256"),
    "0 entries": (lut(ROOT.tolist(), [0, 0, 12]), "has 4096 entries and says 65536"),
    "zeros behind": (lut([*ROOT.tolist(), 0, 0], [4096, 0, 12]), ""),
    "bytes in words": (lut(BYTES.astype("<u2").tobytes(), [4096, 0, 8], "OW"), ""),
    "bytes": (lut(BYTES.tobytes(), [4096, 0, 8], "OW"), ""),
    "bytes called 16 bits": (lut(BYTES.tobytes(), [4096, 0, 16], "OW"), "says 16 bits and goes up to 255"),
    "two bytes a number": (lut(BYTES.view("<u2").tolist(), [4096, 0, 8]), ""),
}  # fmt: skip


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_table_with_a_wrong_descriptor_is_read_by_what_it_holds(tmp_path: Path, wrong: str, sequence: str) -> None:
    item, said = WRONG[wrong]
    found = read(tmp_path, BitsStored=12, **{sequence: [item]})
    assert np.abs(found.grey.ravel() - CURVE).max() <= ("byte" in wrong)  # 8 bits of an entry round before
    assert said in " ".join(found.notes) and len(found.notes) == bool(said)


@pytest.mark.parametrize("first", [63488, -2048])
def test_first_value_of_a_table_with_the_other_sign(tmp_path: Path, first: int) -> None:
    """63488 is -2048 read without its sign; signed pixels ask for the latter."""
    item = lut(ROOT.tolist(), [4096, first, 12])
    found = read(tmp_path, VALUES.astype(np.int16) - 2048, BitsStored=12, VOILUTSequence=[item])
    np.testing.assert_array_equal(found.grey.ravel(), CURVE)


@pytest.mark.parametrize("entries", [[1, 2, 3], np.random.default_rng(0).integers(0, 65536, 4096).tolist()])
def test_a_table_that_fits_no_reading_is_refused(tmp_path: Path, entries: list[int]) -> None:
    with pytest.raises(DataError, match=r"a\.dcm: .*a lookup table \(VOI LUT\) says"):
        read(tmp_path, BitsStored=12, VOILUTSequence=[lut(entries, [4096, 0, 12])])


@pytest.mark.parametrize("name", ["bytes", "bytes in words"])
def test_table_of_a_big_endian_file(tmp_path: Path, name: str) -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 8]
    words = BYTES.astype(">u2") if name == "bytes in words" else BYTES.view("<u2").astype(">u2")
    item.LUTData = words.tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    found = read(tmp_path, VALUES, ExplicitVRBigEndian, BitsStored=12, VOILUTSequence=[item])
    np.testing.assert_array_equal(found.grey.ravel(), BYTES)


BESIDE: dict[str, tuple[dict[str, Any], str]] = {
    "above": ({"WindowCenter": 9000, "WindowWidth": 200}, "window 9000 ± 100"),
    "below": ({"WindowCenter": -900, "WindowWidth": 200}, "window -900 ± 100"),
    "far too wide": ({"WindowCenter": 50000, "WindowWidth": 100000}, "window 50000 ± 50000"),
    "black LUT": ({"VOILUTSequence": [lut([0] * 4096, [4096, 0, 12])]}, "VOI LUT"),
    "LUT beside": ({"VOILUTSequence": [lut([*range(0, 4096, 4)], [1024, 9000, 12])]}, "VOI LUT"),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_a_window_beside_the_values_is_left_aside_with_a_word(tmp_path: Path, beside: str) -> None:
    elements, name = BESIDE[beside]
    found = read(tmp_path, BitsStored=12, **elements)
    np.testing.assert_array_equal(found.grey, SHOWN)
    expected = f"The {name} in the file leaves hardly any contrast: its values run from 0 to 4095; it was left aside."
    assert expected in found.notes


def test_the_next_window_is_taken_where_the_first_lies_beside(tmp_path: Path) -> None:
    found = read(tmp_path, BitsStored=12, WindowCenter=[9000, 2048], WindowWidth=[200, 4096])
    np.testing.assert_array_equal(found.grey, SHOWN)
    assert "The file has 2 windows; center 2048 and width 4096 were used." in found.notes


def test_one_grey_is_refused_whatever_the_window(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.dcm: 99 % of the pixels or more have the grey"):
        read(tmp_path, VALUES * 0 + 700, BitsStored=12, WindowCenter=9000, WindowWidth=200)


COMMAS: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "spacing": ({"PixelSpacing": [0.25, 0.75]}, b"0.25\\0.75", b"0,25\\0,75"),
    "imager": ({"ImagerPixelSpacing": [0.25, 0.75]}, b"0.25\\0.75", b"0,25\\0,75"),
    "film": ({"NominalScannedPixelSpacing": [0.25, 0.75]}, b"0.25\\0.75", b"0,25\\0,75"),
    "magnification": (
        {"ImagerPixelSpacing": [0.5, 0.25], "EstimatedRadiographicMagnificationFactor": 1.125},
        b"1.125", b"1,125",
    ),
    "rescale": (
        {"RescaleSlope": 2.5, "RescaleIntercept": -100.25, "WindowCenter": 4000, "WindowWidth": 800},
        b"-100.25", b"-100,25",
    ),
    "window": ({"WindowCenter": 1999.5, "WindowWidth": 1001}, b"1999.5", b"1999,5"),
}  # fmt: skip


@pytest.mark.parametrize("what", COMMAS)
def test_a_decimal_comma_is_read_as_a_point(tmp_path: Path, what: str) -> None:
    elements, point, comma = COMMAS[what]
    plain = read(tmp_path, BitsStored=12, **elements)
    found = read_radiograph(with_text(tmp_path / "a.dcm", point, comma))
    np.testing.assert_array_equal(found.grey, plain.grey)
    assert (found.spacing, found.spacing_source) == (plain.spacing, plain.spacing_source)
    assert "is written with a decimal comma" in " ".join(found.notes)


@pytest.mark.parametrize("text", [b"1,234.5\\1", b"0,1,2\\0,12", b"0,1mm\\0,10", b",,,,,,,,,"])
def test_what_is_no_decimal_with_a_comma_is_passed_over(tmp_path: Path, text: bytes) -> None:
    write_dicom(tmp_path / "a.dcm", PixelSpacing=[0.25, 0.75])
    found = read_radiograph(with_text(tmp_path / "a.dcm", b"0.25\\0.75 ", text.ljust(10)))
    assert found.spacing is None and "is not 2 positive numbers" in " ".join(found.notes)


def test_a_png_of_one_grey_names_itself(tmp_path: Path) -> None:
    (tmp_path / "black.png").write_bytes(encoded(LEVELS * 0, "PNG"))
    with pytest.raises(DataError, match=r"black\.png: 99 % .* the grey 0 \(black\) of 255, expected a radiograph"):
        read_radiograph(tmp_path / "black.png")

"""Layouts and lookup tables drawn at random: what is accepted is read as tifffile and pydicom do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config, dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from landmark_diffusion.data.readers.image_io import read_grey
from landmark_diffusion.data.readers.radiograph import read_radiograph
from tests.data.layouts.tiff import tiff_grey
from tests.data.test_dicom_range import lut
from tests.detection.bad_inputs import write_dicom
from tests.fuzz.harness import inputs, judge

VALUES = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
DTYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "bool")
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tifffile", reason="pip install -e '.[dev]'")
    pytest.importorskip("imagecodecs", reason="pip install -e '.[dev]'")
    return tmp_path_factory.mktemp("layouts")


@st.composite
def tiffs(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples, and what tifffile is to write them with; not all of it goes together."""
    kind = draw(st.sampled_from(DTYPES))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    samples = draw(st.sampled_from((1, 1, 1, 2, 3, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    largest = draw(st.sampled_from((1, 100, 255, 1023, 4095, 65535)))
    most = 1 if kind in ("bool", "f4") else np.iinfo(kind).max
    values = rng.integers(0, largest + 1, (*size, samples)).clip(0, most)
    options: dict[str, Any] = {
        "byteorder": draw(st.sampled_from("<>")),
        "compression": draw(st.sampled_from((None, None, "lzw", "zlib", "packbits", "zstd", "lzma"))),
        "predictor": draw(st.sampled_from((None, None, True))),
        "tile": draw(st.sampled_from((None, None, (16, 16), (32, 16)))),
        "bigtiff": draw(st.sampled_from((False, False, True))),
        "rowsperstrip": draw(st.sampled_from((None, None, 1, 7))),
    }
    if samples >= 3:
        options["photometric"] = draw(st.sampled_from(("rgb", "cielab" if samples == 3 else "separated")))
    else:
        options["photometric"] = draw(st.sampled_from(("minisblack", "miniswhite")))
    if samples in (2, 4) and options["photometric"] != "separated":
        options["extrasamples"] = [draw(st.sampled_from(("unassalpha", "unspecified")))]
    if samples > 1:
        options["planarconfig"] = draw(st.sampled_from(("contig", "separate")))
        if options["planarconfig"] == "separate":
            return np.moveaxis(values, -1, 0).astype(kind).copy(), options
        return values.astype(kind), options
    return values[..., 0].astype(kind), options


@inputs(150, 3000)
@given(made=tiffs())
def test_a_tiff_that_is_accepted_is_read_as_tifffile_reads_it(
    folder: Path, made: tuple[np.ndarray, dict[str, Any]]
) -> None:
    import tifffile

    values, options = made
    path = folder / "x.tif"
    try:
        tifffile.imwrite(path, values, metadata=None, **options)
    except (ValueError, KeyError, TypeError, RuntimeError):
        return  # what does not go together
    found = judge("images: layouts", lambda: read_grey(path), path)
    if found is not None:
        expected = tiff_grey(path).astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= (options["photometric"] == "separated")


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, int, int, str]:
    """A rising or falling table that its descriptor is right about: entries, first value, depth, VR."""
    depth = draw(st.sampled_from((8, 10, 12, 14, 16)))
    count = draw(st.sampled_from((2, 100, 256, 1000, 4096)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    entries = np.sort(rng.integers(0, 2**depth, count))
    entries[-1] = 2**depth - 1
    entries = entries[::-1] if draw(st.booleans()) else entries
    return entries, draw(st.sampled_from((0, 1, 500, 4000))), depth, draw(st.sampled_from(("US", "OW")))


@inputs(60, 1000)
@given(table=tables(), modality=st.booleans(), syntax=st.sampled_from(SYNTAXES))
def test_a_table_that_is_right_is_read_as_pydicom_reads_it(
    folder: Path, table: tuple[np.ndarray, int, int, str], modality: bool, syntax: str
) -> None:
    entries, first, depth, kind = table
    words = entries.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    item = lut(entries.tolist() if kind == "US" else words, [len(entries), first, depth], kind)
    path = folder / "x.dcm"
    write_dicom(
        path, VALUES, syntax, BitsStored=12, **{"ModalityLUTSequence" if modality else "VOILUTSequence": [item]}
    )
    found = judge("DICOM: lookup tables", lambda: read_radiograph(path), path)
    dataset = dcmread(path)
    # As 16 bits: pydicom 3.0.2 cuts the index to the bits of the table. Read again, since an item is changed within.
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        for each in dataset.get(sequence, []):
            each.LUTDescriptor = [len(entries), first, 16]
    values = (apply_modality_lut if modality else apply_voi_lut)(dataset.pixel_array, dataset)
    expected = np.floor(values / (2**depth - 1) * 255 + 0.5)
    if found is None:
        assert np.ptp(expected) <= 2 or np.unique(expected[:, 8:56]).size < 3
        return
    if not any("contrast" in note or "one value" in note for note in found.notes):
        np.testing.assert_array_equal(found.grey, expected)


WRONG = st.sampled_from((0, 1, 255, 256, 4095, 4096, 65535))


@inputs(60, 1000)
@given(
    descriptor=st.tuples(
        WRONG, st.sampled_from((0, 1, 2048, 63488, 65535)), st.sampled_from((0, 7, 8, 12, 16, 17, 255))
    ),
    size=st.sampled_from((0, 1, 2, 255, 256, 512, 4096, 8192)),
    kind=st.sampled_from(("US", "OW")),
    largest=st.sampled_from((0, 255, 4095, 65535)),
    sequence=st.sampled_from(("ModalityLUTSequence", "VOILUTSequence")),
)
def test_a_table_that_is_wrong_is_read_with_a_word_or_refused(
    folder: Path, descriptor: tuple[int, int, int], size: int, kind: str, largest: int, sequence: str
) -> None:
    """What is shown is a rising picture of a rising table, whatever its descriptor."""
    entries = np.linspace(0, largest, size).astype(int)
    item = lut(entries.tolist() if kind == "US" else entries.astype("<u2").tobytes(), list(descriptor), kind)
    path = folder / "y.dcm"
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        write_dicom(path, VALUES, BitsStored=12, **{sequence: [item]})
    except (TypeError, ValueError, KeyError, AttributeError):
        return
    finally:
        config.settings.writing_validation_mode = before
    found = judge("DICOM: wrong tables", lambda: read_radiograph(path), path)
    if found is not None and size > 1 and kind == "US":
        assert (np.diff(found.grey.ravel().astype(int)) >= 0).all()
        assert found.grey.max() >= 64 or found.notes

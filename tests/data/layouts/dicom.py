"""DICOM by pydicom, with pixels coded by imagecodecs: SimpleITK's reading, or the samples, are the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.data.layouts import COLOUR, LEVELS, H, Layout, W, grey_of, of_depth
from tests.detection.bad_inputs import write_dicom

PLAIN = {
    "explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}  # fmt: skip
CODECS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG 2000": (JPEG2000Lossless, "jpeg2k", {"level": 0, "reversible": True, "codecformat": "j2k"}),
    "lossless JPEG": (JPEGLosslessSV1, "ljpeg", {}),
    "JPEG-LS": (JPEGLSLossless, "jpegls", {}),
}


def _by_itk(bits: int, lowest: int = 0) -> Callable[[Path], np.ndarray]:
    """The grey of the values that SimpleITK finds."""

    def grey(path: Path) -> np.ndarray:
        import SimpleITK

        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO")).squeeze()
        return grey_of(values.astype(np.int64) - (0 if values.ndim == 3 else lowest), bits)

    return grey


def coded(path: Path, codec: str, values: np.ndarray, bits: int, **elements: Any) -> Path:
    """Write values coded by imagecodecs with ``bits`` bits in the stream."""
    import imagecodecs

    syntax, name, options = CODECS[codec]
    given = dict(options)
    if codec != "JPEG-LS":
        given["bitspersample"] = bits
    data = getattr(imagecodecs, f"{name}_encode")(values, **given)
    return write_dicom(path, values, syntax, PixelData=encapsulate([bytes(data)]), **elements)


def _plain() -> list[Layout]:
    made: list[Layout] = []
    shown = {
        f"{bits} of {8 if bits <= 8 else 16} bits": (of_depth(LEVELS, bits), {"BitsStored": bits}, _by_itk(bits))
        for bits in (8, 10, 12, 14, 16)
    }
    shown["4 of 8 bits"] = (of_depth(LEVELS, 4), {"BitsStored": 4}, lambda path: grey_of(of_depth(LEVELS, 4), 4))
    for bits in (12, 16):
        lowest = -(2 ** (bits - 1))
        signed = (of_depth(LEVELS, bits).astype(int) + lowest).astype(np.int16)
        shown[f"signed {bits}"] = (signed, {"BitsStored": bits}, _by_itk(bits, lowest))
    for bits in (10, 12, 14):  # the file says 16, as many programs write
        shown[f"{bits} bits called 16"] = (of_depth(LEVELS, bits), {}, _by_itk(bits))
        lowest = -(2 ** (bits - 1))
        signed = (of_depth(LEVELS, bits).astype(int) + lowest).astype(np.int16)
        shown[f"signed {bits} bits called 16"] = (signed, {}, _by_itk(bits, lowest))
        shown[f"{bits} bits from 0 called signed 16"] = (of_depth(LEVELS, bits).astype(np.int16), {}, _by_itk(bits))
    shown["15 bits from 0 called signed 16"] = (of_depth(LEVELS, 15).astype(np.int16), {}, _by_itk(15))
    shown["colour"] = (COLOUR, {}, _by_itk(8))
    planes = {"PlanarConfiguration": 1}
    shown["colour planes"] = (np.moveaxis(COLOUR, -1, 0).reshape(H, W, 3), planes, _by_itk(8))
    shown["12 bits of colour called 16"] = (of_depth(COLOUR, 12), {}, lambda path: grey_of(of_depth(COLOUR, 12), 12))
    for place, syntax in PLAIN.items():
        for name, (values, elements, oracle) in shown.items():
            if place == "big endian" and oracle.__name__ == "grey":  # gdcm does not read all of it
                bits = int(elements.get("BitsStored", 8 * values.dtype.itemsize))
                oracle = _same_as_little(values, elements, bits)
            made.append(Layout(
                f"DICOM {name}, {place}",
                lambda path, v=values, s=syntax, e=elements: write_dicom(path, v, s, **e),
                oracle,
            ))  # fmt: skip
    return made


def _same_as_little(values: np.ndarray, elements: dict[str, Any], bits: int) -> Callable[[Path], np.ndarray]:
    """Pixels as pydicom finds them, by the same picture in little endian."""
    from landmark_diffusion.data.readers.radiograph import read_radiograph

    return lambda path: read_radiograph(write_dicom(path.with_name("little"), values, **elements)).grey


def _compressed() -> list[Layout]:
    made = []
    for codec in CODECS:
        for bits in (8, 12, 16):
            values = of_depth(LEVELS, bits)
            made.append(Layout(
                f"DICOM {codec} {bits}",
                lambda path, c=codec, v=values, b=bits: coded(path, c, v, b, BitsStored=b),
                _by_itk(bits), apart=codec != "JPEG 2000",
            ))  # fmt: skip
        for bits in (10, 12, 14):  # and dark, so that the values alone would say fewer
            if codec == "JPEG-LS":
                continue  # imagecodecs writes its own depth by the values
            dark = of_depth(LEVELS, bits) // 8
            made.append(Layout(
                f"DICOM {codec} {bits} called 16",
                lambda path, c=codec, v=dark, b=bits: coded(path, c, v, b),
                lambda path, v=dark, b=bits: grey_of(v, b), apart=codec != "JPEG 2000",
            ))  # fmt: skip
    made.append(Layout("DICOM RLE", _rle, _by_itk(12)))
    made.append(Layout("DICOM JPEG", _jpeg, _jpeg_grey, tolerance=1))
    made.append(Layout("DICOM JPEG of 8 bits called 12 of 16", lambda path: _jpeg(path, 12), _jpeg_grey, tolerance=1))
    return made


def _rle(path: Path) -> None:
    from pydicom import dcmread

    dataset = dcmread(write_dicom(path, of_depth(LEVELS, 12), BitsStored=12))
    dataset.compress(RLELossless)
    dataset.save_as(path)


def _jpeg(path: Path, stored: int = 8) -> None:
    import imagecodecs

    data = encapsulate([imagecodecs.jpeg8_encode(LEVELS, level=95)])
    values = LEVELS.astype(np.uint8 if stored == 8 else np.uint16)
    write_dicom(path, values, JPEGBaseline8Bit, PixelData=data, BitsStored=stored)


def _jpeg_grey(path: Path) -> np.ndarray:
    import imagecodecs

    return imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(LEVELS, level=95))


def _palettes() -> list[Layout]:
    tables = np.random.default_rng(3).integers(0, 256, (3, 256))
    made = []
    shown = grey_of(np.moveaxis(tables, 0, -1)[LEVELS], 8)
    kinds = {"8 bits in words": (1, 16), "8 bits twice in words": (257, 16), "8 bits called 8 in words": (1, 8)}
    for place, syntax in PLAIN.items():
        kind = ">u2" if place == "big endian" else "<u2"
        for name, (factor, depth) in kinds.items():
            elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
            for colour, table in zip(("Red", "Green", "Blue"), tables * factor, strict=True):
                elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
                elements[f"{colour}PaletteColorLookupTableData"] = table.astype(kind).tobytes()
            made.append(Layout(
                f"DICOM palette of {name}, {place}",
                lambda path, s=syntax, e=elements: write_dicom(path, LEVELS, s, **e),
                lambda path: shown,
            ))  # fmt: skip
    return made


def layouts() -> list[Layout]:
    """All of DICOM."""
    return [*_plain(), *_compressed(), *_palettes()]

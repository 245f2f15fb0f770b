"""Reading a DICOM radiograph: its pixels as 8-bit grey by the rule of ``image_io``, and its spacing.

Stored values go the way that DICOM PS3.4 N.2 draws: modality LUT or rescale, then VOI LUT or window, then MONOCHROME1
is turned, all in floats and rounded once. Without a window the full range of the stored bits is shown, never the range
that the image happens to have. Presentation LUT Shape is passed over: for radiographs it repeats what MONOCHROME1 says.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from landmark_diffusion.data.image_io import check_file, check_size, luminance_to_8_bit, one_line
from landmark_diffusion.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""File names that DICOM files have, in lower case; many have none."""

UNKNOWN_SPACING = "unknown"

# How a file without the preamble begins: group 2 or 8, in little endian, or group 8 in big endian.
_BEGINNINGS = (b"\x02\x00\x00\x00", b"\x02\x00\x01\x00", b"\x08\x00", b"\x00\x08\x00")

_APART = """
import sys, warnings
import numpy
from pydicom import dcmread
from pydicom.pixels import get_decoder
warnings.simplefilter("ignore")
dataset = dcmread(sys.argv[1], force=True)
decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
values, found = decoder.as_array(dataset, decoding_plugin="gdcm")
numpy.savez(sys.argv[2], values=values, kind=found["photometric_interpretation"])
"""
_APART_SECONDS = 120


class Spacing(NamedTuple):
    """Millimetres a pixel (x, y), None where not known, and the element of the file that they come from."""

    value: tuple[float, float] | None
    source: str


def is_dicom(path: Path) -> bool:
    """Tell a DICOM file by its content; one without preamble only where its name does not speak against it.

    Raises DataError that names a file which cannot be opened.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise DataError(f"the image file cannot be opened ({one_line(error)})", path) from None
    if head[128:] == b"DICM":
        return True
    return (path.suffix.lower() in DICOM_SUFFIXES or has_no_suffix(path)) and head.startswith(_BEGINNINGS)


def has_no_suffix(path: Path) -> bool:
    """Whether a file's name ends without a suffix, or in a number, as the UIDs do that DICOM files are named by."""
    return not path.suffix or path.suffix[1:].isdecimal()


def read_dicom(path: Path) -> tuple[np.ndarray, int, Spacing, tuple[str, ...]]:
    """Read a DICOM file with one image; return grey (H, W) uint8, its stored bits, spacing, and notes for the reader.

    Raises DataError that names the file where it is damaged, holds no image or several, or lacks a decoder.
    """
    import pydicom

    notes: list[str] = []
    try:
        with _undisturbed():
            dataset = pydicom.dcmread(path, force=True)
            _check_image(dataset, path)
            grey, bits = _read_grey(dataset, path, notes)
            return grey, bits, read_spacing(dataset, notes), tuple(notes)
    except DataError:
        raise
    except MemoryError:
        raise DataError("there is not enough memory to decode the image", path) from None
    except Exception as error:  # a damaged file makes pydicom raise nearly anything
        raise DataError(f"the DICOM file cannot be read ({one_line(error)}); copy or export it again", path) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep pydicom from reporting each odd element (what matters is noted or raised), and Pillow strict."""
    logger = logging.getLogger("pydicom")
    level, lenient = logger.level, ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        logger.setLevel(logging.CRITICAL + 1)
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # as in image_io
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
        logger.setLevel(level)


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
    found = _numbers(dataset, keyword)
    if found is None or (len(found) == count and all(0 < number < np.inf for number in found)):
        return found
    notes.append(f"{keyword} in the file is not {count} positive number{'s' * (count > 1)}; it was passed over.")
    return None


def _numbers(dataset: Dataset, keyword: str) -> list[float] | None:
    """Read an element's numbers: None where it is absent or empty, and NaN for what is no number."""
    if keyword not in dataset:
        return None
    try:
        value = dataset[keyword].value
    except Exception:  # whatever pydicom makes of bytes that are not of the element's kind
        return [np.nan]
    if value is None or value == "":
        return None
    return [_number(part) for part in ([value] if isinstance(value, str | int | float) else value)]


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _check_image(dataset: Dataset, path: Path) -> None:
    """Raise DataError for what is no single image of a size that is read; what says too little is let through."""
    frames = _numbers(dataset, "NumberOfFrames") or [1]
    if frames != [1]:
        raise DataError(f"found {frames[0]:g} frames, expected one image", path)
    if "PixelData" not in dataset:
        kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        named = f" ({one_line(kind.name)})" if kind else ""
        raise DataError(f"found no pixels in the DICOM file{named}; it is no image, or it was cut off", path)
    if "Rows" in dataset and "Columns" in dataset:
        check_size(int(dataset.Columns), int(dataset.Rows), path)
    if "HighBit" in dataset and "BitsStored" in dataset and dataset.HighBit != dataset.BitsStored - 1:
        raise DataError(
            f"found HighBit {dataset.HighBit} with BitsStored {dataset.BitsStored}, expected {dataset.BitsStored - 1}",
            path,
        )


def _read_grey(dataset: Dataset, path: Path, notes: list[str]) -> tuple[np.ndarray, int]:
    """Decode the pixels as grey (H, W) uint8, and tell the number of bits that they were stored with."""
    from pydicom.pixels.processing import apply_color_lut

    values, kind = _decode(dataset, path)
    bits = int(dataset.BitsStored)
    if bits > 16:
        raise DataError(f"found {bits} bits a pixel, expected at most 16", path)
    if kind == "PALETTE COLOR":
        values, kind = apply_color_lut(values, dataset), "RGB"
        bits = 8 * values.dtype.itemsize
    if values.ndim != 2 + (kind == "RGB"):
        raise DataError(f"found pixels of shape {values.shape}, expected one image", path)
    if kind == "RGB":
        return luminance_to_8_bit(values, bits), bits
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"found PhotometricInterpretation {one_line(kind)}, expected grey, RGB, YBR or palette", path)
    lowest, table = _grey_table(dataset, kind == "MONOCHROME1", notes)
    return table[np.clip(values.astype(np.int32) - lowest, 0, len(table) - 1)], bits


def _decode(dataset: Dataset, path: Path) -> tuple[np.ndarray, str]:
    """Decode the stored values, (H, W) or (H, W, 3), and tell the photometric interpretation that they have now."""
    from pydicom.pixels import get_decoder

    syntax = _transfer_syntax(dataset)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(_no_decoder(syntax), path) from None
    if not decoder.is_available:
        raise DataError(_no_decoder(syntax), path)
    # Pillow is always there, so what it can read does not depend on what else is installed.
    plugin = next((name for name in ("pillow", "gdcm") if name in decoder.available_plugins), "")
    try:
        if plugin == "gdcm":
            return _decode_apart(path)
        values, found = decoder.as_array(dataset, decoding_plugin=plugin)
    except (RuntimeError, subprocess.SubprocessError) as error:  # what decoders say speaks of their own code
        raise DataError(
            f"the pixels, compressed as {_named(syntax)}, cannot be decoded: the file is damaged, or of a kind that no "
            "installed decoder reads; copy it again, or export it uncompressed",
            path,
        ) from error
    return values, str(found["photometric_interpretation"])


def _decode_apart(path: Path) -> tuple[np.ndarray, str]:
    """Decode by gdcm in a process of its own, as a damaged file can make gdcm abort the process that it runs in.

    Raises SubprocessError where it does, or finds no pixels.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "pixels.npz"
        command = [sys.executable, "-c", _APART, str(path.absolute()), str(target)]
        subprocess.run(command, check=True, capture_output=True, timeout=_APART_SECONDS)
        with np.load(target) as found:
            return found["values"], str(found["kind"])


def _transfer_syntax(dataset: Dataset) -> UID:
    """The transfer syntax; where the file has no header to name it, the uncompressed one that it could be read by."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset.file_meta.TransferSyntaxUID


def _no_decoder(syntax: UID) -> str:
    from pydicom.pixels.decoders.gdcm import DECODER_DEPENDENCIES

    help_ = "run `pip install landmark_diffusion[dicom-codecs]`, or export it uncompressed"
    if syntax not in DECODER_DEPENDENCIES:
        help_ = "export the image uncompressed or as JPEG 2000"
    return f"the pixels are compressed as {_named(syntax)}, for which no decoder is installed; {help_}"


def _named(syntax: UID) -> str:
    return one_line(f"{syntax.name} ({syntax})")


def _grey_table(dataset: Dataset, inverted: bool, notes: list[str]) -> tuple[int, np.ndarray]:
    """Return the lowest value that the stored bits hold, and the grey (uint8) of it and of each value above it."""
    bits = int(dataset.BitsStored)
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    values, depth = _modality(dataset, np.arange(lowest, lowest + 2**bits), notes)
    span = (values.min(), values.max()) if depth is None else (0, 2**depth - 1)
    shown = _values_of_interest(dataset, values, span, notes).clip(0, 1)
    return lowest, np.floor((1 - shown if inverted else shown) * 255 + 0.5).astype(np.uint8)


def _modality(dataset: Dataset, stored: np.ndarray, notes: list[str]) -> tuple[np.ndarray, int | None]:
    """Apply the modality LUT, and tell its depth, or the rescale (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(dataset.ModalityLUTSequence[0], stored)
    slope, intercept = (_numbers(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    line = [*(slope or [1.0]), *(intercept or [0.0])]
    if len(line) != 2 or not np.isfinite(line).all() or line[0] == 0:
        notes.append("The rescale in the file is no slope and intercept; it was passed over.")
        line = [1.0, 0.0]
    return stored * line[0] + line[1], None


def _values_of_interest(
    dataset: Dataset, values: np.ndarray, span: tuple[float, float], notes: list[str]
) -> np.ndarray:
    """Map values to 0 (black) to 1 (white) by VOI LUT or window (PS3.3 C.11.2), else by their span."""
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_windowing

    if dataset.get("VOILUTSequence"):
        if len(dataset.VOILUTSequence) > 1 or _numbers(dataset, "WindowWidth"):
            notes.append("The file has several VOI LUTs or windows; the first LUT was used.")
        entries, depth = _looked_up(dataset.VOILUTSequence[0], np.rint(values).astype(np.int64))
        return entries / (2**depth - 1)
    window = _window(dataset, notes)
    if window is None:
        return (values - span[0]) / (span[1] - span[0])
    view = Dataset()  # of one bit, so that pydicom maps the window to 0 and 1, whatever the rescale
    view.PhotometricInterpretation, view.BitsStored, view.PixelRepresentation = "MONOCHROME2", 1, 0
    view.WindowCenter, view.WindowWidth, view.VOILUTFunction = window
    return apply_windowing(values, view)


def _window(dataset: Dataset, notes: list[str]) -> tuple[float, float, str] | None:
    """Return center, width and function of the first window that can be used; None without one."""
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if centers is None and widths is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    least = {"LINEAR": 1.0, "LINEAR_EXACT": 1e-9, "SIGMOID": 1e-9}.get(function, np.inf)
    pairs = zip(centers or [], widths or [], strict=False)
    usable = [(c, w) for c, w in pairs if np.isfinite(c) and least <= w < np.inf]
    if not usable:
        notes.append("The window in the file is not valid; the full range of the stored bits was shown instead.")
        return None
    center, width = usable[0]
    if len(centers or []) > 1:
        notes.append(f"The file has {len(centers or [])} windows; center {center:g} and width {width:g} were used.")
    return center, width, function


def _looked_up(item: Dataset, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Look whole numbers up in a LUT item and tell its depth in bits (PS3.3 C.11.1.1); ValueError if it is malformed.

    Not by pydicom 3.0.2, which cuts the index to the 8 bits of an 8-bit LUT before it limits it to the LUT's length.
    """
    count, first, depth = (int(number) for number in item.LUTDescriptor)
    count = count % 65536 or 65536  # 0 stands for 65536, which does not fit
    entries = item.LUTData
    if isinstance(entries, bytes):
        wide = "<u2" if item.original_encoding[1] is not False else ">u2"
        entries = np.frombuffer(entries[: 2 * count], np.uint8 if len(entries) < 2 * count else wide)
    entries = np.atleast_1d(np.asarray(entries))[:count]
    if len(entries) < count or not 8 <= depth <= 16 or entries.max() >= 2**depth:
        raise ValueError("a lookup table does not hold what its LUTDescriptor says")
    return entries[np.clip(values - first, 0, count - 1)], depth

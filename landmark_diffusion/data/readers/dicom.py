"""Reading a DICOM radiograph: its pixels as 8-bit grey by the rule of ``image_io``, and its spacing.

Stored values go the way that DICOM PS3.4 N.2 draws: modality LUT or rescale, then VOI LUT or window, then MONOCHROME1
is turned, all in floats and rounded once. Without a window the full range of the stored bits is shown, never the range
that the image happens to have; where the file says all 16 bits of a pixel, which most programs write whatever the
detector has, as many as the values need by the rule of ``image_io``; and never more than the compressed pixels say.
Presentation LUT Shape is passed over: for radiographs it repeats what MONOCHROME1 says.
"""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.readers.dicom_grey import to_levels
from landmark_diffusion.data.readers.dicom_luts import read_palette
from landmark_diffusion.data.readers.dicom_spacing import Spacing, numbers, read_spacing
from landmark_diffusion.data.readers.image_io import GreyLevels, check_file, check_size, depth_of, luminance_to_8_bit
from landmark_diffusion.data.readers.image_kinds import codestream_depth

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""File names that DICOM files have, in lower case; many have none."""

MOST_INFLATED = 256 * 2**20
"""Bytes of a deflated file once it is inflated: an image of the most pixels that are read, in 16 bits, and to spare."""

# How a file without the preamble begins: group 2 or 8, in little endian, or group 8 in big endian.
_BEGINNINGS = (b"\x02\x00\x00\x00", b"\x02\x00\x01\x00", b"\x08\x00", b"\x00\x08\x00")

_APART = """
import sys, warnings
try:
    import resource
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
except (ImportError, OSError, ValueError):
    pass  # Windows has no such limit, macOS does not keep to it
import numpy
from pydicom import dcmread
from pydicom.pixels import get_decoder
warnings.simplefilter("ignore")
dataset = dcmread(sys.argv[1], force=True)
decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
values, found = decoder.as_array(dataset, decoding_plugin="gdcm", correct_unused_bits=False)
numpy.savez(sys.argv[2], values=values, kind=found["photometric_interpretation"])
"""
_APART_SECONDS = 120
_APART_BASE, _APART_FACTOR = 2**30, 12
"""Bytes of address space for gdcm's process, and how many more for each byte of pixels (4 for each of the file).

Measured with gdcm 3.2.6 on noise of 64x64 to 9000x9000 px, in lossless JPEG and JPEG-LS: 0.2 GiB and up to 9.4 bytes a
byte, the file included. Without, 8 kB of JPEG-LS that claim 30,000 x 30,000 px take 1.8 GB.
"""
_APART_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Environment of it: each thread takes address space, and a machine of many cores would start many."""


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
    with _named_faults(path), _undisturbed():
        dataset = pydicom.dcmread(path, force=True)
        _check_image(dataset, path, "PixelData" in dataset)
        levels = _read_levels(dataset, path, notes)
        return levels.grey, levels.bits, read_spacing(dataset, notes), tuple(notes)


def read_dicom_levels(path: Path) -> tuple[GreyLevels, Spacing]:
    """Read a DICOM file as ``read_dicom`` does, with all of its values; raises the same."""
    import pydicom

    with _named_faults(path), _undisturbed():
        dataset = pydicom.dcmread(path, force=True)
        _check_image(dataset, path, "PixelData" in dataset)
        return _read_levels(dataset, path, []), read_spacing(dataset, [])


class DicomHeader(NamedTuple):
    """What a DICOM file says before its pixels: (width, height), where its mm hold, and whose image it is."""

    size: tuple[int, int]
    spacing: Spacing
    patient: tuple[str, str]
    """Patient ID and its issuer as written; they are for comparing alone, and are shown or written nowhere."""


def read_dicom_header(path: Path) -> DicomHeader:
    """Read a DICOM file up to its pixels, which are not decoded; raises DataError as ``read_dicom`` does."""
    with _named_faults(path), _undisturbed():
        dataset = read_dicom_elements(path)
        if "Rows" not in dataset or "Columns" not in dataset:
            raise DataError("the DICOM file does not say its size (Rows, Columns); export it again", path)
        patient = (_identifier(dataset, "PatientID"), _identifier(dataset, "IssuerOfPatientID"))
        return DicomHeader((int(dataset.Columns), int(dataset.Rows)), read_spacing(dataset, []), patient)


def read_dicom_elements(path: Path) -> Dataset:
    """Read the elements of a DICOM image before its pixels; raises DataError as ``read_dicom`` does."""
    from pydicom.filereader import read_partial

    reached: list[bool] = []

    def at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
        if tag in _PIXELS:
            reached.append(tag == _PIXELS[-1])
            return True
        return False

    with _named_faults(path), _undisturbed(), path.open("rb") as file:
        dataset = read_partial(file, at_pixels, force=True)
        _check_image(dataset, path, any(reached))
        return dataset


_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float, double and whole-number pixels; the last are those that are read."""


def _identifier(dataset: Dataset, keyword: str) -> str:
    """An element's text; nothing where it is absent or cannot be read, as it says nothing then."""
    try:
        return " ".join(str(dataset.get(keyword) or "").split())
    except Exception:  # whatever pydicom makes of bytes that are not of the element's kind
        return ""


@contextmanager
def _named_faults(path: Path) -> Iterator[None]:
    """Turn what pydicom raises into a DataError with the file."""
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise DataError("there is not enough memory to decode the image", path) from None
    except Exception as error:  # a damaged file makes pydicom raise nearly anything
        raise DataError(f"the DICOM file cannot be read ({one_line(error)}); copy or export it again", path) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep pydicom from reporting each odd element (what matters is noted or raised), and Pillow strict.

    pydicom inflates a file of Deflated Explicit VR Little Endian in one piece, without a limit: 1 MB of it fills 1 GB.
    What it calls for that is exchanged, as only its own reader knows where such a file's deflated part begins.
    """
    from pydicom import filereader

    logger = logging.getLogger("pydicom")
    level, lenient = logger.level, ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        logger.setLevel(logging.CRITICAL + 1)
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # as in image_io
        filereader.zlib = SimpleNamespace(decompress=_inflate, MAX_WBITS=zlib.MAX_WBITS)  # type: ignore[assignment]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        filereader.zlib = zlib
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
        logger.setLevel(level)


def _inflate(content: bytes, wbits: int) -> bytes:
    """Do what zlib.decompress does, up to ``MOST_INFLATED``; raises ValueError for more."""
    inflater = zlib.decompressobj(wbits)
    found = inflater.decompress(content, MOST_INFLATED)
    if inflater.unconsumed_tail:
        raise ValueError(f"it claims to be larger than {MOST_INFLATED} bytes once it is inflated")
    if not inflater.eof:
        raise zlib.error("the deflated part is cut short")
    return found


def _check_image(dataset: Dataset, path: Path, has_pixels: bool) -> None:
    """Raise DataError for what is no single image of a size that is read; what says too little is let through."""
    frames = numbers(dataset, "NumberOfFrames", []) or [1]
    if frames != [1]:
        raise DataError(f"found {frames[0]:g} frames, expected one image", path)
    if not has_pixels:
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


def _read_levels(dataset: Dataset, path: Path, notes: list[str]) -> GreyLevels:
    """Decode the pixels as values and the grey of each; colour is its luminance in 8 bits."""
    from pydicom.uid import JPEGTransferSyntaxes

    syntax, bits = _transfer_syntax(dataset), int(dataset.get("BitsStored") or 0)  # 0: the decoder says it
    depth = _stream_depth(dataset)
    if depth is not None and depth < bits:
        notes.append(f"The file says {bits} bits, its compressed pixels {depth}; they were read as {depth} bits.")
        bits = depth
        if depth == 8 and syntax in JPEGTransferSyntaxes:  # pydicom expects as many bytes as the file says
            dataset.BitsAllocated, dataset.BitsStored = 8, 8
    values, kind = _decode(dataset, path, notes)
    if bits > 16:
        raise DataError(f"found {bits} bits a pixel, expected at most 16", path)
    values = _within(values, bits, dataset, path, notes)
    if kind == "PALETTE COLOR":
        (values, bits), kind = read_palette(dataset, values, notes), "RGB"
    elif kind == "RGB" and bits == 16:
        bits = depth_of(int(values.max()))
    if values.ndim != 2 + (kind == "RGB"):
        raise DataError(f"found pixels of shape {values.shape}, expected one image", path)
    if kind == "RGB":
        return GreyLevels.of_grey(luminance_to_8_bit(values, bits), bits)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"found PhotometricInterpretation {one_line(kind)}, expected grey, RGB, YBR or palette", path)
    return to_levels(dataset, values, bits, kind == "MONOCHROME1", notes)


def _stream_depth(dataset: Dataset) -> int | None:
    """The depth that the compressed pixels state themselves; None for those that state none."""
    from pydicom.encaps import get_frame

    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return None
    try:
        return codestream_depth(get_frame(dataset.PixelData, 0, number_of_frames=1))
    except (ValueError, TypeError, struct.error):  # what is damaged is told by who decodes it
        return None


def _within(values: np.ndarray, bits: int, dataset: Dataset, path: Path, notes: list[str]) -> np.ndarray:
    """Leave out the bits above those stored (PS3.5 8.1.1), which older files use for overlays.

    They are noted where no overlay is said to be there. Raises DataError where the picture is smoother with them than
    without: then they are its own, BitsStored is wrong, and values without them would start anew within the picture.
    """
    signed = bool(dataset.PixelRepresentation)
    if -(2 ** (bits - 1)) * signed <= values.min() and values.max() < 2 ** (bits - signed):
        return values
    whole = values.astype(np.int32)
    kept = (whole << (32 - bits)) >> (32 - bits) if signed else whole & (2**bits - 1)
    above = (whole != kept) & ((whole >> bits) != 0)
    if not above.any():
        return kept
    if _roughness(whole) < _roughness(kept):
        raise DataError(
            f"found values from {whole.min()} to {whole.max()} in pixels of BitsStored {bits}, expected {bits} bits; "
            "export it again",
            path,
        )
    if not any(tag >> 24 == 0x60 and tag & 0xFFFF == 0x0102 for tag in map(int, dataset.keys())):  # OverlayBitPosition
        share = 100 * above.mean()
        notes.append(f"Bits above the {bits} that the file says are set in {share:.2g} % of the pixels; left out.")
    return kept


def _roughness(values: np.ndarray) -> float:
    """Mean difference of pixels that lie side by side."""
    return float(np.abs(np.diff(values, axis=1)).mean()) if values.shape[1] > 1 else 0.0


def _decode(dataset: Dataset, path: Path, notes: list[str]) -> tuple[np.ndarray, str]:
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
            return _decode_apart(path, _stated_bytes(dataset))
        options: Any = {"decoding_plugin": plugin, "allow_excess_frames": False}  # pydicom types them wrongly
        options["correct_unused_bits"] = False  # it leaves them where the pixels are compressed: see _within
        values, found = decoder.as_array(dataset, **options)
    except (RuntimeError, subprocess.SubprocessError) as error:  # what decoders say speaks of their own code
        raise DataError(
            f"the pixels, compressed as {_named(syntax)}, cannot be decoded: the file is damaged, or of a kind that no "
            "installed decoder reads; copy it again, or export it uncompressed",
            path,
        ) from error
    if not syntax.is_encapsulated:
        _check_length(dataset, path, notes)
    return values, str(found["photometric_interpretation"])


def _stated_bytes(dataset: Dataset) -> int:
    """Bytes of the pixels by what the file states of their number and depth."""
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        pixels = pixels * 2 // 3
    return (pixels * int(dataset.BitsAllocated) + 7) // 8


def _check_length(dataset: Dataset, path: Path, notes: list[str]) -> None:
    """Refuse uncompressed pixels that go on behind the last row; zeros there are padding, which is noted.

    PS3.5 8.1.1 allows one byte, to an even length. pydicom passes over all that is more, with a warning, as there are
    devices that pad; but values there mean that Rows or Columns are wrong, and then so is the picture.
    """
    stated = _stated_bytes(dataset)
    more = memoryview(dataset.PixelData)[stated + stated % 2 :]
    if not more:
        return
    if np.frombuffer(more, np.uint8).any():
        raise DataError(
            f"found {len(dataset.PixelData)} bytes of pixels, expected one image of {stated} bytes "
            f"({dataset.Columns}x{dataset.Rows} px): the stated size is wrong, or there is more than one; export it "
            "again",
            path,
        )
    notes.append(f"The file holds {len(more)} zero bytes behind its pixels, which were left out.")


def _decode_apart(path: Path, stated: int) -> tuple[np.ndarray, str]:
    """Decode by gdcm in a process of its own, as a damaged file can make gdcm abort the process that it runs in.

    ``stated`` are the bytes of the pixels, from which the process's memory follows. Raises SubprocessError where it
    aborts, takes more, or finds no pixels.
    """
    most = _APART_BASE + _APART_FACTOR * stated + 4 * path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "pixels.npz"
        command = [sys.executable, "-c", _APART, str(path.absolute()), str(target), str(most)]
        environment = {**os.environ, **_APART_THREADS}
        subprocess.run(command, check=True, capture_output=True, timeout=_APART_SECONDS, env=environment)
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

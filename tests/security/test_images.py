"""Images that are small on disk and would fill the memory, or the day: refused by name, or read without either."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers import dicom
from landmark_diffusion.data.readers.image_io import read_grey, read_header
from landmark_diffusion.data.readers.radiograph import read_radiograph
from tests.detection.bad_inputs import LEVELS, encoded, gdcm_compress, png_of_size, write_dicom

SIDE = 60_000
PAGES = 20_000
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
MEMORY = 400 * 2**20
"""Bytes that a process may take for one of them, the program's own included: each would fill 3.6 GB."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_with(*chunks: bytes) -> bytes:
    plain = encoded(GREY, "PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]  # behind IHDR


def _zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def _tiff(width: int, height: int, pages: int = 1) -> bytes:
    """A TIFF with ``pages`` directories and 16 bytes of pixels."""
    tag = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 278: height, 279: 16}
    size, start = 2 + 12 * len(tag) + 4, 24
    entries = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in tag.items())
    pieces = []
    for page in range(1, pages + 1):
        after = start + page * size if page < pages else 0
        pieces.append(struct.pack("<H", len(tag)) + entries + struct.pack("<I", after))
    return b"II*\0" + struct.pack("<I", start) + bytes(16) + b"".join(pieces)


def _bmp(compression: int) -> bytes:
    fields = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + fields


def _gif(side: int, frames: int) -> bytes:
    plain = bytearray(encoded(GREY, "GIF"))
    plain[6:10] = struct.pack("<HH", side, side)
    frame = b"\x21\xf9\x04\0\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 4, 4, 0) + b"\x02\x03\x84\x8f\x05\0"
    return bytes(plain[:-1]) + frame * (frames - 1) + b";"


def _jpeg() -> bytes:
    plain = encoded(GREY, "JPEG")
    place = plain.index(b"\xff\xc0") + 5
    return plain[:place] + struct.pack(">HH", SIDE, SIDE) + plain[place + 4 :]


LARGE, TEXT, PAGED = "claims to be larger", "too large|too much memory", "found 2 pages or frames, or more"
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "size.png": (lambda: png_of_size(SIDE, SIDE), LARGE),
    "size.tif": (lambda: _tiff(SIDE, SIDE), LARGE),
    "size.bmp": (lambda: _bmp(0), LARGE),
    "rle.bmp": (lambda: _bmp(1), LARGE),
    "size.gif": (lambda: _gif(SIDE, 1), LARGE),
    "size.jpg": (_jpeg, LARGE),
    "size.ppm.png": (lambda: b"P5\n60000 60000\n255\n", LARGE),
    "size.jp2.png": (
        lambda: encoded(GREY, "JPEG2000").replace(struct.pack(">II", 8, 8), struct.pack(">II", SIDE, SIDE)), LARGE,
    ),
    "text.png": (lambda: _png_with(_chunk(b"zTXt", b"a\0\0" + _zeros(10**8))), TEXT),
    "unicode.png": (lambda: _png_with(_chunk(b"iTXt", b"a\0\1\0\0\0" + _zeros(10**8))), TEXT),
    "profile.png": (lambda: _png_with(_chunk(b"iCCP", b"a\0\0" + _zeros(10**8))), TEXT),
    "texts.png": (lambda: _png_with(*[_chunk(b"zTXt", b"a\0\0" + _zeros(10**6))] * 100), TEXT),
    "pages.tif": (lambda: _tiff(4, 4, PAGES), PAGED),
    "frames.gif": (lambda: _gif(8, PAGES), PAGED),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_images_that_claim_too_much_are_refused_by_name(name: str, tmp_path: Path) -> None:
    make, says = BOMBS[name]
    (tmp_path / name).write_bytes(make())
    for read in (read_header, read_radiograph):
        with pytest.raises(DataError, match=f"(?i){says}") as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


LIMITED = """
import resource, sys
import landmark_diffusion.data.readers.radiograph as radiograph, landmark_diffusion.data.readers.dicom, pydicom
from pathlib import Path
from landmark_diffusion.core.errors import UserError
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for name in sys.argv[2:]:
    try:
        radiograph.read_radiograph(Path(name))
    except UserError as error:
        print(error)
status = Path("/proc/self/status").read_text()  # getrusage would count what the process that started this one had
used = int(status.split("VmHWM:")[1].split()[0]) * 1024
assert used < int(sys.argv[1]), used
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured by Linux")
def test_all_of_them_together_take_little_memory_and_time(tmp_path: Path) -> None:
    """In a process of its own, which the system ends after a minute of work: they were minutes for 100,000 pages."""
    for name, (make, _) in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    (tmp_path / "pages.tif").write_bytes(_tiff(4, 4, 100_000))
    line = [sys.executable, "-c", LIMITED, str(MEMORY), *(str(tmp_path / name) for name in BOMBS)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(BOMBS)


def test_pixels_beyond_the_stated_size_are_never_inflated(tmp_path: Path) -> None:
    """100 MB behind 64 pixels: what the header states is read, and no more."""
    more, path = _zeros(10**8), tmp_path / "x.png"
    path.write_bytes(encoded(GREY, "PNG")[:33] + _chunk(b"IDAT", more) + _chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"x\.png: 99 % of the pixels or more have the grey 0"):  # of the 64, all black
        read_radiograph(path)
    assert read_grey(path).shape == (8, 8)


def _deflated(path: Path, more: int) -> Path:
    """A whole deflated DICOM file, and behind its pixels an element of ``more`` zeros."""
    write_dicom(path, LEVELS, DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 132 + 12 + read_file_meta_info(path).FileMetaInformationGroupLength
    inner = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    padding = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, more) + bytes(more)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(content[:start] + deflater.compress(inner + padding) + deflater.flush())
    return path


def test_a_deflated_dicom_file_is_inflated_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _deflated(tmp_path / "x.dcm", 10**6)
    assert np.array_equal(read_radiograph(path).grey, LEVELS)
    monkeypatch.setattr(dicom, "MOST_INFLATED", 10**5)
    with pytest.raises(DataError, match=r"x\.dcm: .*larger than 100000 bytes once it is inflated"):
        read_radiograph(path)
    from pydicom import filereader

    assert filereader.zlib is zlib  # type: ignore[attr-defined]  # other users of pydicom in the program have their own


@pytest.mark.parametrize("cut", [1, 20])
def test_a_deflated_dicom_file_that_is_cut_is_refused(cut: int, tmp_path: Path) -> None:
    path = _deflated(tmp_path / "x.dcm", 2)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"x\.dcm: the DICOM file cannot be read"):
        read_radiograph(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_dicom_of_60000_rows_and_columns_is_refused(syntax: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", LEVELS, syntax, Rows=SIDE, Columns=SIDE)
    with pytest.raises(DataError, match=r"x\.dcm: .*claims to be larger"):
        read_radiograph(path)


def test_a_picture_within_dicom_that_claims_more_than_its_file_is_refused(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    path = write_dicom(tmp_path / "x.dcm", GREY, JPEGBaseline8Bit, PixelData=encapsulate([_jpeg()]))
    with pytest.raises(DataError, match=r"x\.dcm: "):
        read_radiograph(path)


MEASURED = """
import resource, sys
from pathlib import Path
from landmark_diffusion.data.readers.radiograph import read_radiograph
from landmark_diffusion.core.errors import DataError
try:
    read_radiograph(Path(sys.argv[1]))
except DataError as error:
    print(error)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
assert used < int(sys.argv[2]), used
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no limit of the address space")
def test_a_decoder_in_a_process_of_its_own_takes_memory_by_the_stated_size(tmp_path: Path) -> None:
    """8 kB of JPEG-LS for 64 x 64 px, whose own head claims 30,000 x 30,000: gdcm would take 1.8 GB."""
    pytest.importorskip("gdcm", reason="pip install landmark_diffusion[dicom-codecs]")
    plain = write_dicom(tmp_path / "plain.dcm", np.arange(4096, dtype=np.uint16).reshape(64, 64), BitsStored=12)
    path = gdcm_compress(plain, tmp_path / "x.dcm", "JPEGLSLossless")
    assert read_radiograph(path).grey.shape == (64, 64)
    content = path.read_bytes()
    place = content.index(b"\xff\xf7") + 5
    path.write_bytes(content[:place] + struct.pack(">HH", 30_000, 30_000) + content[place + 4 :])
    line = [sys.executable, "-c", MEASURED, str(path), str(MEMORY)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "x.dcm: the pixels" in done.stdout and "cannot be decoded" in done.stdout


def test_one_page_is_still_read(tmp_path: Path) -> None:
    """Looking for a second page must not disturb the first, whatever the compression."""
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(GREY).save(tmp_path / "x.tif", compression=compression)
        assert np.array_equal(read_radiograph(tmp_path / "x.tif").grey, GREY)
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "GIF")
    (tmp_path / "x.gif").write_bytes(buffer.getvalue())
    assert read_radiograph(tmp_path / "x.gif").grey.shape == (8, 8)

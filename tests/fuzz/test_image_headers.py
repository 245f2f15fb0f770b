"""Image headers: the size is the one in the file and the pixels have it, or the file is refused by name."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.data.cache import HEADERS, default_folder
from landmark_diffusion.data.headers import read_headers
from landmark_diffusion.data.readers.image_io import read_grey, read_header
from tests.fuzz.harness import inputs, judge
from tests.fuzz.strategies import spoilt_bytes

LEVELS = np.add.outer(np.arange(9) * 20, np.arange(13) * 4).astype(np.uint8)
FORMS = ("PNG", "JPEG", "BMP", "TIFF", "PNG16", "TIFF16", "PNG48", "TIFF LZW", "PNG palette")


def written(form: str) -> bytes:
    """LEVELS in one of the forms."""
    image = Image.fromarray(LEVELS.astype(np.uint16) * 257 if form.endswith("16") else LEVELS)
    if form == "PNG48":
        import cv2

        return cv2.imencode(".png", np.repeat(LEVELS[..., None].astype(np.uint16) * 257, 3, -1))[1].tobytes()
    if form == "PNG palette":
        image = image.convert("P")
    options = {"compression": "tiff_lzw"} if form == "TIFF LZW" else {}
    buffer = io.BytesIO()
    image.save(buffer, form.split()[0].removesuffix("16"), **options)
    return buffer.getvalue()


WRITTEN = {form: written(form) for form in FORMS}


def size_in(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the layouts of PNG, BMP, JPEG and TIFF; None for what is none of them."""
    if data.startswith(b"\x89PNG"):
        return struct.unpack(">II", data[16:24])  # type: ignore[return-value]
    if data.startswith(b"BM"):
        short = int.from_bytes(data[14:18], "little") == 12
        width, height = struct.unpack("<HH" if short else "<ii", data[18 : 22 if short else 26])
        return width, abs(height)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _size_in_tiff(data, "<" if data[:1] == b"I" else ">")
    if data.startswith(b"\xff\xd8"):
        return _size_in_jpeg(data)
    return None


def _size_in_tiff(data: bytes, order: str) -> tuple[int, int] | None:
    (place,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[place : place + 2])
    found = {}
    for start in range(place + 2, min(place + 2 + 12 * count, len(data) - 12), 12):
        tag, kind, numbers = struct.unpack(order + "HHI", data[start : start + 8])
        if tag in (256, 257):
            width = {1: 1, 3: 2, 4: 4}.get(kind)
            if width is None or numbers != 1 or tag in found:
                return None  # a kind of number that no writer uses for a size, or two of them
            found[tag] = int.from_bytes(data[start + 8 : start + 8 + width], "little" if order == "<" else "big")
    return found.get(256, 0), found.get(257, 0)


def _size_in_jpeg(data: bytes) -> tuple[int, int] | None:
    """The size in the first frame's header, found as decoders do: what is no marker is passed over."""
    place = 2
    while place < len(data) - 8:
        kind = data[place + 1]
        if data[place] != 0xFF or kind in (0x00, 0xFF):
            place += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        else:
            alone = kind == 0x01 or 0xD0 <= kind <= 0xD8
            place += 2 + (0 if alone else int.from_bytes(data[place + 2 : place + 4], "big"))
    return None


def with_size(form: str, width: int, height: int) -> bytes:
    """A file whose header is whole and says another size than the pixels have (checksum included)."""
    data = bytearray(WRITTEN[form])
    if form.startswith("PNG"):
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif form == "BMP":
        data[18:26] = struct.pack("<II", width, height)
    elif form == "JPEG":
        place = data.find(b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", height % 65536, width % 65536)
    else:
        (place,) = struct.unpack("<I", data[4:8])
        for start in range(place + 2, len(data) - 12, 12):
            for tag, value in ((b"\x00\x01", width), (b"\x01\x01", height)):
                if data[start : start + 2] == tag:
                    data[start : start + 12] = tag + struct.pack("<HII", 4, 1, value)
    return bytes(data)


SIDES = st.sampled_from((0, 1, 9, 12, 13, 14, 200, 5000, 60000, 65535, 2**31 - 1, 2**31, 2**32 - 1))


@st.composite
def image_files(draw: st.DrawFn) -> bytes:
    form = draw(st.sampled_from(FORMS))
    what = draw(st.sampled_from(("whole", "size", "head", "head", "head", "anywhere", "anywhere")))
    if what == "whole":
        return WRITTEN[form]
    if what == "size":
        return with_size(form, draw(SIDES), draw(SIDES))
    return draw(spoilt_bytes(WRITTEN[form], head=64 if what == "head" else None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@inputs(120, 2500)
@given(data=image_files(), suffix=st.sampled_from(("png", "jpg", "bmp", "tif")))
def test_no_image_has_another_size_than_its_header(folder: Path, data: bytes, suffix: str) -> None:
    path = folder / f"x.{suffix}"
    path.write_bytes(data)
    size = judge("images: header", lambda: read_header(path), path)
    grey = judge("images: pixels", lambda: read_grey(path), path)
    if data in WRITTEN.values():
        assert size == (13, 9) and grey is not None
    if size is not None and (said := size_in(data + bytes(16))) is not None:
        assert size == said and min(size) > 0
    if grey is not None:
        assert grey.dtype == np.uint8 and grey.shape[::-1] == size


STORES = (
    "[" * 100_000, "{", "", "null", '{"version": 1}', '{"version": 1, "headers": []}', '{"version": [], "headers": {}}',
)  # fmt: skip
KEPT = st.sampled_from((None, -1, 0, 7, 13, True, 1.5, "9", [], 10**30))


@inputs(30, 300)
@given(
    entries=st.dictionaries(st.sampled_from(("a.png", "b.png")), st.lists(KEPT, max_size=6)),
    raw=st.sampled_from((None, None, None, *STORES)),
)
def test_a_damaged_store_of_headers_is_no_fault(folder: Path, entries: dict[str, list], raw: str | None) -> None:
    root = folder / "root"
    root.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        (root / name).write_bytes(WRITTEN["PNG"])
    paths = sorted(root.iterdir())
    read_headers(paths, root)
    (store,) = (default_folder() / HEADERS).iterdir()
    headers = {}
    for path in paths:
        stat = path.stat()
        entry = entries.get(path.name)
        headers[str(path.absolute())] = [stat.st_size, stat.st_mtime_ns, *entry] if entry is not None else "x"
    store.write_text(raw if raw is not None else json.dumps({"version": 2, "salt": "0" * 32, "headers": headers}))
    found = judge("images: kept headers", lambda: read_headers(paths, root), root)
    assert found is not None and not found[1]
    for path, header in found[0].items():
        kept = entries.get(path.name)
        believable = (
            kept is not None and len(kept) in (2, 6) and all(type(v) is int and 0 < v < 2**31 for v in kept[:2])
        )
        assert header.size == (13, 9) or (raw is None and believable)
        assert header.spacing is None or all(0 < side < float("inf") for side in header.spacing)
    store.unlink()

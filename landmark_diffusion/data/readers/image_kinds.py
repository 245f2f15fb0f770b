"""Kinds of TIFF, JPEG and JPEG 2000 by their headers: how deep they are, and what no decoder here reads right.

What Pillow and OpenCV make of each layout was compared with tifffile and imagecodecs
(``tests/data/test_image_layouts.py``). A layout that they read wrongly, or that could not be compared, is refused by
its name, as a wrong grey looks like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SAVE_GREY = "save it as 8 or 16-bit grey without compression"

_TAGS = {
    258: "bits", 259: "compression", 262: "photometric", 266: "fill_order", 277: "samples", 284: "planar",
    317: "predictor", 338: "extra", 339: "formats",
}  # fmt: skip
"""TIFF 6.0, section 8."""
_WIDTHS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of whole numbers, 16 of BigTIFF
_MOST_ENTRIES = 1000
_PLAIN = 1
_COMPARED = {
    _PLAIN: "", 2: "CCITT", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", 7: "JPEG", 8: "Deflate", 32773: "PackBits",
    32946: "Deflate", 34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
"""Compressions that were compared with another reader."""
_PREDICTED = (5, 8, 32946, 34925, 50000)
_PHOTOMETRIC = {0: "0 is white", 1: "", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
_FORMATS = {1: "", 2: "signed", 3: "float", 4: "undefined", 5: "complex", 6: "complex"}


@dataclass(frozen=True)
class TiffKind:
    """How a TIFF holds its samples: the tags of TIFF 6.0, with their defaults."""

    big_endian: bool
    big_tiff: bool
    bits: tuple[int, ...] = (1,)
    compression: tuple[int, ...] = (1,)
    photometric: tuple[int, ...] = ()
    fill_order: tuple[int, ...] = (1,)
    samples: tuple[int, ...] = (1,)
    planar: tuple[int, ...] = (1,)
    predictor: tuple[int, ...] = (1,)
    extra: tuple[int, ...] = ()
    formats: tuple[int, ...] = (1,)

    def is_read(self) -> bool:
        """Whether what Pillow and OpenCV decode of this kind is what the file holds."""
        bits, compression, photometric = max(self.bits), self.compression[0], self.photometric[:1]
        planes = self.planar[0] == 2 and self.samples[0] > 1
        return not (
            photometric not in ((0,), (1,), (2,), (3,), (5,), (6,))  # without it 0 may be black or white
            or compression not in _COMPARED
            or (photometric == (6,) and compression != 7)
            or (planes and (bits > 8 or photometric != (2,) or self.extra not in ((), (2,))))
            # Pillow 13.0 takes libtiff's numbers, of the machine's order, for those of the file.
            or (self.big_endian and compression != _PLAIN and (bits == 32 or (bits == 16 and self.formats[0] == 2)))
            or (bits == 12 and compression != _PLAIN)
            or (self.predictor[0] != 1 and compression not in _PREDICTED)  # libtiff passes it over, tifffile does not
            or (bits > 8 and self.fill_order[0] == 2)
            or (bits > 8 and self.samples[0] > 1 and compression in (34925, 50000))  # which OpenCV has not
        )

    def __str__(self) -> str:
        """Name what is not the plainest."""
        compression, photometric = self.compression[0], self.photometric[:1]
        parts = [
            "/".join(map(str, sorted(set(self.bits)))) + " bits",
            _FORMATS.get(self.formats[0], f"sample format {self.formats[0]}"),
            _PHOTOMETRIC.get(photometric[0], f"photometric interpretation {photometric[0]}")
            if photometric
            else "no photometric interpretation",
            f"{self.samples[0]} samples a pixel" if self.samples[0] > 1 else "",
            "planar configuration 2" if self.planar[0] == 2 else "",
            "premultiplied alpha" if 1 in self.extra else "",
            "fill order 2" if self.fill_order[0] == 2 else "",
            f"predictor {self.predictor[0]}" if self.predictor[0] != 1 else "",
            "big-endian" if self.big_endian else "",
            "BigTIFF" if self.big_tiff else "",
            _COMPARED.get(compression, f"compression {compression}"),
        ]
        return ", ".join(part for part in parts if part)

    def refusal(self) -> str:
        """Say that this kind is not read, and what to do."""
        return f"found a TIFF of a kind that is not read ({self}); {SAVE_GREY}"


def tiff_kind(path: Path) -> TiffKind | None:
    """Read the first page's kind; None where the file is no TIFF, or its head is damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
            order = {b"II": "<", b"MM": ">"}[head[:2]]
            big = {42: False, 43: True}[struct.unpack(order + "H", head[2:4])[0]]
            file.seek(*struct.unpack(order + ("Q" if big else "I"), head[8:] if big else head[4:8]))
            return TiffKind(order == ">", big, **dict(_entries(file, order, big)))
    except (OSError, OverflowError, KeyError, ValueError, struct.error):
        return None


def _entries(file: BinaryIO, order: str, big: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Those entries of a directory that tell the kind, by name; what is no whole number is passed over."""
    counter, layout, pointer = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    head, width = struct.calcsize("<" + layout), struct.calcsize("<" + layout + pointer)
    (count,) = struct.unpack(order + counter, file.read(struct.calcsize("<" + counter)))
    entries = file.read(width * min(count, _MOST_ENTRIES))
    for start in range(0, len(entries) - width + 1, width):
        tag, kind, many = struct.unpack(order + layout, entries[start : start + head])
        if tag not in _TAGS or kind not in _WIDTHS or not 0 < many <= 16:
            continue
        form, value = f"{order}{many}{_WIDTHS[kind]}", entries[start + head : start + width]
        if struct.calcsize(form) > len(value):
            file.seek(*struct.unpack(order + pointer, value))
            value = file.read(struct.calcsize(form))
        yield _TAGS[tag], struct.unpack(form, value[: struct.calcsize(form)])


def codestream_depth(data: bytes) -> int | None:
    """Return the bits a sample that a JPEG, JPEG-LS or JPEG 2000 stream (or .jp2 file) states; None for others."""
    if data.startswith(b"\0\0\0\x0cjP  "):
        data = next((content for kind, content in _boxes(data) if kind == b"jp2c"), b"")
    if data.startswith(b"\xff\x4f\xff\x51") and len(data) > 42:
        return (data[42] & 0x7F) + 1  # Ssiz of the first component, ISO 15444-1 A.5.1
    frame = jpeg_frame(data)
    return frame[1] if frame else None


def jpeg_frame(data: bytes) -> tuple[int, int] | None:
    """Return the marker of a JPEG's frame (0xC0 to 0xCF, 0xF7 for JPEG-LS) and its bits a sample; None without one."""
    if not data.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 4 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # filling, and what has no length
            place += 1 if marker == 0xFF else 2
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return marker, data[place + 4]
        if marker == 0xDA:
            break
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def unread_kind(path: Path) -> str | None:
    """Name a TIFF or JPEG that no decoder here opens, and say what to do; None for what is neither, or damaged."""
    kind = tiff_kind(path)
    if kind is not None:
        return kind.refusal()
    with path.open("rb") as file:
        frame = jpeg_frame(file.read(2**20))
    if frame is None:
        return None
    marker, bits = frame
    name = {0xC3: "lossless", 0xF7: "JPEG-LS"}.get(marker, "arithmetic" if marker >= 0xC9 else "")
    if not name and bits == 8:
        return None  # of a kind that is read, so it is damaged
    parts = ", ".join(filter(None, [name, f"{bits} bits"]))
    return f"found a JPEG of a kind that is not read ({parts}); save it as PNG, or as JPEG with 8 bits"


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes of a .jp2 file (ISO 15444-1 annex I.4)."""
    place = 0
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        head = 8
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        end = place + length if length else len(data)
        if end < place + head:
            return
        yield kind, data[place + head : end]
        place = end

"""BMP, each byte written here by its layout: the samples are the oracle."""

from __future__ import annotations

import struct

import numpy as np

from tests.data.layouts import ALPHA, COLOUR, LEVELS, H, Layout, W, grey_of, of_depth, written

RLE8, RLE4, BITFIELDS = 1, 2, 3


def bmp(
    depth: int, rows: bytes, palette: bytes = b"", coding: int = 0, downward: bool = False, masks: bytes = b""
) -> bytes:
    """A BMP with a header of 40 bytes."""
    height = -H if downward else H
    head = struct.pack("<IiiHHIIiiII", 40, W, height, 1, depth, coding, len(rows), 0, 0, 0, 0) + masks
    place = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", place + len(rows), 0, 0, place) + head + palette + rows


def _padded(rows: list[bytes]) -> bytes:
    return b"".join(row + bytes(-len(row) % 4) for row in rows)


def _palette(greys: np.ndarray) -> bytes:
    return b"".join(bytes([grey] * 3) + b"\0" for grey in greys.tolist())


def _packed(row: np.ndarray, depth: int) -> bytes:
    bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def layouts() -> list[Layout]:
    """All of BMP."""
    made: list[Layout] = []

    def add(name: str, content: bytes, grey: np.ndarray, tolerance: int = 0) -> None:
        made.append(Layout(f"BMP {name}", written(content), lambda path: grey, tolerance=tolerance))

    for depth in (1, 4, 8):
        values = of_depth(LEVELS, depth)
        greys = np.rint(np.arange(2**depth) * (255 / (2**depth - 1))).astype(np.uint8)
        for downward in (False, True):
            rows = _padded([_packed(row, depth) for row in (values if downward else values[::-1])])
            how = " downward" * downward
            add(f"{depth}{how}", bmp(depth, rows, _palette(greys), 0, downward), greys[values])
            turned = bmp(depth, rows, _palette(greys[::-1]), 0, downward)
            add(f"{depth} light to dark{how}", turned, 255 - greys[values])
    upward = COLOUR[::-1]
    add("24", bmp(24, _padded([row[:, ::-1].tobytes() for row in upward])), grey_of(COLOUR, 8))
    for name, fourth in (("32", np.zeros_like(ALPHA)), ("32 with alpha", ALPHA)):
        add(name, bmp(32, np.dstack([upward[..., ::-1], fourth[::-1]]).tobytes()), grey_of(COLOUR, 8))
    masks = struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00)
    add("32 by masks", bmp(32, np.dstack([ALPHA[::-1] * 0, upward[..., ::-1]]).tobytes(), b"", BITFIELDS, False, masks),
        grey_of(COLOUR, 8))  # fmt: skip
    for name, bits, coding in (("16", (5, 5, 5), 0), ("16 by masks", (5, 6, 5), BITFIELDS)):
        made.append(_of_16(name, bits, coding))
    codes = {
        "RLE8": b"".join(b"".join(bytes([1, grey]) for grey in row.tolist()) + b"\0\0" for row in LEVELS[::-1]),
        "RLE8 absolute": b"".join(
            b"\0" + bytes([W]) + row.tobytes() + b"\0" * (W % 2) + b"\0\0" for row in LEVELS[::-1]
        ),
    }
    for name, code in codes.items():
        add(name, bmp(8, code + b"\0\1", _palette(np.arange(256)), RLE8), LEVELS)
    return made


def _of_16(name: str, bits: tuple[int, int, int], coding: int) -> Layout:
    """Two bytes a pixel, of which each colour has a few bits; rounding of a channel to 8 bits is not laid down."""
    red, green, blue = (COLOUR[..., n].astype(np.uint16) >> (8 - bits[n]) for n in range(3))
    words = (red << (bits[1] + bits[2])) | (green << bits[2]) | blue
    content = _padded([row.astype("<u2").tobytes() for row in words[::-1]])
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F) if coding else b""
    shown = np.stack([np.rint(c * (255 / (2**n - 1))) for c, n in zip((red, green, blue), bits, strict=True)], -1)
    return Layout(
        f"BMP {name}", written(bmp(16, content, b"", coding, False, masks)), lambda path: grey_of(shown, 8), tolerance=1
    )

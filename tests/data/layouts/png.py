"""PNG, each byte written here by its standard, and PPM: the samples are the oracle."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tests.data.layouts import ALPHA, COLOUR, LEVELS, H, Layout, W, grey_of, least_depth, of_depth, written

_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(samples: np.ndarray, depth: int) -> bytes:
    """Rows of samples (H, W, C), each behind filter 0."""
    found = b""
    for row in samples:
        if depth < 8:
            bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
            found += b"\0" + np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        else:
            found += b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes()
    return found


def png(samples: np.ndarray, depth: int, kind: int, interlaced: bool, extra: bytes = b"") -> bytes:
    """A PNG of samples (H, W) or (H, W, C); ``extra`` are chunks before the pixels."""
    samples = samples.reshape(H, W, -1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    pixels = b"".join(_rows(samples[y::down, x::right], depth) for y, x, down, right in passes)
    head = struct.pack(">IIBBBBB", W, H, depth, kind, 0, 0, interlaced)
    parts = (chunk(b"IHDR", head), extra, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def layouts() -> list[Layout]:
    """All of PNG, and PPM."""
    made: list[Layout] = []

    def add(name: str, content: bytes, grey: np.ndarray) -> None:
        made.append(Layout(name, written(content), lambda path: grey))

    for interlaced in (False, True):
        how = " interlaced" * interlaced
        for depth in (1, 2, 4, 8, 16):
            values = of_depth(LEVELS, depth)
            see_through = chunk(b"tRNS", struct.pack(">H", int(values[3, 3])))
            add(f"PNG grey {depth}{how}", png(values, depth, GREY, interlaced), grey_of(values, depth))
            add(
                f"PNG grey {depth} tRNS{how}", png(values, depth, GREY, interlaced, see_through), grey_of(values, depth)
            )
            if depth <= 8:
                palette = np.random.default_rng(depth).integers(0, 256, (2**depth, 3)).astype(np.uint8)
                for see_through in (b"", chunk(b"tRNS", bytes(range(2**depth))[:200])):
                    content = png(values, depth, PALETTE, interlaced, chunk(b"PLTE", palette.tobytes()) + see_through)
                    add(f"PNG palette {depth}{' tRNS' * bool(see_through)}{how}", content, grey_of(palette[values], 8))
        for depth in (8, 10, 12, 16):
            wide = 8 if depth == 8 else 16
            grey, colour, alpha = (of_depth(each, depth) for each in (LEVELS, COLOUR, ALPHA))
            full = np.full_like(grey, 2**wide - 1)
            luminance = grey_of(colour, 8 if depth == 8 else least_depth(colour))
            gamma = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sBIT", b"\x05\x05\x05")
            see_through = chunk(b"tRNS", struct.pack(">HHH", *colour[3, 3].tolist()))
            for name, extra in (("", b""), (" gAMA and sBIT", gamma), (" tRNS", see_through)):
                add(f"PNG colour {depth}{name}{how}", png(colour, wide, RGB, interlaced, extra), luminance)
            for name, channel in (("alpha", alpha), ("full alpha", full)):
                both = np.dstack([colour, channel])
                add(f"PNG colour {depth} with {name}{how}", png(both, wide, RGB_ALPHA, interlaced), luminance)
                both = np.dstack([grey, channel])
                add(f"PNG grey {depth} with {name}{how}", png(both, wide, GREY_ALPHA, interlaced), LEVELS)
    return [*made, *_ppm()]


def _ppm() -> list[Layout]:
    made = []
    for largest in (15, 255, 4095, 65535):
        kind = ">u2" if largest > 255 else np.uint8
        head = b"\n%d %d\n%d\n" % (W, H, largest)
        grey, colour = (np.rint(each * (largest / 255)).astype(kind) for each in (LEVELS, COLOUR))
        bits = largest.bit_length()
        shown = grey_of(grey, bits)
        made.append(Layout(f"PGM {largest}", written(b"P5" + head + grey.tobytes()), lambda path, shown=shown: shown))
        content = written(b"P6" + head + colour.tobytes())
        if largest > 255:
            made.append(Layout(f"PPM {largest}", content, says="PPM colour of more than 8 bits"))
        else:
            shown = grey_of(colour, bits)
            made.append(Layout(f"PPM {largest}", content, lambda path, shown=shown: shown, tolerance=int(bits < 8)))
    return made

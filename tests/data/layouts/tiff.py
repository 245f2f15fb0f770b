"""TIFF by tifffile: its own reading is the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.layouts import ALPHA, COLOUR, LEVELS, Layout, grey_of, least_depth, of_depth


def tiff_grey(path: Path) -> np.ndarray:
    """The grey of a TIFF's first page as tifffile decodes it, by the documented rule."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        values, photometric = page.asarray(), int(page.photometric)
        bits = page.bitspersample
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            values = np.moveaxis(values, 0, -1)
        colormap = page.colormap
    if photometric == 3:
        return grey_of(np.moveaxis(colormap >> 8, 0, -1)[values], 8)
    if photometric == 5:
        cyan, key = 255.0 - values[..., :3], 255.0 - values[..., 3:]
        return grey_of(np.rint(cyan * key / 255), 8)
    if photometric in (2, 6):
        values = values[..., :3]
    elif values.ndim == 3:
        values = values[..., 0]
    bits = least_depth(values) if bits >= 16 else bits
    grey = grey_of(values, bits)
    return 255 - grey if photometric == 0 else grey


def _layout(name: str, values: np.ndarray, refused: bool = False, tolerance: int = 0, **options: Any) -> Layout:
    def write(path: Path) -> None:
        import tifffile

        tifffile.imwrite(path, values, metadata=None, **options)

    return Layout(f"TIFF {name}", write, None if refused else tiff_grey, tolerance=tolerance)


def _planes(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, -1, 0).copy()


def _grey_layouts() -> list[Layout]:
    made = []
    kinds = {"8": LEVELS, "16": of_depth(LEVELS, 16), "12 in 16": of_depth(LEVELS, 12)}
    packings: list[dict[str, Any]] = [
        {}, {"compression": "lzw"}, {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "tile": (16, 16)}, {"compression": "packbits"},
        {"compression": "zlib", "predictor": True, "rowsperstrip": 7},
        {"compression": "zstd"}, {"compression": "lzma"}, {"tile": (16, 32)}, {"bigtiff": True},
    ]  # fmt: skip
    for kind, values in kinds.items():
        for order in "<>":
            for packing in packings:
                for white in (False, True):
                    # Pillow opens no big-endian 16-bit TIFF in which 0 is white, and no big-endian BigTIFF
                    refused = order == ">" and ((white and kind != "8") or "bigtiff" in packing)
                    made.append(_layout(
                        f"{kind} bits {order} {packing}{' white is 0' * white}", values, refused, byteorder=order,
                        photometric="miniswhite" if white else "minisblack", **packing,
                    ))  # fmt: skip
    for bits in (2, 4, 10, 12, 14):
        for order in "<>":
            for white in (False, True):
                refused = bits > 4 and not (bits == 12 and order == "<" and not white)
                made.append(_layout(
                    f"{bits} bits packed {order}{' white is 0' * white}", of_depth(LEVELS, bits), refused,
                    bitspersample=bits, byteorder=order, photometric="miniswhite" if white else "minisblack",
                ))  # fmt: skip
    made.append(_layout("packbits with predictor", LEVELS, True, compression="packbits", predictor=True))
    for compression in (None, "lzw", "packbits"):
        for white in (False, True):
            kind = "miniswhite" if white else "minisblack"
            made.append(_layout(f"1 bit {compression} {kind}", LEVELS > 99, compression=compression, photometric=kind))
    return made


def _number_layouts() -> list[Layout]:
    """Signed and wide whole numbers, and floats."""
    made = []
    whole = {
        "signed 8 from 0": (LEVELS // 2).astype(np.int8), "signed 16 from 0": of_depth(LEVELS, 14).astype(np.int16),
        "32": of_depth(LEVELS, 16).astype(np.uint32), "signed 32": of_depth(LEVELS, 16).astype(np.int32),
        "64": LEVELS.astype(np.uint64),
    }  # fmt: skip
    for name, values in whole.items():
        for order in "<>":
            for compression in (None, "zlib"):
                wide = values.dtype.itemsize > 1
                swapped = order == ">" and wide and compression is not None
                refused = name == "64" or swapped or (name == "32" and order == ">")
                made.append(
                    _layout(
                        f"{name} bits {order} {compression}", values, refused, byteorder=order, compression=compression
                    )
                )
    for kind in (np.float16, np.float64):
        made.append(_layout(f"{np.dtype(kind)}", (LEVELS / 255).astype(kind), refused=True))
    below = {"8": LEVELS.astype(int) - 128, "16": of_depth(LEVELS, 16).astype(int) - 32768}
    for name, values in below.items():
        layout = _layout("signed", values.astype(f"int{name}"))
        made.append(
            Layout(f"TIFF signed {name} bits below 0", layout.write, says="below 0" if name == "8" else "from -32768")
        )
    single = _layout("", (LEVELS / 255).astype(np.float32))
    return [*made, Layout("TIFF float32", single.write, says="32-bit float")]


def _colour_layouts() -> list[Layout]:
    made = []
    packings: list[dict[str, Any]] = [
        {},
        {"compression": "lzw", "predictor": True},
        {"tile": (16, 16), "compression": "zlib"},
    ]
    for bits in (8, 12, 16):
        colour = of_depth(COLOUR, bits)
        alpha, full = of_depth(ALPHA, bits), np.full_like(colour[..., 0], 2 ** (8 * colour.itemsize) - 1)
        for order in "<>":
            for packing in packings:
                options = {"photometric": "rgb", "byteorder": order, **packing}
                name = f"colour of {bits} bits {order} {packing}"
                made.append(_layout(name, colour, **options))
                made.append(_layout(f"{name} planes", _planes(colour), bits > 8, planarconfig="separate", **options))
                for kind, channel in (("unassalpha", alpha), ("unspecified", alpha), ("assocalpha", full)):
                    options["extrasamples"] = [kind]
                    both = np.dstack([colour, channel])
                    if bits != 12 or kind != "assocalpha":
                        made.append(_layout(f"{name} {kind}", both, **options))
                    refused = bits > 8 or kind != "unassalpha"
                    made.append(
                        _layout(f"{name} {kind} planes", _planes(both), refused, planarconfig="separate", **options)
                    )
    premultiplied = _layout("", np.dstack([COLOUR, ALPHA]), photometric="rgb", extrasamples=["assocalpha"])
    for name in ("zstd", "lzma"):
        made.append(
            _layout(f"colour of 16 bits {name}", of_depth(COLOUR, 16), True, photometric="rgb", compression=name)
        )
    return [*made, Layout("TIFF premultiplied", premultiplied.write, says="premultiplied alpha")]


def _other_layouts() -> list[Layout]:
    made = []
    for kind, channel in (("unassalpha", ALPHA), ("unspecified", ALPHA), ("assocalpha", np.full_like(ALPHA, 255))):
        options: dict[str, Any] = {"extrasamples": [kind], "photometric": "minisblack"}
        both = np.dstack([LEVELS, channel])
        made.append(_layout(f"grey with {kind}", both, planarconfig="contig", **options))
        made.append(_layout(f"grey with {kind} planes", _planes(both), True, planarconfig="separate", **options))
        deep = both.astype(np.uint16) * 257
        made.append(_layout(f"grey of 16 bits with {kind}", deep, True, planarconfig="contig", **options))
    colormap = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    for compression in (None, "lzw"):
        made.append(
            _layout(f"palette {compression}", LEVELS, photometric="palette", colormap=colormap, compression=compression)
        )
    inks = np.dstack([COLOUR, ALPHA // 2])
    made.append(_layout("CMYK", inks, tolerance=1, photometric="separated"))
    made.append(_layout("CMYK planes", _planes(inks), True, photometric="separated", planarconfig="separate"))
    deep = _layout("", inks.astype(np.uint16) * 257, photometric="separated")
    made.append(Layout("TIFF CMYK of 16 bits", deep.write, says="CMYK pixels of 16 bits"))
    made.append(_layout("CIELab", COLOUR, True, photometric="cielab"))
    for name in ("jpeg2000", "jpegxl", "lerc"):
        made.append(_layout(name, LEVELS, True, compression=name))
    for sampling in ((1, 1), (2, 2), (2, 1)):  # libjpeg's own tables differ by a level or two
        options = {"compression": "jpeg", "subsampling": sampling, "photometric": "rgb"}
        made.append(
            _layout(f"JPEG {sampling}", COLOUR, False, 2, compressionargs={"outcolorspace": "ycbcr"}, **options)
        )
    made.append(_layout("JPEG grey", LEVELS, False, 2, compression="jpeg"))
    made.append(
        _layout(
            "JPEG grey tiles, white is 0", LEVELS, False, 2, compression="jpeg", photometric="miniswhite", tile=(16, 16)
        )
    )
    orientation = _layout("", LEVELS, extratags=[(274, 3, 1, 6, True)])
    made.append(Layout("TIFF turned", orientation.write, says="orientation 6"))
    pages = _layout("", np.stack([LEVELS, LEVELS]), photometric="minisblack")
    made.append(Layout("TIFF of two pages", pages.write, says="found 2 pages"))
    return made


def _fax_layouts() -> list[Layout]:
    """One bit by fax codes, which Pillow writes and tifffile reads."""

    def writer(compression: str) -> Any:
        return lambda path: Image.fromarray(LEVELS > 99).save(path, "TIFF", compression=compression)

    return [Layout(f"TIFF {c}", writer(c), tiff_grey) for c in ("group3", "group4", "tiff_ccitt")]


def _without_photometric() -> Layout:
    def write(path: Path) -> None:
        import tifffile

        tifffile.imwrite(path, LEVELS, metadata=None)
        content = path.read_bytes()
        entry = (262).to_bytes(2, "little") + b"\x03\0\x01\0\0\0"
        assert content.count(entry) == 1
        path.write_bytes(content.replace(entry, (263).to_bytes(2, "little") + entry[2:]))

    return Layout("TIFF that does not say what 0 is", write, says="no photometric interpretation")


def _bits_turned(bits: int) -> Layout:
    """Fill order 2: the first pixel in the lowest bit."""

    def write(path: Path) -> None:
        import tifffile

        values = LEVELS > 99 if bits == 1 else of_depth(LEVELS, bits)
        tifffile.imwrite(path, values, metadata=None, photometric="minisblack", extratags=[(269, 3, 1, 2, True)])
        with tifffile.TiffFile(path) as file:
            start, length = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
        content = bytearray(path.read_bytes().replace(b"\x0d\x01\x03\0\x01\0\0\0\x02", b"\x0a\x01\x03\0\x01\0\0\0\x02"))
        turned = np.packbits(np.unpackbits(np.frombuffer(content[start : start + length], np.uint8)), bitorder="little")
        content[start : start + length] = turned.tobytes()
        path.write_bytes(content)

    grey = grey_of(LEVELS > 99, 1) if bits == 1 else LEVELS
    return Layout(f"TIFF of {bits} bits, fill order 2", write, None if bits > 8 else lambda path: grey)


def layouts() -> list[Layout]:
    """All of TIFF."""
    return [
        *_grey_layouts(), *_number_layouts(), *_colour_layouts(), *_other_layouts(), *_fax_layouts(),
        _without_photometric(), *map(_bits_turned, (1, 8, 16)),
    ]  # fmt: skip

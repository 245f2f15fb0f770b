"""JPEG and JPEG 2000 by Pillow and imagecodecs: its reading, or the samples of a lossless file, is the oracle."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.layouts import ALPHA, COLOUR, LEVELS, Layout, grey_of, least_depth, of_depth


def _decoded(path: Path) -> np.ndarray:
    import imagecodecs

    values = imagecodecs.jpeg8_decode(path.read_bytes())
    return values if values.ndim == 2 else grey_of(values, 8)


def _inks(path: Path) -> np.ndarray:
    """CMYK as Adobe stores it, white 255: colour times key."""
    import imagecodecs

    inks = imagecodecs.jpeg8_decode(path.read_bytes(), outcolorspace="cmyk").astype(float)
    return grey_of(np.rint(inks[..., :3] * inks[..., 3:] / 255), 8)


def _by_pillow(
    name: str, image: Image.Image, oracle: Callable[[Path], np.ndarray] = _decoded, **options: Any
) -> Layout:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return Layout(
        f"JPEG {name}", lambda path: path.write_bytes(buffer.getvalue()), oracle, tolerance=1 + (oracle is _inks)
    )


def _by_imagecodecs(name: str, codec: str, values: np.ndarray, grey: Any = None, **options: Any) -> Layout:
    def write(path: Path) -> None:
        import imagecodecs

        path.write_bytes(getattr(imagecodecs, f"{codec}_encode")(values, **options))

    oracle = (lambda path: grey) if isinstance(grey, np.ndarray) else grey
    return Layout(name, write, oracle)


def layouts() -> list[Layout]:
    """All of JPEG and JPEG 2000."""
    made = []
    for quality in (40, 95):
        for progressive in (False, True):
            options = {"quality": quality, "progressive": progressive}
            made.append(_by_pillow(f"grey {options}", Image.fromarray(LEVELS), **options))
            for sampling in (0, 1, 2):
                made.append(
                    _by_pillow(f"colour {options} {sampling}", Image.fromarray(COLOUR), subsampling=sampling, **options)
                )
    made.append(_by_pillow("CMYK", Image.fromarray(np.dstack([COLOUR, ALPHA // 2]), "CMYK"), _inks, quality=95))
    inks = np.dstack([255 - COLOUR, 255 - ALPHA // 2])
    ycck = _by_imagecodecs("JPEG YCCK", "jpeg8", inks, _inks, level=95, colorspace="cmyk", outcolorspace="ycck")
    made.append(Layout(ycck.name, ycck.write, ycck.grey, tolerance=2))
    stored = _by_imagecodecs(
        "JPEG stored as RGB", "jpeg8", COLOUR, _decoded, level=95, colorspace="rgb", outcolorspace="rgb"
    )
    made.append(Layout(stored.name, stored.write, stored.grey, tolerance=1))
    made += [
        _by_imagecodecs("JPEG of 12 bits", "jpeg8", of_depth(LEVELS, 12), level=95, bitspersample=12),
        _by_imagecodecs("JPEG lossless", "ljpeg", of_depth(LEVELS, 12)),
        _by_imagecodecs("JPEG-LS", "jpegls", of_depth(LEVELS, 12)),
    ]
    return [*made, *_jpeg_2000()]


def _jpeg_2000() -> list[Layout]:
    made = []
    for form in ("jp2", "j2k"):
        options: dict[str, Any] = {"level": 0, "reversible": True, "codecformat": form}
        for bits in (1, 4, 8, 10, 12, 14, 16):
            values, colour = of_depth(LEVELS, bits), of_depth(COLOUR, bits)
            given = {**options, "bitspersample": bits}
            made.append(_by_imagecodecs(f"{form} grey {bits}", "jpeg2k", values, grey_of(values, bits), **given))
            if bits > 8:  # its own depth, but 16 which most programs write
                dark = values // 8
                shown = grey_of(dark, least_depth(dark) if bits == 16 else bits)
                made.append(_by_imagecodecs(f"{form} dark grey {bits}", "jpeg2k", dark, shown, **given))
            for mixed in (False, True):
                shown = None if bits > 8 else grey_of(colour, bits)
                name = f"{form} colour {bits}{' mixed' * mixed}"
                layout = _by_imagecodecs(name, "jpeg2k", colour, shown, mct=mixed, **given)
                made.append(Layout(layout.name, layout.write, layout.grey, says=f"JPEG 2000 of {bits} bits"))
        signed = (of_depth(LEVELS, 16).astype(int) - 32768).astype(np.int16)
        made.append(_by_imagecodecs(f"{form} signed", "jpeg2k", signed, LEVELS, **options))
        made.append(
            _by_imagecodecs(f"{form} alpha", "jpeg2k", np.dstack([COLOUR, ALPHA]), grey_of(COLOUR, 8), **options)
        )
    return made

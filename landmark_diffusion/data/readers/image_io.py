"""Reading radiographs from disk: headers without decoding, and pixels as 8-bit grey.

One rule for every file, in training and in prediction. Grey values v of b bits become round(v * 255 / (2^b - 1)), so
that 0 and 2^b - 1 become 0 and 255: the same picture stored with 8, 12 or 16 bits gives the same grey. Colour becomes
luminance (ITU-R 601: 0.299 R + 0.587 G + 0.114 B, alpha ignored).

A 16-bit PNG or TIFF does not say how many of its bits the detector used, and 12 bits in 16 are common. So b is the
smallest of 8, 10, 12, 14 and 16 that holds the largest value. This is not stretching an image to the values that it
happens to have: b takes one of five values and says which grid the numbers are on, and an exposure of the same detector
that reaches anything in the upper three quarters of its range (2^(b-2) and more) keeps its own brightness, as equal
exposures have to stay equal. Only an image whose every pixel is darker than that is read as one of a smaller grid.
PNG's sBIT chunk is of no help: by its standard the values are scaled to all 16 bits whatever it says. TIFF's
MaxSampleValue is heeded where it is larger than the values and not the tag's default.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted, one_line
from landmark_diffusion.data.readers.image_kinds import codestream_depth, tiff_kind, unread_kind

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""File names that count as images, in lower case."""

OTHER_SUFFIXES = (
    ".dcm", ".dicom", ".jp2", ".j2k", ".gif", ".webp", ".heic", ".avif", ".jfif", ".nii", ".mha", ".mhd", ".nrrd",
    ".pgm", ".ppm", ".dng", ".psd", ".tga",
)  # fmt: skip
"""Endings of images that a folder may hold and that are not read from it, in lower case."""

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that detectors store in 16: what a file that does not say it can have."""

LEAST_CONTRAST = 2
"""Grey levels of 255 within which a picture counts as one of one grey: no anatomy can be seen in it."""

# Told apart by their first bytes. Pillow also guesses at some that have no such mark, and would draw noise from a text.
_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_MPO = "MPO"  # a camera's JPEG with a preview behind the picture: the first picture is the image
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _MAX_SAMPLE_VALUE = 0x0102, 0x0106, 0x0112, 0x0119  # TIFF 6.0, section 8
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 0x0152, 0x0153
_SIGNED, _PREMULTIPLIED = 2, 1  # values of the two
_LUMINANCE = np.array([19595, 38470, 7471], np.uint32)  # of 65536: ITU-R 601-2, in the whole numbers that Pillow takes


class GreyLevels(NamedTuple):
    """An image as values and the grey of each, for who looks at it with another window.

    Attributes:
        values: (H, W) uint8 or uint16, from 0.
        table: (L,) uint8, the grey of each value from 0 to L - 1.
        bits: that the values were read with.
    """

    values: np.ndarray
    table: np.ndarray
    bits: int

    @property
    def grey(self) -> np.ndarray:
        """(H, W) uint8."""
        grey: np.ndarray = self.table[self.values]
        return grey

    @classmethod
    def of_grey(cls, grey: np.ndarray, bits: int = 8) -> GreyLevels:
        """Of an image (H, W) uint8 of which nothing finer is known."""
        return cls(grey, np.arange(256, dtype=np.uint8), bits)


def read_header(path: str | Path) -> tuple[int, int]:
    """Return an image's (width, height) in pixels without decoding it.

    Raises DataError that names the file if it is missing, no image, too large, rotated by an EXIF tag or has pages.
    """
    path = Path(path)
    with opened_image(path) as image:
        return image.size


def read_grey(path: str | Path) -> np.ndarray:
    """Decode an image as (H, W) uint8 grey, by the rule of this module.

    Raises DataError that names the file if any part of it cannot be decoded: a truncated file is never filled up.
    """
    return read_grey_and_bits(path)[0]


def read_grey_and_bits(path: str | Path) -> tuple[np.ndarray, int]:
    """Decode an image as ``read_grey`` does; return the grey and the number of bits that its values were read with."""
    path = Path(path)
    with opened_image(path) as image:
        deep = _has_deep_colour(image, path)
        image.load()
        _refuse_premultiplied(image, path)
        if image.format == "JPEG2000":
            return _from_jpeg_2000(image, path)
        return _deep_colour_to_grey(image, path) if deep else _to_grey(image, path)


def read_grey_levels(path: Path) -> GreyLevels:
    """Decode an image as ``read_grey`` does, 16-bit grey with all of its values; raises the same."""
    with opened_image(path) as image:
        if image.format != "JPEG2000" and not _has_deep_colour(image, path) and _is_16_bit(image):
            image.load()
            return _levels_of_16_bit(image, path)
    return GreyLevels.of_grey(*read_grey_and_bits(path))


def to_8_bit(values: np.ndarray, bits: int) -> np.ndarray:
    """Turn grey values (H, W) from 0 to 2^bits - 1 into uint8: round(v * 255 / (2^bits - 1)), for up to 16 bits."""
    most: int = 2**bits - 1
    return ((values.astype(np.uint32) * 510 + most) // (2 * most)).astype(np.uint8)


def luminance_to_8_bit(colour: np.ndarray, bits: int) -> np.ndarray:
    """Turn red, green and blue (H, W, 3) of up to 16 bits into the luminance's (H, W) uint8, rounded once."""
    sums = colour.astype(np.uint32) @ _LUMINANCE  # 65536 times the luminance
    luminance: np.ndarray = np.floor(sums * 255.0 / (65536.0 * (2**bits - 1)) + 0.5)
    return luminance.astype(np.uint8)


def depth_of(largest: int) -> int:
    """Return the smallest of ``DEPTHS`` that holds a value from 0 to 65535."""
    return next(bits for bits in DEPTHS if largest < 2**bits)


def grey_range(counts: np.ndarray) -> tuple[int, int]:
    """Return the darkest and the lightest grey of the middle 99 % of the pixels, from how many have each of 256."""
    pixels = np.cumsum(counts)
    low, high = np.searchsorted(pixels, [0.005 * pixels[-1], 0.995 * pixels[-1]])
    return int(low), int(high)


def one_grey(grey: np.ndarray) -> str | None:
    """Say which grey a picture (H, W) uint8 has all over, up to ``LEAST_CONTRAST``; None for one with contrast."""
    low, high = grey_range(np.bincount(grey.ravel(), minlength=256))
    if high - low > LEAST_CONTRAST:
        return None
    which = f"the grey {low}" if low == high else f"a grey from {low} to {high}"
    named = " (black)" if high <= LEAST_CONTRAST else " (white)" if low >= 255 - LEAST_CONTRAST else ""
    return f"99 % of the pixels or more have {which}{named} of 255"


def check_contrast(grey: np.ndarray, path: Path | str) -> None:
    """Raise DataError that names ``path`` for a picture of one grey."""
    if (found := one_grey(grey)) is not None:
        raise DataError(f"{found}, expected a radiograph; look at the image, and export or scan it again", path)


def check_file(path: Path) -> None:
    """Raise DataError that names ``path`` unless it is a file with content; a pipe is not opened, as it could wait."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(f"the image file is a link to {path.readlink()}, which is not there", path) from None
        what = "the image file does not exist" if path.suffix else "there is no file and no folder of this name"
        raise DataError(what, path) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise DataError(f"the image file cannot be opened ({one_line(error)})", path) from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise DataError(f"found {what}, expected an image file", path)
    if status.st_size == 0:
        raise DataError("the file is empty, expected an image", path)


def check_size(width: int, height: int, path: Path) -> None:
    """Raise DataError that names ``path`` for an image without pixels, or with more than Pillow's limit."""
    if min(width, height) < 1:
        raise DataError(f"found an image of {width}x{height} px, which has no pixels", path)
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(f"{width}x{height} px", path)


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the image files of a folder, sorted by name; hidden files (also those of macOS archives) are left out."""
    found = folder.rglob("*") if recursive else folder.glob("*")
    images = (p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())
    return sorted(images, key=str)  # comparing the text is several times as fast as comparing paths


def other_kinds(folder: Path, recursive: bool = False, read: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """List the files of a folder that are images by their endings, but of none that is in ``read``."""
    endings = tuple(each for each in OTHER_SUFFIXES if each not in read)
    found = folder.rglob("*") if recursive else folder.glob("*")
    return sorted((p for p in found if p.suffix.lower() in endings and not p.name.startswith(".")), key=str)


def other_kinds_note(paths: Sequence[Path]) -> list[str]:
    """Say how many images of other kinds were passed over, and their endings; nothing for none."""
    if not paths:
        return []
    endings = ", ".join(sorted({path.suffix.lower() for path in paths}))
    kind, verb = ("another kind", "was") if len(paths) == 1 else ("other kinds", "were")
    return [f"{counted(len(paths), 'file')} of {kind} ({endings}) {verb} not looked at"]


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image, check what the header can tell, and turn what Pillow raises into a DataError with the file."""
    check_file(path)
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it, and half an image would be trained on
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd tags; what matters is raised
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                _check_header(image, path)
                yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(_not_an_image(path), path) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(one_line(error), path) from None
    except MemoryError:
        raise DataError("there is not enough memory to decode the image; resize it", path) from None
    except Exception as error:  # a damaged file makes Pillow raise nearly anything: struct.error, KeyError, zlib.error
        raise DataError(
            f"the image cannot be decoded ({one_line(error)}); copy or download the file again", path
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _check_header(image: Image.Image, path: Path) -> None:
    check_size(*image.size, path)
    # The base class's method: that of PNG would decode the whole image to look for tags behind the pixels.
    orientation = Image.Image.getexif(image).get(_ORIENTATION, 1)
    if orientation not in (0, 1):  # 0 is written by some devices for "not known"
        raise DataError(
            f"the EXIF tag says orientation {orientation}, so it is unclear whether points mean the turned image; "
            "expected 1: save the image upright without the tag",
            path,
        )
    if image.format == "TIFF":
        kind = tiff_kind(path)
        if kind is not None and not kind.is_read():
            raise DataError(kind.refusal(), path)
    if image.format == "PPM" and image.mode == "RGB" and _ppm_largest(image) > 255:  # which Pillow rounds twice
        raise DataError("found PPM colour of more than 8 bits a channel; save it as 8 or 16-bit grey", path)
    if image.format != _MPO and _has_more(image):
        raise DataError("found 2 pages or frames, or more, in the file, expected one image", path)


def _has_more(image: Image.Image) -> bool:
    """Whether there is a second page or frame; they are not counted, which for 100,000 pages takes minutes."""
    if image.format != "TIFF":
        return bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _to_grey(image: Image.Image, path: Path) -> tuple[np.ndarray, int]:
    if image.mode == "F":
        raise DataError("found 32-bit float pixels, whose range is not known; save it as 8 or 16-bit grey", path)
    if _is_16_bit(image):
        levels = _levels_of_16_bit(image, path)
        return levels.grey, levels.bits
    if image.mode == "La":
        return np.array(image.getchannel(0), dtype=np.uint8), 8
    if _tiff_tag(image, _SAMPLE_FORMAT) == [_SIGNED] and np.asarray(image).max() > 127:
        raise DataError("found signed 8-bit pixels below 0, expected 0 to 127; save it as 8 or 16-bit grey", path)
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")  # palettes, CMYK, YCbCr
    return np.array(image.convert("L"), dtype=np.uint8), 8


def _is_16_bit(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _levels_of_16_bit(image: Image.Image, path: Path) -> GreyLevels:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(f"found pixels from {low} to {high}, expected 0 to 65535; save it as 16-bit grey", path)
    bits = _stated_bits(image) or depth_of(max(high, _stated_largest(image)))
    table = to_8_bit(np.arange(2**bits), bits)
    white_is_zero = _tiff_tag(image, _PHOTOMETRIC) == [0]  # Pillow turns 8-bit pixels of this kind, and not 16-bit ones
    return GreyLevels(values.astype(np.uint16), 255 - table if white_is_zero else table, bits)


def _from_jpeg_2000(image: Image.Image, path: Path) -> tuple[np.ndarray, int]:
    """Grey and bits of JPEG 2000, whose values Pillow has shifted to the top of 8 or 16 bits."""
    depth = codestream_depth(path.read_bytes())
    deep = image.mode.startswith("I")
    if depth is None or depth > 16 or (depth > 8) != deep:
        raise DataError(f"found {image.mode} in JPEG 2000 of {depth} bits a channel; save it as 8 or 16-bit grey", path)
    if depth == 8:
        return _to_grey(image, path)
    values = np.asarray(image if deep or image.mode in ("L", "RGB") else image.convert("RGB"))
    values = values >> ((16 if deep else 8) - depth)
    bits = depth_of(int(values.max())) if depth == 16 else depth
    return (to_8_bit if values.ndim == 2 else luminance_to_8_bit)(values, bits), bits


def _refuse_premultiplied(image: Image.Image, path: Path) -> None:
    """Refuse a TIFF whose colours were multiplied by an alpha that is not full all over: they are another picture's."""
    if _PREMULTIPLIED not in _tiff_tag(image, _EXTRA_SAMPLES) or image.mode not in ("La", "RGBA"):
        return
    if np.asarray(image.getchannel(len(image.getbands()) - 1)).min() < 255:
        raise DataError("found a TIFF with premultiplied alpha; save it as 8 or 16-bit grey, or without alpha", path)


def _ppm_largest(image: Image.Image) -> int:
    """The largest value that a PPM file states, where it is not 255: what Pillow's decoder is told."""
    stated = image.tile[0][3] if image.tile else ()  # type: ignore[attr-defined]
    numbers = [number for number in (stated if isinstance(stated, tuple) else (stated,)) if isinstance(number, int)]
    return max(numbers, default=255)


def _stated_bits(image: Image.Image) -> int | None:
    """Bits of a TIFF whose samples are packed more tightly than in 16, such as 12; None for others."""
    stated = _tiff_tag(image, _BITS_PER_SAMPLE)
    return stated[0] if stated and stated[0] < 16 else None


def _stated_largest(image: Image.Image) -> int:
    """TIFF's MaxSampleValue; 0 where it is absent or the default for 16 bits, which says nothing."""
    return max([value for value in _tiff_tag(image, _MAX_SAMPLE_VALUE) if value < 65535], default=0)


def _tiff_tag(image: Image.Image, tag: int) -> list[int]:
    """Whole numbers of a TIFF's tag; none where it is absent, malformed or the image is no TIFF."""
    value = getattr(image, "tag_v2", {}).get(tag, ())
    return [number for number in (value if isinstance(value, tuple) else (value,)) if isinstance(number, int)]


def _has_deep_colour(image: Image.Image, path: Path) -> bool:
    """Whether a PNG or TIFF has channels of more than 8 bits, of which Pillow would drop the lower ones."""
    if image.mode == "F" or image.mode.startswith("I"):
        return False
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24] == 16  # the bit depth in IHDR, which is the first chunk
    return max(_tiff_tag(image, _BITS_PER_SAMPLE), default=8) > 8


def _deep_colour_to_grey(image: Image.Image, path: Path) -> tuple[np.ndarray, int]:
    """Grey and bits of a 16-bit colour image that Pillow has decoded without a fault, so that it is whole."""
    if image.mode not in ("LA", "RGB", "RGBA", "RGBX"):
        raise DataError(f"found {image.mode} pixels of 16 bits a channel; save it as 8 or 16-bit grey", path)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    colour = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if colour is None or colour.dtype != np.uint16 or colour.shape[1::-1] != image.size:
        raise DataError("found 16-bit colour of a kind that is not read; save it as 8 or 16-bit grey", path)
    bits = depth_of(int(colour.max()))
    return luminance_to_8_bit(colour[..., ::-1], bits), bits


def _too_large(what: str, path: Path) -> DataError:
    return DataError(
        f"the image claims to be larger than {Image.MAX_IMAGE_PIXELS} pixels ({what}); "
        "check the file, or resize it and its annotation",
        path,
    )


def _not_an_image(path: Path) -> str:
    if (unread := unread_kind(path)) is not None:
        return unread
    expected = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    return (
        f"{path.stat().st_size} bytes that are no known image format, or the head of it is damaged; expected "
        f"one of {expected}, or DICOM"
    )

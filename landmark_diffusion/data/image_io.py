"""Reading radiographs from disk: headers without decoding, and pixels as 8-bit grey.

One rule for every file: colour becomes luminance (ITU-R 601: 0.299 R + 0.587 G + 0.114 B, alpha ignored), 16-bit grey
values v become round(v / 257), so that 0 and 65535 become 0 and 255. Nothing is stretched to the values an image
happens to have, because equal exposures have to stay equal.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from landmark_diffusion.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""File names that count as images, in lower case."""

_ORIENTATION_TAG = 0x0112
_MPO = "MPO"  # a camera's JPEG with a preview behind the picture: the first picture is the image


def read_header(path: str | Path) -> tuple[int, int]:
    """Return an image's (width, height) in pixels without decoding it.

    Raises DataError that names the file if it is missing, no image, too large, rotated by an EXIF tag or has pages.
    """
    path = Path(path)
    with _opened(path) as image:
        return image.size


def read_grey(path: str | Path) -> np.ndarray:
    """Decode an image as (H, W) uint8 grey, by the rule of this module.

    Raises DataError that names the file if any part of it cannot be decoded: a truncated file is never filled up.
    """
    path = Path(path)
    with _opened(path) as image:
        image.load()
        return _to_grey(image, path)


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the image files of a folder, sorted by name; hidden files (also those of macOS archives) are left out."""
    found = folder.rglob("*") if recursive else folder.glob("*")
    images = (p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())
    return sorted(images, key=str)  # comparing the text is several times as fast as comparing paths


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, check what the header can tell, and turn what Pillow raises into a DataError with the file."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it, and half an image would be trained on
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _check_header(image, path)
                yield image
    except FileNotFoundError:
        raise DataError("the image file does not exist", path) from None
    except UnidentifiedImageError:
        raise DataError(_not_an_image(path), path) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"the image claims to be larger than {Image.MAX_IMAGE_PIXELS} pixels ({error}); "
            "check the file, or resize it and its annotation",
            path,
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise DataError(
            f"the image cannot be decoded ({error}); copy or download the file again", path
        ) from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _check_header(image: Image.Image, path: Path) -> None:
    # The base class's method: that of PNG would decode the whole image to look for tags behind the pixels.
    orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    if orientation not in (0, 1):  # 0 is written by some devices for "not known"
        raise DataError(
            f"the EXIF tag says orientation {orientation}, so it is unclear whether the annotation means the turned "
            "image; expected 1: save the image upright without the tag",
            path,
        )
    frames = getattr(image, "n_frames", 1)
    if frames != 1 and image.format != _MPO:
        raise DataError(f"found {frames} pages or frames in the file, expected one image", path)


def _to_grey(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode == "F":
        raise DataError("found 32-bit float pixels, whose range is not known; save it as 8 or 16-bit grey", path)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(np.asarray(image), path)
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")  # palettes, CMYK, YCbCr, LAB
    return np.array(image.convert("L"), dtype=np.uint8)


def _from_16_bit(values: np.ndarray, path: Path) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(f"found 32-bit pixels from {low} to {high}, expected 0 to 65535; save it as 16-bit grey", path)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _not_an_image(path: Path) -> str:
    size = path.stat().st_size if path.exists() else 0
    what = "the file is empty" if size == 0 else f"{size} bytes that are no known image format"
    return f"{what}; expected one of {', '.join(s[1:] for s in IMAGE_SUFFIXES)}"

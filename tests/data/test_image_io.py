"""Images are read by one rule, and a file that cannot be read in full names itself instead of being half read."""

from __future__ import annotations

import io
import warnings
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.image_io import (
    list_images,
    luminance_to_8_bit,
    read_grey,
    read_grey_and_bits,
    read_header,
    to_8_bit,
)


def _noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_8_bit_grey_comes_back_exactly(tmp_path: Path, suffix: str) -> None:
    values = _noise((30, 41))
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    assert read_header(path) == (41, 30)
    np.testing.assert_array_equal(read_grey(path), values)
    assert read_grey(path).dtype == np.uint8


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_divided_by_257(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (20, 30)).astype(np.uint16)
    values[0, :4] = 0, 65535, 128, 129  # both ends, and both sides of the first rounding step
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    grey = read_grey(path)
    np.testing.assert_array_equal(grey, np.rint(values / 257.0))
    assert grey[0, :4].tolist() == [0, 255, 0, 1]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_depth_of_the_file_changes_no_grey_level(tmp_path: Path, suffix: str, bits: int) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    values = np.rint(levels * ((2**bits - 1) / 255)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    grey, found = read_grey_and_bits(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(grey, levels)
    assert found == bits


def test_darker_exposure_of_12_bits_stays_darker(tmp_path: Path) -> None:
    """The rule reads the depth, and does not stretch: a quarter of the light gives a quarter of the grey."""
    for share in (1.0, 0.5, 0.3):
        values = np.linspace(0, 4095 * share, 100).astype(np.uint16).reshape(10, 10)
        Image.fromarray(values).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), np.rint(values * (255 / 4095)))


@pytest.mark.parametrize("bits", range(8, 17))
def test_rounding_is_to_the_nearest_level(bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint16)[None]
    exact = [round(Fraction(int(value) * 255, 2**bits - 1)) for value in values[0]]  # never a half: 2^b - 1 is odd
    np.testing.assert_array_equal(to_8_bit(values, bits)[0], exact)


def test_luminance_of_8_bits_is_that_of_pillow() -> None:
    colour = _noise((300, 400, 3))
    np.testing.assert_array_equal(luminance_to_8_bit(colour, 8), np.asarray(Image.fromarray(colour).convert("L")))
    deep = colour.astype(np.uint16) * 257
    np.testing.assert_array_equal(luminance_to_8_bit(deep, 16), luminance_to_8_bit(colour, 8))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_16_bits_a_channel_keeps_all_of_them(tmp_path: Path, suffix: str) -> None:
    """Pillow drops the lower 8 bits, and with them all of a picture of 8 bits in 16."""
    colour = _noise((20, 30, 3))
    for factor in (1, 257):
        cv2.imwrite(str(tmp_path / f"a.{suffix}"), colour[..., ::-1].astype(np.uint16) * factor)
        np.testing.assert_array_equal(read_grey(tmp_path / f"a.{suffix}"), luminance_to_8_bit(colour, 8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK"])
def test_colour_becomes_luminance(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(_noise((16, 24, 3))).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    rgb = np.asarray(image.convert("RGB"), dtype=np.float64)
    expected = rgb @ [0.299, 0.587, 0.114]
    assert np.abs(read_grey(path) - expected).max() <= 0.51 + 0.5 * (mode == "CMYK")  # rounding to whole grey levels


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_truncated_image_names_itself(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"broken.{suffix}"
    Image.fromarray(_noise((120, 90))).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert read_header(path) == (90, 120)  # the header alone does not show it
    with pytest.raises(DataError, match=r"broken\.\w+: the image cannot be decoded"):
        read_grey(path)


def test_truncated_image_is_refused_when_another_library_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.jpg"
    Image.fromarray(_noise((120, 90))).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        read_grey(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # the other library's choice is left as it was


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "the file is empty"), (b"hello, this is no image", "23 bytes that are no known image")]
)
def test_file_that_is_no_image(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_header, read_grey):
        with pytest.raises(DataError, match=rf"a\.jpg: {said}"):
            read(path)


def test_missing_file_and_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: the image file does not exist"):
        read_header(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png"):
        read_grey(tmp_path / "folder.png")


@pytest.mark.parametrize("limit", [500, 1500])  # Pillow raises from twice its limit, and only warns between
def test_too_large_image_is_an_error_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = tmp_path / "huge.png"
    Image.fromarray(_noise((40, 50))).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=rf"huge\.png: the image claims to be larger than {limit} pixels"):
            read_header(path)


def test_exif_orientation_is_refused(tmp_path: Path) -> None:
    path, upright = tmp_path / "turned.jpg", tmp_path / "upright.jpg"
    for target, value in ((path, 6), (upright, 1)):
        exif = Image.Exif()
        exif[0x0112] = value
        Image.fromarray(_noise((40, 50))).save(target, exif=exif)
    assert read_header(upright) == (50, 40)
    with pytest.raises(DataError, match=r"turned\.jpg: the EXIF tag says orientation 6"):
        read_header(path)


def test_file_with_two_pages_and_float_pixels_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(_noise((10, 12), seed)) for seed in range(2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"pages\.tif: found 2 pages"):
        read_header(tmp_path / "pages.tif")
    Image.fromarray(np.ones((4, 5), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif: found 32-bit float pixels"):
        read_grey(tmp_path / "float.tif")


def test_list_images_takes_images_only(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(_noise((4, 4))).save(buffer, "PNG")
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "a.png", "._a.png", "notes.txt", "sub/c.png"):
        (tmp_path / name).write_bytes(buffer.getvalue())
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.PNG"]
    assert [path.name for path in list_images(tmp_path, recursive=True)] == ["a.png", "b.PNG", "c.png"]

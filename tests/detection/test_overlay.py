"""Overlay pictures: points and regions lie where they should, and what a reader must be warned of is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.overlay import (
    BANNER,
    USUAL,
    WIDE,
    OverlayWriter,
    overlay_picture,
    wide_regions,
)
from landmark_diffusion.pictures.figures import BAD, TITLE
from landmark_diffusion.pictures.sheet import HEIGHT, MARKS, SIDEBAR
from tests.detection.detections import make_detection, make_doubted


def _single(size: tuple[int, int], point: np.ndarray, region: np.ndarray | None = None) -> Detection:
    """One landmark on a plain ground."""
    regions = None if region is None else region[None]
    return Detection("a", "a.png", size, ("sella",), point[None], regions, 0.9, regions)


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _coloured(picture: np.ndarray, colour: str) -> np.ndarray:
    """(M, 2) places (x, y) of the pixels that have about the hex ``colour``."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((np.abs(picture - wanted) <= 60).all(-1))[:, ::-1]


def _radiograph(path: Path, size: tuple[int, int], top: int = TITLE) -> tuple[np.ndarray, float]:
    """The part of the picture that the radiograph fills, and its output pixels per original pixel."""
    scale = HEIGHT / size[1]
    return _read(path)[top : top + HEIGHT, : round(size[0] * scale)], scale


@pytest.mark.parametrize("size", [(300, 400), (1935, 2400)])
def test_ellipse_is_that_of_the_region_matrix(tmp_path, size) -> None:
    # In closed form: p^T R^-1 p = 1 reaches sqrt(R_xx) to the right, and there it is R_xy / sqrt(R_xx) down.
    point = np.array(size) * (0.45, 0.6)
    turn = np.deg2rad(30)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    region = axes @ np.diag((np.array([0.30, 0.12]) * size[0]) ** 2) @ axes.T
    picture, scale = _radiograph(overlay_picture(tmp_path / "a.png", _single(size, point, region)), size)
    found = _coloured(picture, USUAL)
    centre = (point + 0.5) * scale - 0.5
    reach = np.sqrt(np.diag(region)) * scale
    assert np.abs(found.min(0) - (centre - reach)).max() < 1.5
    assert np.abs(found.max(0) - (centre + reach)).max() < 1.5
    rightmost = found[found[:, 0] >= found[:, 0].max() - 1].mean(0)
    assert rightmost[1] - centre[1] == pytest.approx(region[0, 1] / np.sqrt(region[0, 0]) * scale, abs=3)


@pytest.mark.parametrize("size", [(60, 75), (1935, 2400)])
def test_cross_falls_on_its_pixel_and_on_the_image_below_it(tmp_path, size) -> None:
    point = np.round(np.array(size) * 0.7)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    side = max(1, size[0] // 60)  # a white square around another point, as wide as to survive the shrinking
    mark = np.round(np.array(size) * 0.3).astype(int)
    pixels[mark[1] - side : mark[1] + side + 1, mark[0] - side : mark[0] + side + 1] = 255
    detection = replace(_single(size, point), pixels=pixels)
    picture, scale = _radiograph(overlay_picture(tmp_path / "a.png", detection), size)
    assert np.abs(_coloured(picture, USUAL).mean(0) - ((point + 0.5) * scale - 0.5)).max() < 1
    white = _coloured(picture[: HEIGHT // 2], "#FFFFFF").mean(0)
    assert np.abs(white - ((mark + 0.5) * scale - 0.5)).max() < 1


def test_unusually_large_region_has_a_warm_colour(tmp_path) -> None:
    even = make_detection(pixels=False, count=5)
    even = replace(even, regions=np.tile(np.eye(2) * 25, (5, 1, 1)))
    grown = even.regions * np.array([1, 1, 4.4, 1, 3.6])[:, None, None]  # radii 2.1 and 1.9 times the median
    assert wide_regions(replace(even, regions=grown)).tolist() == [False, False, True, False, False]
    thin = np.concatenate([even.regions[:4], np.diag([25.0 * 10, 2.5])[None]])  # of the same area as the others
    assert wide_regions(replace(even, regions=thin)).tolist() == [False, False, False, False, True]
    overlay_picture(tmp_path / "even.png", even)
    overlay_picture(tmp_path / "wide.png", replace(even, regions=grown))
    assert not len(_coloured(_read(tmp_path / "even.png"), WIDE))
    assert len(_coloured(_radiograph(tmp_path / "wide.png", even.size)[0], WIDE)) > 50


def test_doubtful_point_is_a_hollow_diamond_in_a_warm_colour(tmp_path) -> None:
    size, point = (300, 400), np.array([100.0, 200.0])
    sure = replace(_single(size, point), doubtful=np.array([False]), outside=np.array([0.1]))
    picture, scale = _radiograph(overlay_picture(tmp_path / "a.png", sure), size)
    assert not len(_coloured(picture, WIDE)) and len(_coloured(picture, USUAL))
    picture, _ = _radiograph(overlay_picture(tmp_path / "b.png", replace(sure, doubtful=np.array([True]))), size)
    centre = (point + 0.5) * scale - 0.5
    found = _coloured(picture, WIDE)
    assert np.abs(found.mean(0) - centre).max() < 1 and not len(_coloured(picture, USUAL))
    assert np.linalg.norm(found - centre, axis=1).min() > 2, "the pixel itself is to be seen"


def test_landmark_outside_the_image_is_named_and_not_drawn(tmp_path) -> None:
    size, point = (300, 400), np.array([100.0, 200.0])
    absent = replace(_single(size, point, np.eye(2) * 400), outside=np.array([0.8]), doubtful=np.array([True]))
    path = overlay_picture(tmp_path / "a.png", absent)
    picture, scale = _radiograph(path, size)
    assert not len(_coloured(picture, USUAL)) and not len(_coloured(picture, WIDE))
    listed = _read(path)[TITLE : TITLE + HEIGHT, round(size[0] * scale) + SIDEBAR - 6 :]
    words = _coloured(listed, BAD)
    assert listed.shape[1] == MARKS + 6 and len(words) > 50
    assert words[:, 0].max() < listed.shape[1] - 2, "the words run over the edge"


def test_a_list_without_words_is_as_wide_as_ever(tmp_path) -> None:
    plain = _read(overlay_picture(tmp_path / "a.png", make_detection()))
    none = replace(make_doubted(), outside=np.full(5, 0.1), doubtful=np.zeros(5, bool))
    assert (_read(overlay_picture(tmp_path / "b.png", none)) == plain).all()
    assert _read(overlay_picture(tmp_path / "c.png", make_doubted())).shape[1] == plain.shape[1] + MARKS


def test_image_unlike_the_training_images_has_a_red_banner(tmp_path) -> None:
    point = np.array([100.0, 200.0])
    detection = replace(_single((300, 400), point), unlike=True, image_score=0.001)
    path = overlay_picture(tmp_path / "a.png", detection)
    strip = _read(path)[TITLE : TITLE + BANNER]
    assert len(_coloured(strip, BAD)) > 0.8 * strip.shape[0] * strip.shape[1]
    picture, scale = _radiograph(path, (300, 400), TITLE + BANNER)  # which moves the radiograph down by as much
    assert np.abs(_coloured(picture, USUAL).mean(0) - ((point + 0.5) * scale - 0.5)).max() < 1
    overlay_picture(tmp_path / "b.png", replace(detection, unlike=False))
    assert not len(_coloured(_read(tmp_path / "b.png"), BAD))


def test_notes_are_broken_into_lines_below_the_picture(tmp_path) -> None:
    few = _read(overlay_picture(tmp_path / "a.png", make_detection(pixels=False)))
    note = "The spacing is that of the detector, not of the patient, since the file says nothing of the magnification. "
    many = _read(overlay_picture(tmp_path / "b.png", replace(make_detection(pixels=False), notes=(note * 3, "Short."))))
    assert len(many) > len(few) + 3 * 15
    assert (many[-len(many) + len(few) :, -6:] == 255).all(), "text runs to the edge"


@pytest.mark.parametrize(
    "change",
    [
        {"landmark_names": ("$x^", r"\alpha", "<b>", "患者", "")},
        {"name": "$broken math\\"},
        {"points": np.full((5, 2), np.nan)},
        {"regions": np.full((5, 2, 2), np.nan), "expected_error": np.full(5, np.nan)},
        {"regions": None, "expected_error": None, "covariance": None, "level": None},
        {"size": (1, 1), "pixels": np.zeros((1, 1), np.uint8)},
        {"size": (3000, 10), "pixels": np.zeros((10, 3000), np.uint8)},
    ],
    ids=["names", "title", "nowhere", "no numbers", "not calibrated", "one pixel", "very wide"],
)
def test_odd_detection_is_drawn_all_the_same(tmp_path, change, recwarn) -> None:
    height, width, _ = _read(overlay_picture(tmp_path / "a.png", replace(make_detection(pixels=False), **change))).shape
    assert 400 < height < 1200 and 480 <= width < 1800
    assert not [str(each.message) for each in recwarn]


def test_writer_leaves_the_files_it_announced(tmp_path) -> None:
    writer = OverlayWriter(tmp_path)
    assert writer.targets(["a", "b"]) == [tmp_path / "overlays" / "a.png", tmp_path / "overlays" / "b.png"]
    writer.add(make_detection("a"))
    assert writer.close() == [tmp_path / "overlays"]
    assert [each.name for each in (tmp_path / "overlays").iterdir()] == ["a.png"]


def test_writer_without_images_names_no_folder(tmp_path) -> None:
    assert OverlayWriter(tmp_path).close() == []


def test_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "overlays").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"overlays/a\.png: the file cannot be written"):
        OverlayWriter(tmp_path).add(make_detection("a"))

"""Pictures: marks fall where the points are, sizes are as asked, and no global matplotlib state is touched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.pictures.closeups import closeup_figure
from landmark_diffusion.pictures.figures import (
    HEAT,
    LEGEND,
    PREDICTION,
    TITLE,
    TRUTH,
    place_labels,
    shrink_keeping_peaks,
)
from landmark_diffusion.pictures.landmark_errors import cumulative_figure, landmark_errors_figure, success_curve
from landmark_diffusion.pictures.overlays import overlay_figure
from landmark_diffusion.pictures.process_figure import choose_steps, process_figure, salt_and_pepper_figure

HEIGHT = 600
TOP = np.array([0, TITLE])
NOBODY = np.zeros((0, 1, 2))


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _near(pixels: np.ndarray, colour: str, tolerance: int = 60) -> np.ndarray:
    """Where pixels (H, W, 3) have about the hex ``colour``."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(pixels - wanted) <= tolerance).all(-1)


def _centroid(mask: np.ndarray) -> np.ndarray:
    """Mean (x, y) of the pixels that are set."""
    assert mask.any(), "nothing of this colour"
    return np.array(np.nonzero(mask))[::-1].mean(1)


def _expected(point: np.ndarray, scale: float) -> np.ndarray:
    """Where an original pixel falls in the PNG: the picture begins at the left edge, under the title."""
    return (np.asarray(point) + 0.5) * scale - 0.5 + TOP


@pytest.mark.parametrize("size", [(150, 100), (1935, 2400), (60, 75)])
@pytest.mark.parametrize("share", [(0.3, 0.4), (0.72, 0.81)])
def test_marker_falls_on_its_pixel(tmp_path, size, share) -> None:
    width, height = size
    point = np.round(np.array(share) * size)
    image = np.zeros((height, width), np.uint8)
    path = overlay_figure(tmp_path / "a.png", image, point[None], NOBODY, (), height=HEIGHT)
    picture = _read(path)[TITLE : TITLE + HEIGHT]
    found = _centroid(_near(picture, PREDICTION)) + TOP
    assert np.abs(found - _expected(point, HEIGHT / height)).max() < 1.0


def test_image_itself_lies_where_its_markers_are_drawn(tmp_path) -> None:
    # A white pixel at (31, 17) of a black image, drawn 10 times as large: its centre is where a marker there would be.
    image = np.zeros((60, 80), np.uint8)
    image[17, 31] = 255
    nothing = np.full((1, 2), np.nan)
    path = overlay_figure(tmp_path / "a.png", image, nothing, NOBODY, (), height=600)
    picture = _read(path)[TITLE : TITLE + 600, :800]
    found = _centroid(picture.sum(-1) > 400) + TOP
    assert np.abs(found - _expected((31, 17), 10.0)).max() < 0.6


@pytest.mark.parametrize("mode", ["stretch", "pad"])
def test_heatmap_in_the_network_grid_lies_over_its_point(tmp_path, mode) -> None:
    image = np.zeros((300, 200), np.uint8)
    frame = Frame.fit((200, 300), (64, 64), mode)
    heat = np.zeros((2, 64, 64))
    heat[0, 40, 20] = 1.0
    nothing = np.full((2, 2), np.nan)
    options = {"heatmap": heat, "frame": frame, "height": HEIGHT}
    path = overlay_figure(tmp_path / "a.png", image, nothing, np.zeros((0, 2, 2)), (), **options)
    found = _centroid(_near(_read(path)[TITLE : TITLE + HEIGHT, :400], HEAT, 90)) + TOP
    expected = _expected(frame.to_original(np.array([20.0, 40.0])), 2.0)
    assert np.abs(found - expected).max() < 1.0


def test_overlay_lists_landmarks_and_survives_missing_points(tmp_path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (240, 200), dtype=np.uint8)
    prediction = rng.uniform(0, 200, (37, 2))
    annotations = prediction + rng.normal(0, 5, (2, 37, 2))
    prediction[3], annotations[1, 5], annotations[:, 7] = np.nan, np.nan, np.nan
    names = [f"a rather long name of landmark number {i}" for i in range(37)]
    path = overlay_figure(
        tmp_path / "sub" / "a.png", image, prediction, annotations, names, ("s", "j"), title="x" * 300
    )
    width, height = Image.open(path).size
    assert height == 1000 + TITLE + LEGEND and width > 1000 * 200 / 240


def test_closeups_centre_on_the_truth(tmp_path) -> None:
    image = np.zeros((400, 300), np.uint8)
    point = np.array([[120.0, 260.0], [np.nan, np.nan]])
    path = closeup_figure(tmp_path / "a.png", image, point, np.stack([point, point]), ("chin", "nose"), panel=190)
    picture = _read(path)
    first = picture[TITLE + 22 : TITLE + 22 + 190, 8 : 8 + 190]
    # The cross has a centre; its rings of the annotators are drawn below it.
    assert np.abs(_centroid(_near(first, PREDICTION)) - 94.5).max() < 1.0
    assert Image.open(path).size[0] == 8 + 6 * 198


@pytest.mark.parametrize("spot", [(120, 260), (4, 396)])
def test_closeups_show_the_pixels_around_the_truth(tmp_path, spot) -> None:
    image = np.zeros((400, 300), np.uint8)
    image[spot[1], spot[0]] = 255
    truth = np.array([[spot]], float)
    path = closeup_figure(tmp_path / "a.png", image, np.full((1, 2), np.nan), truth, ("chin",), panel=190)
    panel = _read(path)[TITLE + 22 : TITLE + 22 + 150, 8 : 8 + 190]  # above the white scale bar
    assert np.abs(_centroid(panel.min(-1) > 200) - 94.5).max() < 1.0


def test_process_figure_rings_the_truth_in_every_panel(tmp_path) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((48, 32), np.uint8)
    steps = [(t, rng.normal(size=(48, 32)), rng.random((48, 32))) for t in range(9, -1, -1)]
    path = process_figure(tmp_path / "a.png", steps, image, np.array([8.0, 12.0]), "chin", panels=4, panel_height=200)
    picture = _read(path)
    assert choose_steps(10, 4) == [0, 3, 6, 9]
    lines = _near(picture, TRUTH, 40)
    width, left, gap = round(200 * 32 / 48), 128, 6
    for row in range(2):
        for column in range(4):
            top, side = 62 + row * 206, left + column * (width + gap)
            assert lines[top : top + 100, side : side + width // 2 + 10].any(), f"no ring in row {row}, column {column}"
    assert not lines[:, left + 4 * (width + gap) :].any()


def test_process_figure_without_truth_or_name(tmp_path) -> None:
    steps = [(0, np.zeros((16, 16)), np.eye(16))]
    assert process_figure(tmp_path / "a.png", steps, np.zeros((16, 16))).stat().st_size > 1000


def test_salt_and_pepper_panel_has_a_row_for_each_variant(tmp_path) -> None:
    rng = np.random.default_rng(0)
    maps = {"single-step": rng.random((6, 48, 32)), "multi-step": rng.random((6, 48, 32)) ** 9}
    truth = rng.uniform(0, 32, (6, 2))
    truth[0] = np.nan  # a landmark that nobody marked is not chosen
    points = {"multi-step": truth + 1.0}
    names = list("abcdef")
    path = salt_and_pepper_figure(
        tmp_path / "a.png", rng.random((48, 32)), maps, truth, names, points=points, panel=150
    )
    picture = _read(path)
    crosses = _near(picture, PREDICTION, 30)
    assert not crosses[62:212].any() and crosses[218:368].any()  # points were given for the second row only
    assert Image.open(path).size == (128 + 5 * 156 + 12, 62 + 2 * 156 + 34)


def test_error_figures_cope_with_missing_and_zero_errors(tmp_path) -> None:
    rng = np.random.default_rng(0)
    errors = {name: rng.lognormal(0, 1, (20, 5)) for name in ("single-step", "multi-step")}
    errors["multi-step"][:, 3] = np.nan
    errors["multi-step"][0, 0] = 0.0
    human = np.array([1.0, 2.0, np.nan, np.nan, 0.5])
    path = landmark_errors_figure(tmp_path / "a.png", errors, list("abcde"), human=human, radius=2.0)
    assert Image.open(path).size[0] == 1000
    path = cumulative_figure(tmp_path / "b.png", errors, radii=(2, 4), human={"people": errors["single-step"]})
    assert Image.open(path).size == (900, 560)


def test_success_curve_counts_points() -> None:
    radii, share = success_curve(np.array([[3.0, np.nan], [1.0, 2.0]]))
    assert radii.tolist() == [1.0, 2.0, 3.0]
    assert share == pytest.approx([100 / 3, 200 / 3, 100.0])


def test_shrinking_keeps_a_single_hot_pixel() -> None:
    values = np.zeros((100, 70))
    values[77, 33] = 1.0
    values[10, 69] = -2.0
    small, block = shrink_keeping_peaks(values, 40)
    assert block == 3 and small.shape == (34, 24)
    assert small[77 // 3, 33 // 3] == 1.0 and small[10 // 3, 69 // 3] == -2.0
    assert np.count_nonzero(small) == 2


def test_labels_of_crowded_points_do_not_cover_each_other() -> None:
    anchors = np.array([[50.0, 50.0], [54.0, 52.0], [48.0, 56.0], [2.0, 2.0], [np.nan, np.nan]])
    sizes = [(16.0, 13.0)] * 5
    centres = place_labels(anchors, sizes, (100.0, 100.0), anchors[:4])
    gaps = np.abs(centres[:4, None] - centres[None, :4]) / [16.0, 13.0]
    assert (gaps.max(-1)[~np.eye(4, dtype=bool)] >= 1).all()
    assert (centres[:4] >= [8, 6.5]).all() and (centres[:4] <= [92, 93.5]).all()
    assert np.isnan(centres[4]).all()


def _draw(path: Path) -> bytes:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 30, (4, 2))
    image = rng.integers(0, 255, (40, 30), dtype=np.uint8)
    return overlay_figure(path, image, points, np.stack([points + 1]), list("abcd"), height=200).read_bytes()


def test_drawing_leaves_no_figure_and_no_setting_behind(tmp_path) -> None:
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    _draw(tmp_path / "a.png")
    cumulative_figure(tmp_path / "b.png", {"baseline": np.ones((2, 2))})
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_threads_draw_the_same_picture(tmp_path) -> None:
    alone = _draw(tmp_path / "alone.png")
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(_draw, [tmp_path / f"{i}.png" for i in range(8)]))
    assert all(each == alone for each in together)

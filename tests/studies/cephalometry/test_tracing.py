"""The drawn tracing: it is there with and without what a detection may lack, and lines lie on their landmarks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.pictures.figures import TITLE
from landmark_diffusion.pictures.sheet import HEIGHT
from landmark_diffusion.studies.cephalometry.analysis import analyse
from landmark_diffusion.studies.cephalometry.tracing import PLANES, tracing_picture
from tests.studies.cephalometry.faces import in_image, make_face

SIZE = (1935, 2400)


def detected(points: np.ndarray, **changed: object) -> Detection:
    return replace(Detection("face", "face.png", SIZE, LANDMARK_NAMES, points, spacing=(0.1, 0.1)), **changed)  # type: ignore[arg-type]


def drawn(tmp_path: Path, detection: Detection) -> np.ndarray:
    analysis = analyse(detection.points, detection.landmark_names, detection.spacing, detection.covariance)
    return np.asarray(Image.open(tracing_picture(tmp_path / "face.png", detection, analysis)).convert("RGB"))


def test_planes_are_drawn_over_the_radiograph_where_their_landmarks_lie(tmp_path: Path) -> None:
    points = in_image(make_face())
    picture = drawn(tmp_path, detected(points, pixels=np.zeros(SIZE[::-1], np.uint8)))
    scale = HEIGHT / SIZE[1]
    for name, start, end, colour in PLANES:
        middle = points[[LANDMARK_NAMES.index(start), LANDMARK_NAMES.index(end)]].mean(0)
        x, y = np.rint((middle + 0.5) * scale - 0.5 + (0, TITLE)).astype(int)
        near = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(near - wanted).sum(-1).min() < 60, name


def test_a_bright_radiograph_is_dimmed_so_that_lines_stand_out(tmp_path: Path) -> None:
    picture = drawn(tmp_path, detected(in_image(make_face()), pixels=np.full(SIZE[::-1], 255, np.uint8)))
    assert 150 < picture[TITLE + 10, 400].mean() < 230


def test_a_detection_without_image_spacing_or_half_of_its_points_is_drawn(tmp_path: Path) -> None:
    points = in_image(make_face())
    points[::2] = np.nan
    plain = detected(points, spacing=None, unlike=True, image_score=0.001, notes=("A note $of$ _its_ own.",))
    nothing = replace(plain, points=np.full_like(points, np.nan))
    assert drawn(tmp_path, plain).shape[0] >= HEIGHT
    assert drawn(tmp_path, nothing).shape[0] >= HEIGHT


def test_doubtful_points_have_a_diamond_and_absent_ones_no_planes(tmp_path: Path) -> None:
    points = in_image(make_face())
    black = np.zeros(SIZE[::-1], np.uint8)
    scale = HEIGHT / SIZE[1]
    doubtful = np.isin(LANDMARK_NAMES, ["articulare"])
    plain = detected(points, pixels=black)
    before, after = drawn(tmp_path, plain), drawn(tmp_path, replace(plain, doubtful=doubtful))
    x, y = np.rint((points[doubtful][0] + 0.5) * scale - 0.5 + (0, TITLE)).astype(int)
    area = np.s_[y - 12 : y + 13, x - 12 : x + 13]
    wanted = np.array([0xFF, 0x6A, 0x1A])
    assert [int((np.abs(each[area].astype(int) - wanted).sum(-1) < 60).sum() > 10) for each in (before, after)] == [
        0,
        1,
    ]
    outside = np.where(np.isin(LANDMARK_NAMES, ["nasion"]), 0.9, 0.0)
    without = drawn(tmp_path, replace(plain, outside=outside))
    x, y = np.rint((points[[0, 1]].mean(0) + 0.5) * scale - 0.5 + (0, TITLE)).astype(int)  # of the plane sella-nasion
    assert before[y - 3 : y + 4, x].max() > 200 and without[y - 3 : y + 4, x].max() < 60


def test_regions_are_drawn_around_their_points(tmp_path: Path) -> None:
    points = in_image(make_face())
    covariance = np.broadcast_to(np.eye(2) * 400.0, (len(points), 2, 2)).copy()
    black = np.zeros(SIZE[::-1], np.uint8)
    bare = detected(points, pixels=black, covariance=covariance)  # not calibrated: nothing is stated
    without = drawn(tmp_path, bare)[TITLE : TITLE + HEIGHT, :800].astype(int)
    with_it = drawn(tmp_path, replace(bare, level=0.9, regions=4 * covariance))[TITLE : TITLE + HEIGHT, :800]
    scale = HEIGHT / SIZE[1]
    radius = 40 * scale
    x, y = (points[LANDMARK_NAMES.index("articulare")] + 0.5) * scale - 0.5
    edge = np.abs(with_it.astype(int) - without)[round(y - radius) - 1 : round(y - radius) + 2, round(x)]
    assert edge.max() > 60

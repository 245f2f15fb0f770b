"""Phantoms: the same everywhere, annotated as stated, with landmarks where the picture shows them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.phantom import ANNOTATOR_OFFSETS, SIGMA_ACROSS, SIGMA_ALONG, PhantomDataset
from landmark_diffusion.phantom.anatomy import LANDMARK_NAMES, build
from landmark_diffusion.phantom.outlines import SkullParameters
from landmark_diffusion.phantom.render import film_spacing, film_to_pixels, render
from landmark_diffusion.phantom.shapes import coverage, ellipse, extreme, spline


def digest(dataset: PhantomDataset, stage: str, index: int) -> str:
    sample = dataset.samples(stage)[index]
    points = sample.annotations.tobytes() + dataset.true_points(sample).tobytes()
    return hashlib.sha256(dataset.load_image(sample).tobytes() + points).hexdigest()


def test_same_bytes_in_another_order_count_and_process() -> None:
    one, two = PhantomDataset((3, 2, 2), seed=5), PhantomDataset((9, 1, 3), seed=5)
    expected = [digest(one, "train", 2), digest(one, "test", 1)]
    assert [digest(two, "test", 1), digest(two, "train", 2)] == expected[::-1]
    program = (
        "import importlib.util, sys; sys.path.insert(0, '.')\n"
        f"spec = importlib.util.spec_from_file_location('phantom_test', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "d = module.PhantomDataset((3, 2, 2), seed=5)\n"
        "print(module.digest(d, 'train', 2), module.digest(d, 'test', 1))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == expected


def test_stages_and_seeds_share_no_image() -> None:
    datasets = [PhantomDataset((2, 2, 2), (97, 120), seed=s) for s in (0, 1)]
    made = [(d, sample) for d in datasets for stage in ("train", "val", "test") for sample in d.samples(stage)]
    images = [d.load_image(sample).tobytes() for d, sample in made]
    keys = [d.cache_key(sample) for d, sample in made]
    assert len(set(images)) == len(images) == len(set(keys)) == 12
    assert len({sample.image_id for _, sample in made}) == 6


def test_samples_are_what_the_contract_says() -> None:
    dataset = PhantomDataset((2, 1, 1))
    sample = dataset.samples("train")[0]
    image = dataset.load_image(sample)
    assert image.shape == (480, 387) and image.dtype == np.uint8
    assert sample.size == (387, 480) and sample.spacing == (0.5, 0.5)
    assert sample.annotations.shape == (2, len(LANDMARK_NAMES), 2) and sample.annotations.dtype == np.float64
    assert dataset.samples("predict") == dataset.samples("test")
    assert dataset.check() == []


def test_images_have_the_tones_of_a_radiograph() -> None:
    """Air is dark, bone is bright, and there is much in between: a blank or clipped picture fails."""
    dataset = PhantomDataset((3, 0, 0))
    for sample in dataset.samples("train"):
        image = dataset.load_image(sample)
        low, middle, high = np.percentile(image, [5, 50, 95])
        assert low < 50 and 60 < middle < 190 and high > 150
        assert (image == 255).mean() < 0.02


@pytest.fixture(scope="module")
def many() -> PhantomDataset:
    return PhantomDataset((80, 0, 0))


def test_every_point_lies_well_inside(many) -> None:
    points = np.stack([s.annotations for s in many.samples("train")])
    assert points.min() > 10 and (np.array(many.image_size) - 1 - points).min() > 10


def test_annotators_err_along_the_contour_as_stated(many) -> None:
    samples = many.samples("train")
    truth, along = np.stack([(many.true_points(s), many.contour_directions(s)) for s in samples], 1)
    error = (np.stack([s.annotations for s in samples], 1) - truth) * many.spacing[0]  # (A, images, N, 2) mm
    offset = np.array([ANNOTATOR_OFFSETS.get(name, (0.0, 0.0)) for name in LANDMARK_NAMES])
    # Two annotators differ with sqrt(2) times the deviation of one; 4 standard errors bound the mean.
    bound = 4 * np.sqrt(2 / len(samples)) * SIGMA_ALONG
    assert np.abs((error[1] - error[0]).mean(0) - offset).max() < bound
    assert np.linalg.norm(offset, axis=1).max() > 2.5 * bound  # so the line above would miss no forgotten offset
    assert np.abs(error.mean((0, 1))).max() < bound / 2
    free = error - np.array([-0.5, 0.5])[:, None, None, None] * offset
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    u, v = (free * along).sum(-1), (free * across).sum(-1)
    # 1920 draws know a deviation to 1.6 %, the 160 of one landmark to 5.6 %: four standard errors each.
    np.testing.assert_allclose([u.std(), v.std()], [SIGMA_ALONG, SIGMA_ACROSS], rtol=0.065)
    np.testing.assert_allclose(u.std((0, 1)), SIGMA_ALONG, rtol=0.225)
    np.testing.assert_allclose(v.std((0, 1)), SIGMA_ACROSS, rtol=0.225)
    assert abs(np.corrcoef(u.ravel(), v.ravel())[0, 1]) < 0.09
    assert abs(np.corrcoef(u[0].ravel(), u[1].ravel())[0, 1]) < 0.12


# ---- the picture itself says where the landmarks are -----------------------------------------------------------------

SIZE = (774, 960)


@pytest.fixture(scope="module")
def pictures() -> list[tuple[np.ndarray, SkullParameters]]:
    skulls = [SkullParameters.draw((11, 0, i)) for i in range(4)]
    return [(render(p, SIZE, noise=False, marks=False).astype(np.float32), p) for p in skulls]


def look(image: np.ndarray, place: np.ndarray, axis: np.ndarray, side: np.ndarray, reach: float, aside: np.ndarray):
    """Grey about ``place`` (px): a row for each of ``aside`` (mm along ``side``), columns in mm on ``axis``."""
    along = np.arange(-reach, reach + 1e-9, 0.05)
    mm = aside[:, None, None] * side + along[None, :, None] * axis
    spots = (place + mm / film_spacing(SIZE)).astype(np.float32)
    return cv2.remap(image, spots, None, cv2.INTER_CUBIC), along


def peak(along: np.ndarray, values: np.ndarray) -> float:
    i = int(np.clip(values.argmax(), 1, len(values) - 2))
    a, b, c = values[i - 1 : i + 2]
    return along[i] + 0.05 * 0.5 * (a - c) / (a - 2 * b + c)


def turned(direction: tuple[float, float], degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([c * direction[0] - s * direction[1], s * direction[0] + c * direction[1]])


@pytest.mark.parametrize(
    ("name", "direction", "span"),
    [("menton", (0, 1), 2.5), ("pogonion", (1, 0), 2.5), ("soft tissue pogonion", (1, 0), 2.0)],
)
def test_contour_extremes_are_where_the_picture_shows_them(pictures, name, direction, span) -> None:
    """Trace the edge (steepest fall of grey outwards) about the landmark; its farthest point is the landmark."""
    errors = []
    for image, p in pictures:
        place = film_to_pixels(build(p).landmarks[LANDMARK_NAMES.index(name)], SIZE)
        out = turned(direction, p.rotation)
        side = np.array([-out[1], out[0]])
        aside = np.arange(-span, span + 0.01, 0.25)
        grey, along = look(image, place, out, side, 2.5, aside)
        edge = [peak(along, -np.gradient(cv2.GaussianBlur(row[None], (0, 0), 4)[0])) for row in grey]
        bend, slope, top = np.polyfit(aside, edge, 2)
        assert bend < 0, "the contour does not bulge here"
        errors.append((top - slope**2 / (4 * bend), -slope / (2 * bend)))
    out_mm, along_mm = np.array(errors).T
    # The beam's blur draws the steepest place of a convex edge inwards by about 0.1 mm; a pixel is 0.25 mm.
    assert np.abs(out_mm).max() < 0.2 and abs(out_mm.mean()) < 0.15
    # Along a flat extremum the place is soft, for a person as well: the fit still finds it within half a millimetre.
    assert np.abs(along_mm).mean() < 0.5


@pytest.mark.parametrize(("name", "direction"), [("orbitale", (0, 1)), ("porion", (0, -1))])
def test_rims_are_bright_where_the_landmark_is(pictures, name, direction) -> None:
    errors = []
    for image, p in pictures:
        place = film_to_pixels(build(p).landmarks[LANDMARK_NAMES.index(name)], SIZE)
        out = turned(direction, p.rotation)
        grey, along = look(image, place, out, np.array([-out[1], out[0]]), 1.5, np.zeros(1))
        errors.append(peak(along, grey[0]))
    assert np.abs(errors).max() < 0.2


def test_incisor_ends_at_its_tip(pictures) -> None:
    """On the tooth's axis the grey falls at the tip, and the labial face, followed downwards, runs through it."""
    ends, faces = [], []
    for image, p in pictures:
        anatomy = build(p)
        i = LANDMARK_NAMES.index("upper incisor tip")
        place, up = film_to_pixels(anatomy.landmarks[i], SIZE), anatomy.tangents[i]
        labial = np.array([-up[1], up[0]])
        grey, along = look(image, place, -up, labial, 2.0, np.zeros(1))
        ends.append(peak(along, -np.gradient(cv2.GaussianBlur(grey, (0, 0), 4)[0])))
        heights = np.arange(1.4, 3.01, 0.2)
        grey, along = look(image, place, labial, up, 2.0, heights)
        edge = [peak(along, -np.gradient(cv2.GaussianBlur(row[None], (0, 0), 3)[0])) for row in grey]
        faces.append(np.polyval(np.polyfit(heights, edge, 1), 0.0))
    # The beam's blur and the tip's narrowness take off a little of the end, never add to it.
    assert -0.5 < np.mean(ends) < 0.1, ends
    assert abs(np.mean(faces)) < 0.12, faces


def test_other_sizes_show_the_same_head_in_mm() -> None:
    p = SkullParameters.draw((3, 0, 0))
    small, large = (render(p, size, noise=False, marks=False).astype(float) for size in ((129, 160), (387, 480)))
    shrunk = large.reshape(160, 3, 129, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 4.0
    a, b = (PhantomDataset((1, 0, 0), size) for size in ((129, 160), (387, 480)))
    points = [(d.true_points(d.samples("train")[0]) + 0.5) * d.spacing[0] for d in (a, b)]
    np.testing.assert_allclose(points[0], points[1], atol=1e-9)
    wide = PhantomDataset((1, 0, 0), (600, 480))
    assert wide.load_image(wide.samples("train")[0]).shape == (480, 600) and wide.spacing == (0.5, 0.5)


# ---- the exact rasteriser and the curves -----------------------------------------------------------------------------


def test_coverage_equals_the_closed_form_area_and_brute_force() -> None:
    disc = ellipse((20.3, 15.7), (6.2, 4.1), 20, 2000)
    for polygon in (disc, disc[::-1]):
        share, _ = coverage(polygon, (40, 30))
        assert share.sum() == pytest.approx(np.pi * 6.2 * 4.1, rel=1e-5)
    square = np.array([(1.25, 2.5), (4.75, 2.5), (4.75, 3.75), (1.25, 3.75)])  # pixel 1 spans 0.5 to 1.5, and so on
    expected = np.zeros((6, 7))
    expected[3, 1:6] = [0.25, 1, 1, 1, 0.25]
    expected[4, 1:6] = [0.0625, 0.25, 0.25, 0.25, 0.0625]
    share, part = coverage(square, (7, 6))
    found = np.zeros((6, 7))
    found[part] = share
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_coverage_cut_by_the_border_equals_the_cut_of_the_whole() -> None:
    disc = ellipse((2.3, 5.7), (16.2, 14.1), 20, 500)
    whole, cut = np.zeros((120, 120)), np.zeros((12, 10))
    share, part = coverage(disc + 50, (120, 120))
    whole[part] = share
    share, part = coverage(disc, (10, 12))
    cut[part] = share
    np.testing.assert_allclose(cut, whole[50:62, 50:60], atol=1e-6)
    assert coverage(disc + 500, (10, 12))[0].size == 0


def test_spline_passes_its_points_and_extreme_lies_between_vertices() -> None:
    control = np.array([(0, 0), (4, 1), (5, 5), (1, 6)], dtype=float)
    for closed in (False, True):
        line = spline(control, closed, 0.1)
        assert max(np.linalg.norm(line - c, axis=1).min() for c in control) < 1e-9
    circle = ellipse((0, 0), (3.0, 3.0), 0, 50)
    place, tangent = extreme(circle, turned((1, 0), 40))
    np.testing.assert_allclose(place, 3 * turned((1, 0), 40), atol=2e-3)
    assert abs(tangent @ turned((1, 0), 40)) < 1e-2


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": (-1, 2, 3)}, ["count", "-1"]),
        ({"count": (1, 2)}, ["count", "train, val, test"]),
        ({"count": 5}, ["count", "5"]),
        ({"count": (1.5, 2, 3)}, ["count", "1.5"]),
        ({"image_size": (10, 480)}, ["image_size", "10"]),
        ({"image_size": "387x480"}, ["image_size", "387x480"]),
        ({"seed": -3}, ["seed", "-3"]),
    ],
)
def test_silly_options_are_refused_by_name(options, words) -> None:
    with pytest.raises(UserError) as caught:
        PhantomDataset(**options)
    assert all(word in str(caught.value) for word in words)


def test_check_warns_of_a_coarse_size_and_of_no_training_image() -> None:
    messages = [f.message for f in PhantomDataset((0, 1, 0), (60, 80)).check()]
    assert len(messages) == 2 and "no training image" in messages[0] and "too coarse" in messages[1]


def test_a_foreign_sample_is_refused() -> None:
    dataset = PhantomDataset((1, 0, 0))
    sample = dataset.samples("train")[0]
    with pytest.raises(UserError, match="PhantomDataset"):
        dataset.load_image(type(sample)("001", sample.size, sample.annotations))

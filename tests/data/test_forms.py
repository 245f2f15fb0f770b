"""The sixteen forms: image, points and spreads go there and back exactly, and their names say what a reader sees."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.data.forms import BY_NAME, FORMS, UPRIGHT, Form

WIDTH, HEIGHT = 7, 12
NUMBERED = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH)
"""Each pixel has a grey of its own, so that it is known wherever it goes."""

forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def places(size: tuple[int, int]) -> np.ndarray:
    """All pixels (x, y) of an image of ``size`` (width, height)."""
    return np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), -1).reshape(-1, 2).astype(float)


def greys_at(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    columns, rows = points.astype(int).T
    assert (points == np.stack([columns, rows], -1)).all() and points.min() >= 0
    return image[rows, columns]


@forms
def test_each_pixel_is_where_its_point_goes(form: Form) -> None:
    image = form.apply(NUMBERED)
    size = image.shape[::-1]
    assert size == form.upright_size((WIDTH, HEIGHT)) and form.upright_size(size) == (WIDTH, HEIGHT)
    positive = 255 - image if form.negative else image
    upright = places((WIDTH, HEIGHT))
    np.testing.assert_array_equal(greys_at(positive, form.apply_points(upright, size)), greys_at(NUMBERED, upright))
    here = places(size)
    np.testing.assert_array_equal(greys_at(NUMBERED, form.undo_points(here, size)), greys_at(positive, here))


@forms
def test_undoing_gives_image_points_and_matrices_back(form: Form) -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(form.undo(form.apply(NUMBERED)), NUMBERED)
    points, matrices = rng.normal(0, 50, (4, 3, 2)), rng.normal(0, 9, (4, 2, 2))
    size = form.upright_size((WIDTH, HEIGHT))
    np.testing.assert_allclose(form.undo_points(form.apply_points(points, size), size), points, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(form.undo_matrices(form.apply_matrices(matrices)), matrices)


@forms
def test_a_covariance_is_that_of_the_mapped_points(form: Form) -> None:
    cloud = np.random.default_rng(1).normal(0, 1, (200, 2)) @ np.array([[3.0, 1.0], [0.0, 2.0]])
    size = form.upright_size((WIDTH, HEIGHT))
    mapped = form.apply_points(cloud, size)
    np.testing.assert_allclose(form.apply_matrices(np.cov(cloud.T)), np.cov(mapped.T), rtol=1e-12)


def test_upright_changes_nothing_at_all() -> None:
    points = np.array([[0.1, 1 / 3], [np.nan, 5.0]])
    np.testing.assert_array_equal(UPRIGHT.apply_points(points, (WIDTH, HEIGHT)), points)
    np.testing.assert_array_equal(UPRIGHT.apply(NUMBERED), NUMBERED)


@forms
def test_an_unknown_point_stays_unknown(form: Form) -> None:
    points = np.array([[np.nan, np.nan], [1.0, 2.0]])
    found = form.apply_points(points, form.upright_size((WIDTH, HEIGHT)))
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
    assert np.isnan(form.apply_matrices(np.full((2, 2), np.nan))).all()


@pytest.mark.parametrize(
    ("name", "corner"),
    [
        ("upright", "top left"), ("mirrored", "top right"), ("flipped", "bottom left"), ("upside down", "bottom right"),
        ("turned left", "bottom left"), ("turned right", "top right"), ("turned left and mirrored", "top left"),
        ("turned right and mirrored", "bottom right"),
    ],
)  # fmt: skip
def test_a_name_says_where_the_upper_left_corner_goes(name: str, corner: str) -> None:
    """Worked by hand; what is turned and mirrored is its transposition along one diagonal or the other."""
    image = BY_NAME[name].apply(NUMBERED)
    corners = {"top left": (0, 0), "top right": (0, -1), "bottom left": (-1, 0), "bottom right": (-1, -1)}
    assert image[corners[corner]] == 0
    assert (image.shape == NUMBERED.shape) == ("turned" not in name)


def test_there_are_sixteen_and_each_has_a_name_of_its_own() -> None:
    assert len({form.apply(NUMBERED).tobytes() + bytes(form.apply(NUMBERED).shape) for form in FORMS}) == 16
    assert len(BY_NAME) == 16 and FORMS.index(UPRIGHT) == 0
    assert Form(negative=True).name == "negative" and Form(True, 1, True).name == "turned left and mirrored, negative"


@forms
def test_a_turn_alone_leaves_the_mirror(form: Form) -> None:
    """Turned back, a picture is upright or mirrored; its grey values are not asked for."""
    turned_back = form.turn.undo(form.apply(NUMBERED))
    np.testing.assert_array_equal(turned_back, Form(form.mirrored, 0, form.negative).apply(NUMBERED))


@forms
def test_a_spacing_is_exchanged_with_the_sides(form: Form) -> None:
    """Distances in mm are the same in either image."""
    upright, size = (0.1, 0.25), form.upright_size((WIDTH, HEIGHT))
    points = np.array([[0.0, 0.0], [3.0, 4.0]])
    across = np.diff(points * upright, axis=0)
    found = np.diff(form.apply_points(points, size) * form.upright_size(upright), axis=0)
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(across), rel=1e-12)

"""What other devices do to a radiograph: each part by itself, what it keeps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import get_recipe
from landmark_diffusion.data.augmentation.devices import PARTS

OFF = {
    **dict.fromkeys(PARTS, 0.0),
    "usual": 0.0,
    "cut": 0.0,
    "affine": False,
    "elastic": False,
    "intensity": False,
    "cutout": False,
}
RNG = np.random.default_rng(0)
IMAGE = np.clip(np.add.outer(np.linspace(20, 200, 120), np.linspace(-10, 30, 96)) + RNG.normal(0, 4, (120, 96)), 0, 255)
IMAGE = IMAGE.astype(np.uint8)
POINTS = np.array([[10.0, 20.0], [np.nan, np.nan], [90.0, 100.0]])


def changed(seed: int = 0, **options: object) -> np.ndarray:
    image, points = get_recipe("devices", **{**OFF, **options})(IMAGE, POINTS, np.random.default_rng(seed))
    assert (image.dtype, image.shape) == (np.uint8, IMAGE.shape)
    assert np.array_equal(points, POINTS, equal_nan=True)
    return image


def test_all_parts_off_leave_the_image_as_it_is():
    assert (changed() == IMAGE).all()


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_values_alone_and_is_drawn_by_its_probability(part):
    different = [bool((changed(seed, **{part: 1.0}) != IMAGE).any()) for seed in range(12)]
    assert sum(different) >= 9
    sometimes = [bool((changed(seed, **{part: 0.3}) != IMAGE).any()) for seed in range(80)]
    assert 0.05 < np.mean(sometimes) < 0.5


@pytest.mark.parametrize("part", PARTS)
def test_a_part_draws_from_numbers_of_its_own(part):
    """What one part does to an image does not depend on which of the others are on."""
    before = [name for name in PARTS if list(PARTS).index(name) < list(PARTS).index(part)]
    alone = changed(3, **{part: 1.0})
    beside = changed(3, **{part: 1.0, **dict.fromkeys(before, 1e-12)})
    assert (alone == beside).all()


def test_the_usual_share_gets_the_recipe_of_paper_a():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rng.random()
        wanted, moved = get_recipe("paper_a")(IMAGE, POINTS, rng)
        image, points = get_recipe("devices", usual=1.0)(IMAGE, POINTS, np.random.default_rng(seed))
        assert (image == wanted).all() and np.array_equal(points, moved, equal_nan=True)


def test_tables_keep_the_order_of_grey_levels():
    for seed in range(8):
        image = changed(seed, tables=1.0).astype(int)
        levels = {int(before): int(after) for before, after in zip(IMAGE.ravel(), image.ravel(), strict=True)}
        assert (np.diff([levels[level] for level in sorted(levels)]) >= 0).all()


def test_negative_is_255_less_each_value():
    assert (changed(negative=1.0) == 255 - IMAGE).all()


def test_collimation_covers_no_more_than_its_border():
    for seed in range(20):
        image = changed(seed, collimation=1.0, border=0.1)
        middle = (slice(round(0.14 * 120), round(0.86 * 120)), slice(round(0.14 * 96), round(0.86 * 96)))
        assert (image[middle] == IMAGE[middle]).mean() > 0.97  # a slanted edge, or the corners of a round field


def test_a_cut_fills_the_frame_with_a_part_of_the_image():
    still = {"affine": True, "rotation": 0.0, "scale": (1.0, 1.0), "shear": 0.0, "stretch": (1.0, 1.0)}
    cut = {"shift_fraction": 0.0, "cut": 1.0, "cut_sides": (0.5, 0.5)}
    recipe = get_recipe("devices", **{**OFF, **still, **cut})
    corners = np.array([[-0.5, -0.5], [95.5, 119.5]])
    for seed in range(5):
        image, moved = recipe(np.full((120, 96), 200, np.uint8), corners, np.random.default_rng(seed))
        assert np.allclose(moved[1] - moved[0], [192, 240])  # twice as large, the image's own corners are outside
        assert (moved[0] <= -0.5).all() and (moved[1] >= [95.5, 119.5]).all()
        assert image.min() == 200  # no border comes in


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"noise": 1.5}, "noise: found 1.5, expected a probability"),
        ({"cut": -0.1}, "cut: found -0.1, expected a probability"),
        ({"marks": True}, "marks: found True, expected a probability"),
        ({"border": 0.5}, "border: found 0.5, expected a number from 0 to 0.45"),
        ({"smallest": 0.0}, "smallest: found 0.0"),
        ({"stretch": (0.0, 1.0)}, "stretch: found"),
        ({"cut_sides": (0.0, 1.0)}, "cut_sides: found"),
        ({"stretch": 1.0}, "stretch: found 1.0, expected a range"),
        ({"nois": 0.5}, "'noise'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, expected):
    with pytest.raises(UserError, match=expected):
        get_recipe("devices", **options)

"""Recipes as a whole: deterministic, safe in workers, unclipped points, options that are checked."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import RECIPES, get_recipe

OURS = ["none", "paper_a", "paper_b", "mild", "devices"]
IMAGE = np.random.default_rng(0).integers(0, 256, (100, 80)).astype(np.uint8)
POINTS = np.array([[10.0, 20.0], [np.nan, np.nan], [79.0, 99.0], [40.25, 50.75], [0.0, 0.0]])


def usable(name: str):
    try:
        return get_recipe(name)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [*OURS, "paper_a_imgaug"])
def test_the_same_rng_gives_the_same_result_and_inputs_stay_untouched(name):
    recipe = pickle.loads(pickle.dumps(usable(name)))
    image, points = IMAGE.copy(), POINTS.copy()
    first = recipe(image, points, np.random.default_rng(3))
    recipe(image, points, np.random.default_rng(4))
    again = usable(name)(image, points, np.random.default_rng(3))
    assert (first[0] == again[0]).all()
    assert np.array_equal(first[1], again[1], equal_nan=True)
    assert (image == IMAGE).all()
    assert np.array_equal(points, POINTS, equal_nan=True)


@pytest.mark.parametrize("name", [*OURS, "paper_a_imgaug"])
def test_form_of_the_result(name):
    image, points = usable(name)(IMAGE, POINTS, np.random.default_rng(0))
    assert (image.dtype, image.shape, points.dtype, points.shape) == (np.uint8, (100, 80), np.float64, (5, 2))
    assert np.isnan(points).all(1).tolist() == [False, True, False, False, False]
    assert not np.shares_memory(image, IMAGE)
    assert not np.shares_memory(points, POINTS)


def test_rng_is_read_by_its_state():
    """A generator whose state was copied (as a resumed run does) continues alike."""
    rng, copy = np.random.default_rng(5), np.random.default_rng(6)
    rng.random(7)
    copy.bit_generator.state = rng.bit_generator.state
    recipe = get_recipe("paper_a")
    one, two = recipe(IMAGE, POINTS, rng), recipe(IMAGE, POINTS, copy)
    assert (one[0] == two[0]).all()
    assert not (one[0] == recipe(IMAGE, POINTS, rng)[0]).all()


def test_none_changes_nothing():
    image, points = get_recipe("none")(IMAGE, POINTS, np.random.default_rng(0))
    assert (image == IMAGE).all()
    assert np.array_equal(points, POINTS, equal_nan=True)


def test_points_leave_the_frame_unclipped():
    recipe = get_recipe("mild", shift_fraction=0.5, rotation=0.0, scale=(1, 1), intensity=False)
    moved = np.stack([recipe(IMAGE, POINTS, np.random.default_rng(seed))[1] for seed in range(50)])
    assert moved[:, 4].min() < -20
    assert moved[:, 2, 0].max() > 100
    known = moved[:, [0, 2, 3, 4]]
    assert known - known[:, :1] == pytest.approx(np.broadcast_to(POINTS[[0, 2, 3, 4]] - POINTS[0], known.shape))


@pytest.mark.parametrize("name", ["paper_a", "mild"])
def test_geometry_of_a_seed_does_not_depend_on_intensity_and_cutout(name):
    whole = get_recipe(name)(IMAGE, POINTS, np.random.default_rng(8))[1]
    bare = get_recipe(name, intensity=False, cutout=False)(IMAGE, POINTS, np.random.default_rng(8))[1]
    assert np.array_equal(whole, bare, equal_nan=True)


@pytest.mark.parametrize("size", [(640, 800), (160, 200)])
def test_paper_a_scale_and_shift_reach_and_keep_their_ranges(size):
    """Section 4.1: scale 0.95-1.05, +-10 px at 640 wide; rotation and shears keep areas."""
    maps = draw_maps(size)
    scale = np.sqrt([np.linalg.det(m.matrix) for m in maps])
    assert 0.95 <= scale.min() < 0.951
    assert 1.049 < scale.max() <= 1.05
    centre = (np.array(size) - 1) / 2
    shift = np.abs(np.stack([m(centre) - centre for m in maps])).max(0) * 640 / size[0]
    assert shift == pytest.approx([10.0, 10.0], abs=0.05)
    assert (shift <= 10.0 + 1e-9).all()


def test_paper_a_angles_reach_and_keep_their_ranges():
    """Section 4.1: rotation +-3 degrees, shear +-10 degrees on each axis."""
    turns = np.stack([m.matrix for m in draw_maps((640, 800), shear=0.0, scale=(1.0, 1.0))])
    angle = np.degrees(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
    assert (angle.min(), angle.max()) == pytest.approx((-3.0, 3.0), abs=0.02)
    shears = np.stack([m.matrix for m in draw_maps((640, 800), rotation=0.0, scale=(1.0, 1.0))])
    for angle in np.degrees(np.arctan([shears[:, 0, 1], shears[:, 1, 0]])):
        assert (angle.min(), angle.max()) == pytest.approx((-10.0, 10.0), abs=0.05)
        assert np.abs(angle).max() <= 10.0 + 1e-9


def draw_maps(size: tuple[int, int], **overrides) -> list:
    rng, recipe = np.random.default_rng(0), dataclasses.replace(RECIPES["paper_a"], **overrides)
    return [recipe.draw_affine(size, rng) for _ in range(2000)]


def test_paper_b_amounts_are_fractions_of_each_side():
    recipe = dataclasses.replace(RECIPES["paper_b"], rotation=0.0, scale=(1.0, 1.0))
    shifts = np.stack([recipe.draw_affine((100, 200), np.random.default_rng(s)).offset for s in range(500)])
    assert np.abs(shifts).max(0) == pytest.approx([2.0, 4.0], rel=0.02)
    assert get_recipe("paper_b").rotation == 2.0
    assert get_recipe("paper_b").alpha == 0.0


def test_displacement_carries_to_half_the_size():
    """The same seeds at 640x800 and 320x400 move the points by the same part of the width, on the whole."""
    recipe = get_recipe("paper_a", affine=False, intensity=False, cutout=False)
    spread = []
    for size in ((640, 800), (320, 400)):
        points = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 6), np.linspace(0.1, 0.9, 6)), -1).reshape(-1, 2) * size
        blank = np.zeros(size[::-1], dtype=np.uint8)
        moved = np.stack([recipe(blank, points, np.random.default_rng(s))[1] - points for s in range(60)])
        spread.append(moved.std() / size[0])
    assert spread[0] == pytest.approx(spread[1], rel=0.02)
    assert spread[0] * 640 == pytest.approx(2.71, rel=0.06)


def test_imgaug_kernel_is_as_strong_as_imgaug():
    """kernel="imgaug" gives the displacement that imgaug's own noise has; the whole Gaussian gives 0.70 of it."""
    usable("paper_a_imgaug")
    recipe = get_recipe("paper_a", kernel="imgaug", affine=False, intensity=False, cutout=False)
    import imgaug
    from imgaug.augmenters.geometric import ElasticTransformation

    draw, generator = ElasticTransformation._generate_shift_maps, imgaug.random.RNG
    theirs = np.mean([np.square(draw((400, 320), 500.0, 30.0, generator(seed))).mean() for seed in range(30)])
    blank = np.zeros((800, 640), dtype=np.uint8)
    points = np.stack(np.meshgrid(np.linspace(50, 590, 8), np.linspace(50, 750, 8)), -1).reshape(-1, 2)
    ours = [recipe(blank, points, np.random.default_rng(s))[1] - points for s in range(40)]
    assert np.std(ours) == pytest.approx(np.sqrt(theirs), rel=0.08)


def test_ranges_may_come_as_lists_from_yaml():
    recipe = get_recipe("paper_a", gamma=[0.9, 1.1], elastic=False)
    assert recipe.gamma == (0.9, 1.1)
    assert hash(recipe) == hash(dataclasses.replace(recipe))


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"papr_a.*'paper_a'.*paper_b"):
        get_recipe("papr_a")
    with pytest.raises(UserError, match=r"rotations.*'rotation'"):
        get_recipe("paper_a", rotations=4.0)
    assert set(RECIPES) == {*OURS, "paper_a_imgaug"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("scale", (1.1, 0.9)),
        ("scale", (0.0, 1.0)),
        ("gamma", 2.0),
        ("gamma", ("a", "b")),
        ("rotation", -3.0),
        ("rotation", "3"),
        ("cutout_size", (0.0, 1.5)),
        ("alpha", 1e6),
        ("kernel", "box"),
        ("elastic", "no"),
        ("reference_width", 0),
        ("shear", 90.0),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(option, value):
    with pytest.raises(UserError, match=f"recipe option {option}: found"):
        get_recipe("paper_a", **{option: value})


def test_another_kind_of_image_is_refused():
    with pytest.raises(ValueError, match="expected uint8"):
        get_recipe("paper_a")(IMAGE.astype(np.float32), POINTS, np.random.default_rng(0))

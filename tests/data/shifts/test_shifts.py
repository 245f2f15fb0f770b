"""Other devices' images: points follow exactly, a draw is repeated exactly, and every landmark stays to be seen."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import landmark_diffusion.data.shifts as package
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.shifts import FAMILIES, ShiftedImage, shift_image
from landmark_diffusion.data.sources.phantom import PhantomDataset

MOVING = ("margin_black", "margin_white", "zoom", "stretch", "turn", "photograph", "narrow")
HIDING = ("collimated_black", "collimated_white", "marks")
SPOT = 11.0
"""Standard deviation of a marker in px: wide enough for 200 px of 800."""


@cache
def markers(size: tuple[int, int] = (800, 1000)) -> tuple[np.ndarray, np.ndarray]:
    """Bright Gaussian spots at fractions of pixels on grey (H, W), and their places (N, 2)."""
    points = np.array([[x, y] for x in (250.3, 400.7, 571.25) for y in (300.6, 520.1, 741.4)])
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    spots = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * SPOT**2)) for a, b in points)
    return np.rint(40 + 200 * spots).astype(np.uint8), points


def centroid(grey: np.ndarray, around: np.ndarray, reach: float) -> np.ndarray:
    """Centroid (2,) of what is brighter than the ground, within ``reach`` px of a place."""
    x, y = np.arange(grey.shape[1]), np.arange(grey.shape[0])[:, None]
    near = (x - around[0]) ** 2 + (y - around[1]) ** 2 <= reach**2
    ground = np.median(grey[((x - around[0]) ** 2 + (y - around[1]) ** 2 <= (1.3 * reach) ** 2) & ~near])
    weights = np.where(near, np.clip(grey.astype(float) - ground, 0, None), 0)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    source = PhantomDataset(count=(1, 1, 1), image_size=(232, 288))
    sample = source.samples("test")[0]
    return source.load_image(sample), source.true_points(sample)


def misses(family: str, seed: int) -> np.ndarray:
    """Found markers, brought back, less their points: (N, 2) original px."""
    grey, points = markers()
    changed = shift_image(grey, points, family, seed, "marked")
    there = changed.to_shifted(points)
    sides = [np.linalg.norm(each[1] - each[0]) for each in (there, points)]
    assert changed.visible(points).all()
    np.testing.assert_allclose(changed.to_original(there), points, atol=1e-9)
    found = [centroid(changed.grey, place, 3 * SPOT * sides[0] / sides[1]) for place in there]
    return changed.to_original(np.array(found)) - points


@pytest.mark.parametrize("family", MOVING)
@pytest.mark.parametrize("seed", [0, 1])
def test_markers_are_where_their_points_go_and_come_back(family: str, seed: int) -> None:
    assert np.linalg.norm(misses(family, seed), axis=1).max() < 0.3


@pytest.mark.parametrize("family", ["jpeg", "motion_blur", "edges", "noise"])
@pytest.mark.parametrize("seed", [0, 1])
def test_changes_of_value_move_nothing(family: str, seed: int) -> None:
    """What noise and blocks do to one marker's centroid is random: all together stay where they were."""
    assert np.linalg.norm(misses(family, seed).mean(0)) < (0.5 if family == "noise" else 0.2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draw_depends_on_seed_and_image_alone(family: str, phantom: tuple[np.ndarray, np.ndarray]) -> None:
    grey, points = phantom
    first = shift_image(grey, points, family, 3, "a")
    before = grey.copy()
    np.random.seed(5)
    shift_image(grey[::-1].copy(), points, family, 3, "b")
    again = shift_image(grey, points, family, 3, "a")
    assert (first.grey == again.grey).all() and (first.matrix == again.matrix).all() and (grey == before).all()
    assert first.grey.dtype == np.uint8 and first.grey.ndim == 2 and not np.array_equal(first.grey, grey)
    others = [shift_image(grey, points, family, *key).grey for key in ((4, "a"), (5, "a"), (3, "b"), (3, "c"))]
    drawn = family not in DETERMINED
    assert drawn == any(each.shape != first.grey.shape or (each != first.grey).any() for each in others)


DETERMINED = (
    *("clahe_small", "clahe_large", "edges", "narrow", "jpeg", "posterised", "negative", "dark", "bright"),
)  # fmt: skip
"""Families without anything drawn."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(48, 61), (211, 97)])
def test_small_and_wide_images_and_missing_points(family: str, size: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    points = np.array([[10.0, 12.0], [np.nan, np.nan], [size[0] - 5.0, 30.0]])
    changed = shift_image(grey, points, family, 0, "x")
    assert changed.grey.dtype == np.uint8 and min(changed.grey.shape) > 10
    assert not changed.visible(points)[1] and np.isnan(changed.to_shifted(points)[1]).all()
    nothing = shift_image(grey, np.full((2, 2), np.nan), family, 0, "x")
    assert nothing.grey.size and not nothing.visible(np.full((2, 2), np.nan)).any()


@pytest.mark.parametrize("family", [*HIDING, "zoom"])
def test_cuts_and_marks_leave_the_landmarks(family: str, phantom: tuple[np.ndarray, np.ndarray]) -> None:
    grey, points = phantom
    for number in range(12):
        changed = shift_image(grey, points, family, 0, str(number))
        assert changed.visible(points).all()
        if family in HIDING:
            assert changed.hidden is not None and changed.hidden.any()
            shown = ~changed.hidden
            assert (changed.grey[shown] == grey[shown]).all()
        else:  # 6 % of the window's sides, cut at whole pixels
            room = np.array(changed.grey.shape[::-1]) * 0.06 - 1.5
            there = changed.to_shifted(points)
            assert (there >= room - 0.5).all() and (there <= changed.grey.shape[::-1] - room).all()


def test_what_is_outside_or_covered_is_not_visible() -> None:
    hidden = np.zeros((4, 6), bool)
    hidden[1, 2] = True
    matrix = np.array([[1.0, 0, -10], [0, 1, 0], [0, 0, 1]])  # ten columns were cut off
    changed = ShiftedImage(np.zeros((4, 6), np.uint8), matrix, hidden)
    points = np.array([[12, 1], [13, 1], [9.4, 1], [9.6, 0], [15.4, 3.4], [15.6, 3], [11, 3.6]])
    assert changed.visible(points).tolist() == [False, True, False, True, True, False, False]
    assert changed.visible(points[:2][None]).tolist() == [[False, True]]


def test_grey_values_by_closed_form() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    nowhere = np.empty((0, 2))

    def row(family: str) -> np.ndarray:
        return shift_image(ramp, nowhere, family, 0, "x").grey[7].astype(float)

    levels = np.arange(256) / 255
    assert (row("dark") == np.rint(255 * levels**2.2)).all() and (row("bright") == np.rint(255 * levels**0.35)).all()
    assert (row("negative") == 255 - np.arange(256)).all()
    assert len(np.unique(row("posterised"))) == 12
    low = row("low_contrast")
    assert low[255] - low[0] == pytest.approx(255 / 4, abs=1) and 40 <= low[0] <= 150
    film = row("film_curve")
    steps = np.diff(film)
    assert film[0] == 0 and film[255] == 255 and (steps >= 0).all()
    assert steps[100:155].mean() > 1.6 and 0 < steps[:30].mean() < 0.6 and 0 < steps[-30:].mean() < 0.6  # toe, shoulder
    halves = shift_image(ramp, nowhere, "part_inverted", 0, "x").grey
    turned = halves != ramp
    assert (halves[turned] == 255 - ramp[turned]).all() and 0.2 < turned.mean() < 0.5


def test_edges_overshoot_and_shading_is_smooth() -> None:
    step = np.full((240, 240), 80, np.uint8)
    step[:, 120:] = 150
    sharp = shift_image(step, np.empty((0, 2)), "edges", 0, "x").grey
    assert sharp[100, 119] < 40 and sharp[100, 120] > 190 and sharp[100, 5] == 80 and sharp[100, 235] == 150
    even = np.full((240, 200), 200, np.uint8)
    shaded = shift_image(even, np.empty((0, 2)), "shading", 0, "x").grey.astype(int)
    assert shaded.min() < 100 < 150 < shaded.max() <= 200
    assert max(np.abs(np.diff(shaded, axis=axis)).max() for axis in (0, 1)) <= 6


def test_noise_is_as_strong_as_light_has_quanta() -> None:
    """Grains of 1/400 of the width: at 400 px a pixel each, with Poisson's variance and that of the bands."""
    even = np.full((600, 400), 102, np.uint8)
    noisy = shift_image(even, np.empty((0, 2)), "noise", 0, "x").grey.astype(float)
    mean = 102 / 255 * 60
    expected = np.hypot(np.sqrt(mean) * 255 / 60, 9.0)
    assert noisy.std() == pytest.approx(expected, rel=0.08) and noisy.mean() == pytest.approx(102, abs=2)


def test_a_family_is_known_by_name() -> None:
    with pytest.raises(UserError, match=r"found 'trun'\. Did you mean turn"):
        shift_image(np.zeros((9, 9), np.uint8), np.empty((0, 2)), "trun", 0, "x")
    with pytest.raises(ValueError, match="expected uint8"):
        shift_image(np.zeros((9, 9), np.float32), np.empty((0, 2)), "turn", 0, "x")


def test_nothing_of_the_training_recipe_is_used() -> None:
    for path in Path(package.__file__).parent.glob("*.py"):
        names = [f"{node.module}" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any("augmentation" in name or "torch" in name for name in names)


@pytest.mark.parametrize("family", ["zoom", "collimated_black"])
def test_an_image_of_one_landmark_still_shows_its_surroundings(family: str) -> None:
    grey = np.full((200, 100), 90, np.uint8)
    changed = shift_image(grey, np.array([[20.0, 150.0]]), family, 0, "x")
    shown = changed.grey.size if changed.hidden is None else int((~changed.hidden).sum())
    assert changed.visible(np.array([[20.0, 150.0]])).all() and 0.05 < shown / grey.size < 0.5

"""Intensity steps: every grey level by the formula, and the cutout's place and size."""

from __future__ import annotations

import os

import numpy as np
import pytest

from landmark_diffusion.data.augmentation import get_recipe, intensity

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("gamma", [0.5, 0.8, 1.0, 1.7, 2.0])
def test_gamma_by_hand(gamma):
    got = intensity.apply_table(RAMP, intensity.gamma_table(gamma))
    want = [[round(255 * (int(v) / 255) ** gamma) for v in row] for row in RAMP]
    assert got.dtype == np.uint8
    assert got.tolist() == want


def test_known_grey_levels():
    assert intensity.gamma_table(2.0)[[0, 128, 255]].tolist() == [0, 64, 255]
    assert intensity.multiply_table(1.5)[[0, 101, 170, 171, 255]].tolist() == [0, 152, 255, 255, 255]
    assert intensity.multiply_table(0.5)[[2, 255]].tolist() == [1, 128]
    assert intensity.contrast_table(1.2, 0.1)[[0, 127, 128, 255]].tolist() == [0, 152, 154, 255]


def test_neutral_tables_change_nothing():
    for table in (intensity.gamma_table(1.0), intensity.multiply_table(1.0), intensity.contrast_table(1.0, 0.0)):
        assert intensity.apply_table(RAMP, table) is RAMP


def test_albumentations_agrees_but_for_cutting_off():
    """Why albumentations' gamma is not used: it cuts off where we round, so it is up to one level darker."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    functional = pytest.importorskip("albumentations.augmentations.pixel.functional")
    for gamma in (0.5, 0.9, 1.3, 2.0):
        theirs = functional.gamma_transform(RAMP, gamma).astype(int)
        ours = intensity.gamma_table(gamma).astype(int).reshape(16, 16)
        assert set(np.unique(ours - theirs)) == {0, 1}
        assert (theirs == np.floor(255 * (RAMP / 255) ** gamma + 1e-9)).all()


def test_cutout_is_one_grey_rectangle_of_the_stated_size():
    image = np.full((80, 64), 7, dtype=np.uint8)
    filled = intensity.cutout(image, (0.5, 0.25), (0.25, 0.1))
    rows, columns = np.nonzero(filled != image)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 23, 24, 39)
    assert len(rows) == 8 * 16
    assert set(filled[rows, columns]) == {intensity.CUTOUT_FILL}
    assert (image == 7).all()


def test_cutout_at_the_corner_loses_what_lies_outside():
    image = np.zeros((80, 64), dtype=np.uint8)
    assert np.count_nonzero(intensity.cutout(image, (0.0, 0.0), (0.25, 0.25))) == 8 * 10
    assert np.count_nonzero(intensity.cutout(image, (1.0, 1.0), (0.25, 0.25))) == 8 * 10
    assert np.count_nonzero(intensity.cutout(image, (0.5, 0.5), (0.0, 0.3))) == 0


def test_paper_a_cutout_stays_within_three_tenths_of_each_side():
    recipe = get_recipe("paper_a", affine=False, elastic=False, intensity=False)
    image, widths, heights = np.zeros((200, 160), dtype=np.uint8), [], []
    for seed in range(300):
        filled, _ = recipe(image, np.zeros((1, 2)), np.random.default_rng(seed))
        rows, columns = np.nonzero(filled)
        widths.append(len(set(columns)))
        heights.append(len(set(rows)))
        assert len(rows) == widths[-1] * heights[-1]
    assert 40 < max(widths) <= 48
    assert 50 < max(heights) <= 60
    assert min(widths) < 5

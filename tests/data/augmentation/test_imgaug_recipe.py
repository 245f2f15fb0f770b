"""paper_a_imgaug: the same settings in imgaug, with pixel centres put right, and a clear word when it is absent."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import get_recipe, imgaug_recipe


@pytest.fixture(autouse=True)
def fresh_import():
    imgaug_recipe.load_imgaug.cache_clear()
    yield
    imgaug_recipe.load_imgaug.cache_clear()


def recipe(**overrides):
    try:
        return get_recipe("paper_a_imgaug", **overrides)
    except UserError as error:
        pytest.skip(str(error))


def test_message_says_how_to_install_when_it_is_absent(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.split(".")[0] == "imgaug":
            raise ImportError("No module named 'imgaug'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"pip install --no-deps -r requirements-imgaug.txt.*No module named 'imgaug'"):
        get_recipe("paper_a_imgaug")


def test_numpy_is_left_as_it_was():
    before = hasattr(np, "sctypes")
    recipe()
    assert hasattr(np, "sctypes") == before


def test_affine_points_are_right_once_the_half_pixel_is_added():
    """A whole turn by imgaug about the image's centre: (0, 0) goes to (W-1, H-1), not to (W, H)."""
    turned = recipe(elastic=False, intensity=False, cutout=False, scale=(2.0, 2.0), rotation=0.0, shear=0.0, shift=0.0)
    image, points = np.zeros((80, 64), dtype=np.uint8), np.array([[31.5, 39.5], [0.0, 0.0]])
    _, moved = turned(image, points, np.random.default_rng(0))
    assert moved == pytest.approx(np.array([[31.5, 39.5], [-31.5, -39.5]]), abs=1e-4)


def test_parts_can_be_switched_off():
    image, points = np.full((80, 64), 100, dtype=np.uint8), np.array([[5.0, 6.0]])
    off = recipe(affine=False, elastic=False, intensity=False, cutout=False)
    same, moved = off(image, points, np.random.default_rng(0))
    assert (same == image).all()
    assert moved == pytest.approx(points)
    values, _ = recipe(affine=False, elastic=False, cutout=False)(image, points, np.random.default_rng(0))
    assert len(np.unique(values)) == 1


def test_settings_without_a_counterpart_are_refused():
    with pytest.raises(UserError, match="contrast and brightness"):
        recipe()
        get_recipe("paper_a_imgaug", contrast=(0.5, 1.5))

"""Augmentation: recipe(image (H, W) uint8, points (N, 2), rng) -> (image, points), by name."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import recipes
from landmark_diffusion.data.augmentation.devices import DEVICES
from landmark_diffusion.data.augmentation.recipes import Recipe, WarpRecipe

__all__ = ["RECIPES", "Recipe", "WarpRecipe", "get_recipe"]

ALBUMENTATIONS = "albumentations"
RECIPES: dict[str, WarpRecipe] = {
    "none": recipes.NONE,
    "paper_a": recipes.PAPER_A,
    "paper_a_imgaug": recipes.PAPER_A,
    "paper_b": recipes.PAPER_B,
    "mild": recipes.MILD,
    "devices": DEVICES,
}


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """Return the recipe of that name: none, paper_a, paper_a_imgaug, paper_b, mild, devices or albumentations.

    ``overrides`` set fields of the recipe (WarpRecipe, DeviceRecipe): ranges, probabilities, or ``affine``,
    ``elastic``, ``intensity``, ``cutout`` = False to switch a part off. For albumentations there is one, and it is
    needed: ``pipeline``, which is read when the recipe is first used. Raises UserError for an unknown name or option or
    a setting that makes no sense, and for paper_a_imgaug where imgaug is not installed.
    """
    if name == ALBUMENTATIONS:
        return _albumentations(**overrides)
    if name not in RECIPES:
        raise UserError(f"recipe: found {name!r}, expected {_nearest(name, [*RECIPES, ALBUMENTATIONS])}")
    known = [field.name for field in dataclasses.fields(RECIPES[name])]
    for option in overrides:
        if option not in known:
            raise UserError(f"recipe {name}: unknown option {option!r}, expected {_nearest(option, known)}")
    settings = dataclasses.replace(RECIPES[name], **overrides)
    if name != "paper_a_imgaug":
        return settings
    from landmark_diffusion.data.augmentation.imgaug_recipe import ImgaugRecipe

    return ImgaugRecipe(settings)


def _albumentations(pipeline: Any = None, **unknown: Any) -> Recipe:
    if unknown:
        raise UserError(f"recipe {ALBUMENTATIONS}: unknown option {next(iter(unknown))!r}, expected pipeline")
    if pipeline is None:
        raise UserError(
            f"recipe {ALBUMENTATIONS}: expected data.recipe_options: {{pipeline: FILE.yaml}}, or a list of transforms"
        )
    from landmark_diffusion.data.augmentation.albumentations_recipe import AlbumentationsRecipe

    return AlbumentationsRecipe(pipeline)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return (f"{near[0]!r}? Known: " if near else "one of ") + ", ".join(known)

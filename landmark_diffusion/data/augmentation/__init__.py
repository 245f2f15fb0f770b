"""Augmentation: recipe(image (H, W) uint8, points (N, 2), rng) -> (image, points), by name."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import recipes
from landmark_diffusion.data.augmentation.recipes import Recipe, WarpRecipe

__all__ = ["RECIPES", "Recipe", "WarpRecipe", "get_recipe"]

RECIPES: dict[str, WarpRecipe] = {
    "none": recipes.NONE,
    "paper_a": recipes.PAPER_A,
    "paper_a_imgaug": recipes.PAPER_A,
    "paper_b": recipes.PAPER_B,
    "mild": recipes.MILD,
}


def get_recipe(name: str, **overrides: Any) -> Recipe:
    """Return the recipe of that name: none, paper_a, paper_a_imgaug, paper_b or mild.

    ``overrides`` set fields of WarpRecipe: ranges, or ``affine``, ``elastic``, ``intensity``, ``cutout`` = False to
    switch a part off. Raises UserError for an unknown name or option or a setting that makes no sense, and for
    paper_a_imgaug where imgaug is not installed.
    """
    if name not in RECIPES:
        raise UserError(f"recipe: found {name!r}, expected {_nearest(name, list(RECIPES))}")
    known = [field.name for field in dataclasses.fields(WarpRecipe)]
    for option in overrides:
        if option not in known:
            raise UserError(f"recipe {name}: unknown option {option!r}, expected {_nearest(option, known)}")
    settings = dataclasses.replace(RECIPES[name], **overrides)
    if name != "paper_a_imgaug":
        return settings
    from landmark_diffusion.data.augmentation.imgaug_recipe import ImgaugRecipe

    return ImgaugRecipe(settings)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return (f"{near[0]!r}? Known: " if near else "one of ") + ", ".join(known)

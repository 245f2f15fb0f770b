"""The rule: how a model is adapted to a number of labelled images; measured in docs/experiments/adapt.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted

LEAST = 5
"""Labelled images that a model can be adapted to."""


@dataclass(frozen=True)
class AdaptRule:
    """How a model is adapted.

    Attributes:
        updates: optimiser steps of the training on all images.
        fold_updates: those of a fold's training.
        folds: parts that the images are divided into, each judged by a model that has not seen it.
        learning_rate: at the beginning; it falls to 0 as a cosine.
        warmup: steps until it is reached.
        batch_size: images an update.
        ema_decay: of the averaged weights.
        recipe, recipe_options: augmentation.
    """

    updates: int
    fold_updates: int
    folds: int
    learning_rate: float = 5e-4
    warmup: int = 10
    batch_size: int = 4
    ema_decay: float = 0.998
    recipe: str = "paper_a"
    recipe_options: dict[str, Any] = field(default_factory=lambda: {"rotation": 8.0, "scale": [0.85, 1.15]})

    @property
    def total(self) -> int:
        """Optimiser steps of all trainings."""
        return self.updates + self.folds * self.fold_updates


def rule_for(images: int, groups: int | None = None) -> AdaptRule:
    """Give the rule for so many images, of so many patients (``groups``; by default each image has its own).

    Raises UserError for too few images.
    """
    if images < LEAST:
        raise UserError(
            f"ldx adapt: found {counted(images, 'labelled image')}, expected at least {LEAST}: each fold has to learn "
            f"from the others. Label {counted(LEAST - images, 'image')} more"
        )
    groups = images if groups is None else groups
    if groups < 2:
        raise UserError(
            f"ldx adapt: the {images} images are of one patient, expected two or more: the error is measured on images "
            "of other patients than those that train"
        )
    updates = 150 if images <= 10 else 250 if images <= 25 else 400
    return AdaptRule(updates=updates, fold_updates=round(updates * 2 / 3), folds=min(5, groups))

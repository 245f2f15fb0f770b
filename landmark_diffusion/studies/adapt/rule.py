"""The rule: how a model is adapted to a number of labelled images; measured in docs/experiments/adapt.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted

LEAST = 5
"""Labelled images that a model can be adapted to."""


SCHEDULES = (
    (5, False, 100, 5), (5, True, 160, 5),
    (10, False, 150, 4), (10, True, 250, 3),
    (25, False, 200, 5), (25, True, 400, 5),
    (50, False, 300, 5), (50, True, 800, 5),
)  # fmt: skip
"""Images up to, whether most landmarks are new, updates, folds; more images take the last. Ten images: 1,000 updates at
most, under five minutes on a core (0.28 s an update of ceph_diffusion_small.yaml)."""
OPTIMIZER = "adamw"
"""With which the rates were chosen, whatever the start was trained with."""
RATES = {False: 2e-4, True: 1e-3}
"""Learning rate by whether most landmarks are new; the second is that of a training from scratch.

With the first, a start that is right already loses least by ten images, and another gains as much as at a higher rate.
"""


@dataclass(frozen=True)
class AdaptRule:
    """How a model is adapted.

    Attributes:
        updates: optimiser steps of each training, a fold's too: a shorter one errs more, and so would the error told.
        folds: parts that the images are divided into, each judged by a model that has not seen it.
        learning_rate: at the beginning; it falls to 0 as a cosine.
        warmup: steps until it is reached.
        batch_size: images an update.
        ema_decay: of the averaged weights.
        recipe, recipe_options: augmentation.
    """

    updates: int
    folds: int
    learning_rate: float = RATES[False]
    warmup: int = 10
    batch_size: int = 4
    ema_decay: float = 0.998
    recipe: str = "paper_a"
    recipe_options: dict[str, Any] = field(default_factory=lambda: {"rotation": 8.0, "scale": [0.85, 1.15]})

    @property
    def total(self) -> int:
        """Optimiser steps of all trainings."""
        return (1 + self.folds) * self.updates


def rule_for(images: int, groups: int, known: float) -> AdaptRule:
    """Give the rule for so many images of so many patients (``groups``), ``known`` the share of landmarks that are so.

    Raises UserError for too few images.
    """
    if images < LEAST:
        raise UserError(
            f"ldx adapt: found {counted(images, 'labelled image')}, expected at least {LEAST}: each fold has to learn "
            f"from the others. Label {counted(LEAST - images, 'image')} more"
        )
    if groups < 2:
        raise UserError(
            f"ldx adapt: the {images} images are of one patient, expected two or more: the error is measured on images "
            "of other patients than those that train"
        )
    new = known < 0.5
    fitting = [row for row in SCHEDULES if row[1] == new and images <= row[0]]
    _, _, updates, folds = fitting[0] if fitting else next(row for row in reversed(SCHEDULES) if row[1] == new)
    return AdaptRule(updates=updates, folds=min(folds, groups), learning_rate=RATES[new])

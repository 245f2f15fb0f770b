"""Method: what every method is without Lightning, so that a model file finds points without loading it."""

from __future__ import annotations

import os
from types import FrameType
from typing import Any

from torch import nn

from landmark_diffusion.core.groups import as_group
from landmark_diffusion.finders.optimisation import Optimisation

Batch = dict[str, Any]


class Method(nn.Module):
    """Base of all methods, in training and without: their seed, and the options of their training, which files keep.

    Args:
        optimisation: how the weights are trained.
    """

    def __init__(self, optimisation: Optimisation = Optimisation()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.optimisation = as_group(Optimisation, optimisation, "model.optimisation")
        self.fixed_seed: int | None = None

    @property
    def seed(self) -> int:
        """The run's one seed, or ``fixed_seed`` where no run is behind the prediction."""
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.fixed_seed is None else self.fixed_seed

    def keep_options(self, frame: FrameType | None, **complete: Any) -> None:
        """Note the options of ``__init__``, whose frame this is, for checkpoints; without training there are none.

        ``complete`` are options as they came to be, where the frame has but what was given.
        """

"""Method: what every method is without Lightning, so that a model file finds points without loading it."""

from __future__ import annotations

import os
from types import FrameType
from typing import Any, Literal

from torch import nn

from landmark_diffusion.core.errors import UserError

Batch = dict[str, Any]


class Method(nn.Module):
    """Base of all methods, in training and without: their seed, and the options of their training, which files keep.

    Args:
        learning_rate, weight_decay, adam_betas: of AdamW (paper A section 4.2).
        lr_schedule: "constant", "cosine" to zero over the run's steps, or "plateau": times ``plateau_factor`` after
            ``plateau_patience`` validations without a better validation loss (paper B section 4.2).
        warmup_steps: optimiser steps of linear warm-up; not with "plateau".
        plateau_factor, plateau_patience: of "plateau".
        early_stopping_patience: validations without a better validation loss after which training ends; 0: never.
        ema_decay: of the exponential moving average of the weights (0: none); validation and test use the average.
    """

    def __init__(
        self,
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-4,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        lr_schedule: Literal["constant", "cosine", "plateau"] = "constant",
        warmup_steps: int = 0,
        plateau_factor: float = 0.5,
        plateau_patience: int = 10,
        early_stopping_patience: int = 0,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, fits in (
            ("learning_rate", learning_rate, learning_rate > 0),
            ("weight_decay", weight_decay, weight_decay >= 0),
        ):
            if not fits:
                raise UserError(f"model.{name}: found {value}, expected a number above 0 (a decay may be 0)")
        if not 0 < plateau_factor < 1:
            raise UserError(f"model.plateau_factor: found {plateau_factor}, expected a number between 0 and 1")
        if lr_schedule == "plateau" and warmup_steps:
            raise UserError(f"model.warmup_steps: found {warmup_steps}; lr_schedule plateau has no warm-up, set 0")
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.adam_betas = (float(adam_betas[0]), float(adam_betas[1]))
        self.lr_schedule, self.warmup_steps, self.ema_decay = lr_schedule, warmup_steps, ema_decay
        self.plateau_factor, self.plateau_patience = plateau_factor, plateau_patience
        self.early_stopping_patience = early_stopping_patience
        self.fixed_seed: int | None = None

    @property
    def seed(self) -> int:
        """The run's one seed, or ``fixed_seed`` where no run is behind the prediction."""
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.fixed_seed is None else self.fixed_seed

    def keep_options(self, frame: FrameType | None) -> None:
        """Note the options of ``__init__``, whose frame this is, for checkpoints; without training there are none."""

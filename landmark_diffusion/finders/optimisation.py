"""Optimisation: how the weights of any method are trained, as one group of options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from landmark_diffusion.core.errors import UserError, check_choice

OptimizerName = Literal["adamw", "muon"]
LRSchedule = Literal["constant", "cosine", "plateau"]


@dataclass(frozen=True)
class Optimisation:
    """How the weights are trained.

    Args:
        optimizer: "adamw" (paper A section 4.2), or "muon": Muon for the weights of linear layers and convolutions
            (Jordan 2024; its step scaled as Liu et al., arXiv 2502.16982), AdamW for all others.
        learning_rate: of AdamW (paper A section 4.2), and of Muon.
        weight_decay: likewise.
        adam_betas: of AdamW (paper A section 4.2).
        lr_schedule: "constant", "cosine" to zero over the run's steps, or "plateau": times ``plateau_factor`` after
            ``plateau_patience`` validations without a better validation loss (paper B section 4.2).
        warmup_steps: optimiser steps of linear warm-up; not with "plateau".
        plateau_factor: of "plateau".
        plateau_patience: of "plateau".
        early_stopping_patience: validations without a better validation loss after which training ends; 0: never.
        ema_decay: of the exponential moving average of the weights (0: none); validation and test use the average.

    Raises UserError for values that make no sense.
    """

    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    adam_betas: tuple[float, float] = (0.9, 0.999)
    lr_schedule: LRSchedule = "constant"
    warmup_steps: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 10
    early_stopping_patience: int = 0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model.optimisation.optimizer", self.optimizer, get_args(OptimizerName))
        check_choice("model.optimisation.lr_schedule", self.lr_schedule, get_args(LRSchedule))
        for name, value, fits in (
            ("learning_rate", self.learning_rate, self.learning_rate > 0),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0),
        ):
            if not fits:
                raise UserError(
                    f"model.optimisation.{name}: found {value}, expected a number above 0 (a decay may be 0)"
                )
        if not all(0 <= beta < 1 for beta in self.adam_betas):
            raise UserError(
                f"model.optimisation.adam_betas: found {list(self.adam_betas)}, expected two numbers from 0 to below 1"
            )
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"model.optimisation.ema_decay: found {self.ema_decay}, expected 0 (none) to below 1")
        for name in ("warmup_steps", "plateau_patience", "early_stopping_patience"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"model.optimisation.{name}: found {value}, expected 0 or more")
        if not 0 < self.plateau_factor < 1:
            raise UserError(
                f"model.optimisation.plateau_factor: found {self.plateau_factor}, expected a number between 0 and 1"
            )
        if self.lr_schedule == "plateau" and self.warmup_steps:
            raise UserError(
                f"model.optimisation.warmup_steps: found {self.warmup_steps}; lr_schedule plateau has no warm-up, set 0"
            )

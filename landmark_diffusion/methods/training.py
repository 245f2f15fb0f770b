"""TrainedModule: what every method shares in training - optimiser, schedules, seeds of the noise, validation loss."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from landmark_diffusion.errors import UserError
from landmark_diffusion.runs import module_callbacks
from landmark_diffusion.runs.keys import noise_seed
from landmark_diffusion.runs.processes import gather_objects

Batch = dict[str, Any]
PLATEAU_KEY = "reduce_lr_on_plateau"
PLATEAU_THRESHOLD = 1e-4
"""Relative improvement that counts (torch's default)."""


class TrainedModule(LightningModule):
    """Base of all methods: AdamW, learning-rate schedules, repeatable noise, and a loss on the validation images.

    Args:
        learning_rate, weight_decay, adam_betas: of AdamW (paper A section 4.2).
        lr_schedule: "constant", "cosine" to zero over the run's steps, or "plateau": times ``plateau_factor`` after
            ``plateau_patience`` validations without a better validation loss (paper B section 4.2).
        warmup_steps: optimiser steps of linear warm-up; not with "plateau".
        plateau_factor, plateau_patience: of "plateau".
        early_stopping_patience: validations without a better validation loss after which training ends; 0: never.
        ema_decay: of the exponential moving average of the weights (0: none); validation and test use the average.
    """

    monitor: str = "val/loss"
    """The validation figure (less is better) that ``best.ckpt`` follows."""

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
        self.trained_updates = 0
        """Optimiser steps behind the weights that were loaded."""
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self.fixed_seed: int | None = None
        self._image_losses: dict[int, float] = {}

    @property
    def seed(self) -> int:
        """The run's one seed, or ``fixed_seed`` where no run is behind the prediction."""
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.fixed_seed is None else self.fixed_seed

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Compute the training loss under "loss", with its parts beside it."""

    def image_losses(self, batch: Batch) -> torch.Tensor | None:
        """Compute the validation loss of each image, (B,); None for a method that validates by its metric alone."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Give the optimiser's parameters, in groups with a learning rate of their own where a method has such."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    # ---- optimiser ------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay a step at a time, or reduced where the validation loss stands still."""
        optimizer = AdamW(
            self.parameter_groups(), lr=self.learning_rate, weight_decay=self.weight_decay, betas=self.adam_betas
        )
        if self.lr_schedule == "plateau":
            self._plateau = self._make_plateau(optimizer)
            return optimizer
        if self.lr_schedule == "constant" and not self.warmup_steps:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches) if self.lr_schedule == "cosine" else None
        schedule = LambdaLR(optimizer, lambda step: lr_factor(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _make_plateau(self, optimizer: AdamW) -> ReduceLROnPlateau:
        """Make the schedule, which this module steps and saves itself.

        Lightning would step it after the epoch's checkpoint is written, so that a run continued from there would have
        lost that step.
        """
        plateau = ReduceLROnPlateau(
            optimizer, factor=self.plateau_factor, patience=self.plateau_patience, threshold=PLATEAU_THRESHOLD
        )
        if self._plateau_state is not None:
            plateau.load_state_dict(self._plateau_state)
        return plateau

    def configure_callbacks(self) -> list[Callback]:
        """Give the trainer what the options ask for, in training, unless it has such callbacks already.

        ``ldx fit`` sets them itself, in front of those that have to see the average; Lightning would append these.
        """
        if self.trainer.state.fn != TrainerFn.FITTING:
            return []
        given = self.trainer.callbacks  # type: ignore[attr-defined]
        average, early_stop = module_callbacks(self.ema_decay, self.early_stopping_patience, given)
        return [*average, *early_stop]

    def on_fit_start(self) -> None:
        """Refuse options that need a validation loss where there is none."""
        wanted = [name for name, on in (
            ("lr_schedule: plateau", self.lr_schedule == "plateau"),
            ("early_stopping_patience", self.early_stopping_patience > 0),
        ) if on]  # fmt: skip
        if wanted and type(self).image_losses is TrainedModule.image_losses:
            raise UserError(
                f"model.{wanted[0]} follows the validation loss, and a {type(self).__name__} has none (it validates by "
                f"{self.monitor}): leave it out; lr_schedule: cosine needs no validation"
            )
        if wanted and not self.trainer.datamodule.val_dataloader():  # type: ignore[attr-defined]
            raise UserError(f"model.{wanted[0]} needs validation images, and data.split gives none: choose another")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the plateau schedule stands."""
        if self._plateau is not None:
            checkpoint[PLATEAU_KEY] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how long the loaded weights were trained, and where the plateau schedule stood."""
        self.trained_updates = int(checkpoint.get("global_step", 0))
        self._plateau_state = checkpoint.get(PLATEAU_KEY)

    # ---- training -------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Key noise and dropout by (seed, process, epoch, batch), so that a resumed run draws the same."""
        torch.manual_seed(noise_seed(self.seed, self.global_rank, self.current_epoch, batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """One step; logs the loss and its parts."""
        losses = self.losses(batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss", batch_size=len(batch["index"]))
        return losses["loss"]

    # ---- validation loss ------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Start with no losses."""
        self._image_losses = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep each image's loss."""
        self._keep_losses(batch, self.image_losses(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the validation loss, and let the plateau schedule see it."""
        mean = self._mean_loss("val")
        if mean is not None and self._plateau is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._plateau.step(mean)

    def on_test_epoch_start(self) -> None:
        """Start with no losses."""
        self._image_losses = {}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep each image's loss."""
        self._keep_losses(batch, self.image_losses(batch))

    def on_test_epoch_end(self) -> None:
        """Log the loss on the test images."""
        self._mean_loss("test")

    def _keep_losses(self, batch: Batch, losses: torch.Tensor | None) -> None:
        """Keep losses (B,) under their images' indices: an image that pads the last batch counts once."""
        if losses is not None:
            self._image_losses |= dict(zip(batch["index"].tolist(), losses.tolist(), strict=True))

    def _mean_loss(self, stage: str) -> float | None:
        """Log the mean loss over all processes' images, each counted once; None where the method has no such loss."""
        losses: dict[int, float] = {}
        for part in gather_objects(self._image_losses):
            losses |= part
        if not losses:
            return None
        mean = math.fsum(losses[index] for index in sorted(losses)) / len(losses)
        self.log(f"{stage}/loss", mean, prog_bar=stage == "val", rank_zero_only=False)
        return mean


def lr_factor(step: int, warmup: int, total: int | None) -> float:
    """Factor on the learning rate: linear warm-up over ``warmup`` steps, then cosine to 0 at ``total``, or constant."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if total is None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

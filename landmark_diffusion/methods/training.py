"""TrainedModule: what every method shares in training - optimiser, schedules, seeds of the noise, validation loss."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import laid_over, plain_options
from landmark_diffusion.core.seeds import noise_seed
from landmark_diffusion.finders.method import Batch, Method
from landmark_diffusion.methods import method_name
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.models.network import described
from landmark_diffusion.models.presets import is_network
from landmark_diffusion.training import module_callbacks
from landmark_diffusion.training.auxiliary import check_network
from landmark_diffusion.training.muon import Muon, layer_weights, muon_groups
from landmark_diffusion.training.processes import gather_objects

PLATEAU_KEY = "reduce_lr_on_plateau"
PLATEAU_THRESHOLD = 1e-4
"""Relative improvement that counts (torch's default)."""


class TrainedModule(Method, LightningModule):
    """Base of all methods in training: AdamW, its schedules, repeatable noise, and a loss on the validation images.

    The options are those of Method.
    """

    monitor: str = "val/loss"
    """The validation figure (less is better) that ``best.ckpt`` follows."""

    trained_updates = 0
    """Optimiser steps behind the weights that were loaded."""
    _plateau: ReduceLROnPlateau | None = None
    _plateau_state: dict[str, Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._image_losses: dict[int, float] = {}

    def keep_options(self, frame: FrameType | None, **complete: Any) -> None:
        """Save the options as Lightning's hyper-parameters, as plain values, with which files name them."""
        self.save_hyperparameters(frame=frame)
        given = {**self.hparams, "optimisation": self.optimisation, **complete}
        networks = {name: described(value, where=f"model.{name}") for name, value in given.items() if is_network(name)}
        self.save_hyperparameters(plain_options({**given, **networks}))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, strict: bool = True, **options: Any
    ) -> Self:
        """Build the module of a checkpoint or model file, also of an earlier version, with the weights of predictions.

        ``options`` go over the file's. Nothing in the file is run. Raises UserError for a file of another class.
        """
        content = read_checkpoint(checkpoint_path)
        saved = dict(content.get("hyper_parameters") or {})
        found = method_name(saved) or cls.__name__
        if found != cls.__name__:
            raise UserError(f"{checkpoint_path}: found a {found}, expected a {cls.__name__}")
        kept = {name: value for name, value in saved.items() if not name.startswith("_")}
        try:
            module = cls(**laid_over(kept, options))
        except TypeError as error:
            raise UserError(f"{checkpoint_path}: no {cls.__name__} can be built from its options: {error}") from error
        module.on_load_checkpoint(content)
        module.load_state_dict(content["state_dict"], strict=strict)
        return module if map_location is None else module.to(map_location)

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
        """AdamW or Muon, with warm-up and cosine decay a step at a time, or reduced where the loss stands still."""
        optimizer = self._make_optimizer()
        if self.optimisation.lr_schedule == "plateau":
            self._plateau = self._make_plateau(optimizer)
            return optimizer
        if self.optimisation.lr_schedule == "constant" and not self.optimisation.warmup_steps:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches) if self.optimisation.lr_schedule == "cosine" else None
        schedule = LambdaLR(optimizer, lambda step: lr_factor(step, self.optimisation.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _make_optimizer(self) -> AdamW:
        kind, groups, asked = AdamW, self.parameter_groups(), self.optimisation
        if asked.optimizer == "muon":
            kind, groups = Muon, muon_groups(groups, layer_weights(self))
        return kind(groups, lr=asked.learning_rate, weight_decay=asked.weight_decay, betas=asked.adam_betas)

    def _make_plateau(self, optimizer: AdamW) -> ReduceLROnPlateau:
        """Make the schedule, which this module steps and saves itself.

        Lightning would step it after the epoch's checkpoint is written, so that a run continued from there would have
        lost that step.
        """
        plateau = ReduceLROnPlateau(
            optimizer,
            factor=self.optimisation.plateau_factor,
            patience=self.optimisation.plateau_patience,
            threshold=PLATEAU_THRESHOLD,
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
        average, early_stop = module_callbacks(
            self.optimisation.ema_decay, self.optimisation.early_stopping_patience, given
        )
        return [*average, *early_stop]

    @property
    def auxiliary_maps(self) -> tuple[int, ...]:
        """Landmarks of each auxiliary data set that the network has maps for; of most networks none."""
        return ()

    def on_fit_start(self) -> None:
        """Refuse auxiliary data sets that the network cannot take, and options that need an absent validation loss."""
        check_network(self, self.auxiliary_maps, getattr(self.trainer.datamodule, "auxiliary_landmarks", {}))  # type: ignore[attr-defined]
        wanted = [name for name, on in (
            ("lr_schedule: plateau", self.optimisation.lr_schedule == "plateau"),
            ("early_stopping_patience", self.optimisation.early_stopping_patience > 0),
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


def no_landmarks(method: str) -> UserError:
    """Give the error of a pre-training that is asked to predict."""
    return UserError(
        f"ldx predict: {method} learns images and finds no landmarks; fine-tune its checkpoint first "
        "(HeatmapFinetuneModule, model.pretrained)"
    )


def lr_factor(step: int, warmup: int, total: int | None) -> float:
    """Factor on the learning rate: linear warm-up over ``warmup`` steps, then cosine to 0 at ``total``, or constant."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if total is None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

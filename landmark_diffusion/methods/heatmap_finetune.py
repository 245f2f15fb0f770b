"""HeatmapFinetuneModule: the training of heatmaps from few labelled radiographs (paper B)."""

from __future__ import annotations

from typing import Any

import torch

from landmark_diffusion.core.say import say
from landmark_diffusion.finders.heatmap_finetune import LOSSES, REFERENCE_WIDTH, HeatmapFinetune, encoder_parameters
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.targets import make_target
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.pretrained import Transfer, load_pretrained


class HeatmapFinetuneModule(LandmarkModule, HeatmapFinetune):
    """Predict one heatmap a landmark from the radiograph alone, starting from a pre-trained network where there is one.

    The options are those of HeatmapFinetune, the same without Lightning; here is how it is trained.
    """

    transfer: Transfer | None = None
    """What was taken from ``pretrained``; None before training and without it."""

    def take_start(self, data: Any = None) -> None:
        """Put the pre-trained weights into the network, once, and tell what became of each.

        A head that is kept finds its landmarks in its own order: those of ``data``, a LandmarkDataModule, are put in
        it, by name. Raises UserError for a checkpoint or landmarks that do not fit.
        """
        if self.pretrained is None or self.transfer is not None:
            return
        self.transfer = load_pretrained(self.network, self.pretrained, self.weights, dict(self.hparams), self.keep_head)
        say(self.transfer.describe())
        if data is not None and self.transfer.keeps_head:
            names = self.transfer.landmark_names
            note = data.arrange(names, f"{self.pretrained} (model.keep_head)")
            if names and not note:
                note = "the data's landmarks are those of the kept head, in its order"
            say(f"  {note or 'the checkpoint does not name its landmarks: the kept head takes them by position'}")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters at one rate, or the encoder's in a group of their own."""
        if self.encoder_rate in (0, 1):
            return super().parameter_groups()
        encoder = encoder_parameters(self.network)
        chosen = {id(parameter) for parameter in encoder}
        return [
            {"params": [parameter for parameter in self.parameters() if id(parameter) not in chosen]},
            {"params": encoder, "lr": self.optimisation.learning_rate * self.encoder_rate},
        ]

    @property
    def auxiliary_maps(self) -> tuple[int, ...]:
        """Landmarks of each auxiliary data set that the network has maps for."""
        return tuple(getattr(self.network, "maps", ())[1:])

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss asked for, against the target maps; a batch is of one data set where auxiliary ones train too."""
        place = int(batch["set"][0]) if self.auxiliary_maps else 0
        return {"loss": LOSSES[self.target.loss](self(batch["image"], place), self._target(batch))}

    def image_losses(self, batch: Batch) -> torch.Tensor:
        """The same loss for each image alone, (B,)."""
        return self._losses_of(self(batch["image"]), batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Take loss and points from one pass through the network."""
        logits = self(batch["image"])
        self._keep_losses(batch, self._losses_of(logits, batch))
        maps = self._maps_of(logits)
        self._evaluate(batch, {name: self.read(value) for name, value in maps.items()})

    def _losses_of(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        target = self._target(batch)
        return torch.stack([LOSSES[self.target.loss](logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))])

    def _target(self, batch: Batch) -> torch.Tensor:
        height, width = batch["image"].shape[-2:]
        sigma = self.target.sigma * width / REFERENCE_WIDTH
        return make_target(batch["target_points"], (height, width), self.target.kind, sigma)

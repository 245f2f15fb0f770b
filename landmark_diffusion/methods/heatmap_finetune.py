"""HeatmapFinetuneModule: heatmaps from few labelled radiographs, from scratch or from pre-trained weights.

Di Via, Odone and Pastore, "Self-supervised pre-training with diffusion model for few-shot landmark detection in x-ray
images" (paper B), stage 2, and its ablation with contour-hugging heatmaps (McCouat and Voiculescu).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from landmark_diffusion.errors import UserError
from landmark_diffusion.heatmaps.targets import TargetKind, make_target
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.ddpm_pretrain import check_range, scale_image
from landmark_diffusion.methods.losses import (
    full_precision,
    landmark_cross_entropy,
    pixel_bce,
    spatial_nll,
    spatial_softmax,
)
from landmark_diffusion.methods.pretrained import Transfer, Weights, encoder_parameters, load_pretrained
from landmark_diffusion.methods.training import Batch
from landmark_diffusion.models.unet import UNet
from landmark_diffusion.runs.say import say

LossKind = Literal["spatial_ce", "bce", "landmark_ce"]
NullTime = Literal["zero", "first_step", "removed"]
LOSSES = {"spatial_ce": spatial_nll, "bce": pixel_bce, "landmark_ce": landmark_cross_entropy}
REFERENCE_WIDTH = 256
"""Paper B states the target's sigma in pixels of a network 256 wide; it scales with the width (docs/conventions.md)."""


class HeatmapFinetuneModule(LandmarkModule):
    """Predict one heatmap a landmark from the radiograph alone, starting from a pre-trained UNet where there is one.

    Args:
        num_landmarks: N; linked from the data module.
        pretrained: checkpoint whose UNet is the start, of DDPMPretrainModule or any other method; None: from scratch.
        weights: which of its weights: "ema" (the moving average) or "raw".
        keep_head: keep its last convolution too, where it gives as many maps (a start from a landmark method).
        null_time: what the time embedding becomes (section 3: "set to be null"): "zero", that of t = 0 ("first_step"),
            or no such branch ("removed").
        encoder_rate: learning rate of the encoder as a share of learning_rate; 0 freezes it.
        target, target_sigma: the map that is learned; sigma in pixels of a 256-wide network. "disc" (section 3),
            "disc_rounded" (the released code), "one_hot" (contour-hugging), "subpixel" or "gaussian".
        loss: "spatial_ce" (softmax over the pixels of each map: negative log-likelihood for one pixel), "bce" (each
            pixel alone), or "landmark_ce" (the released code's softmax over the landmarks at each pixel).
        image_range: the grey levels 0 and 1 of a batch become these; as in pre-training.
        encoder_channels, decoder_channels, blocks_per_level, attention_factors, attention_heads: of the UNet, as in
            pre-training.
        attention_head_channels, linear_attention_factors, middle, dropout, final_activation: likewise.
        gradient_checkpointing, channels_last: its memory.
        kwargs: decoder, learning_rate and the other options of LandmarkModule and TrainedModule.
    """

    main_variant = "heatmap"

    def __init__(
        self,
        num_landmarks: int,
        pretrained: str | None = None,
        weights: Weights = "ema",
        keep_head: bool = False,
        null_time: NullTime = "zero",
        encoder_rate: float = 1.0,
        target: TargetKind = "disc",
        target_sigma: float = 5.0,
        loss: LossKind = "spatial_ce",
        image_range: tuple[float, float] = (-1.0, 1.0),
        encoder_channels: Sequence[int] = (64, 128, 256, 512),
        decoder_channels: Sequence[int] = (512, 256, 128, 64),
        blocks_per_level: int = 4,
        attention_factors: Sequence[int] = (8,),
        attention_heads: int = 4,
        attention_head_channels: int | None = None,
        linear_attention_factors: Sequence[int] = (),
        middle: Literal["none", "attention"] = "none",
        dropout: float = 0.0,
        final_activation: Literal["silu", "tanh"] = "silu",
        gradient_checkpointing: bool = False,
        channels_last: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_landmarks, **kwargs)
        self.save_hyperparameters()
        if loss not in LOSSES:
            raise UserError(f"model.loss: found {loss!r}, expected one of {', '.join(LOSSES)}")
        if not 0 <= encoder_rate <= 1:
            raise UserError(f"model.encoder_rate: found {encoder_rate}, expected 0 (frozen) to 1 (as the decoder)")
        if not target_sigma > 0:
            raise UserError(f"model.target_sigma: found {target_sigma}, expected a number above 0")
        self.network = UNet(
            in_channels=1,
            out_channels=num_landmarks,
            encoder_channels=tuple(encoder_channels),
            decoder_channels=tuple(decoder_channels),
            blocks_per_level=blocks_per_level,
            attention_factors=tuple(attention_factors),
            attention_heads=attention_heads,
            attention_head_channels=attention_head_channels,
            linear_attention_factors=tuple(linear_attention_factors),
            middle=middle,
            time_embedding=null_time != "removed",
            dropout=dropout,
            final_activation=final_activation,
            gradient_checkpointing=gradient_checkpointing,
            channels_last=channels_last,
        )
        self.pretrained, self.weights, self.keep_head = pretrained, weights, keep_head
        self.null_time, self.encoder_rate = null_time, encoder_rate
        self.target: TargetKind = target
        self.target_sigma, self.loss = target_sigma, loss
        self.image_range = check_range(image_range)
        self.transfer: Transfer | None = None
        """What was taken from ``pretrained``; None before training and without it."""
        self._has_weights = False
        frozen = encoder_parameters(self.network) if encoder_rate == 0 else []
        if null_time == "zero" and self.network.time is not None:
            frozen += self.network.time.parameters()  # unused, which DDP would wait for
        for parameter in frozen:
            parameter.requires_grad_(False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A resumed or tested checkpoint has its own weights: the start is not needed any more."""
        super().on_load_checkpoint(checkpoint)
        self._has_weights = True

    def on_fit_start(self) -> None:
        """Take the pre-trained weights when training begins."""
        super().on_fit_start()
        if not self._has_weights:
            self.take_start(self.trainer.datamodule)  # type: ignore[attr-defined]

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
            {"params": encoder, "lr": self.learning_rate * self.encoder_rate},
        ]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the network on image (B,1,H,W) in [0,1]: logits (B,N,H,W) float32."""
        scaled = scale_image(image, self.image_range)
        if self.null_time == "first_step":
            return self.network(scaled, torch.zeros(len(image), dtype=torch.long, device=image.device))
        return self.network(scaled)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss asked for, against the target maps."""
        return {"loss": LOSSES[self.loss](self(batch["image"]), self._target(batch))}

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
        return torch.stack([LOSSES[self.loss](logits[i : i + 1], target[i : i + 1]) for i in range(len(logits))])

    def _target(self, batch: Batch) -> torch.Tensor:
        height, width = batch["image"].shape[-2:]
        sigma = self.target_sigma * width / REFERENCE_WIDTH
        return make_target(batch["target_points"], (height, width), self.target, sigma)

    def variants(self, quick: bool = False) -> tuple[str, ...]:
        """Give the one name."""
        return (self.main_variant,)

    def predict_maps(self, batch: Batch, quick: bool = False) -> dict[str, torch.Tensor]:
        """Non-negative maps: probabilities over pixels ("spatial_ce"), of each pixel ("bce"), or positive logits."""
        return self._maps_of(self(batch["image"]))

    def _maps_of(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = full_precision(logits)
        if self.loss == "spatial_ce":
            return {self.main_variant: spatial_softmax(logits)}
        if self.loss == "bce":
            return {self.main_variant: logits.sigmoid()}
        # the released code cuts raw logits at half their maximum; where none is positive, they are lifted first
        lifted = logits - logits.amin((-2, -1), keepdim=True)
        return {self.main_variant: torch.where(logits.amax((-2, -1), keepdim=True) > 0, logits.clamp_min(0), lifted)}

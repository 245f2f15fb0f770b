"""HeatmapFinetune: heatmaps from few labelled radiographs, from scratch or from pre-trained weights.

Di Via, Odone and Pastore, "Self-supervised pre-training with diffusion model for few-shot landmark detection in x-ray
images" (paper B), stage 2, and its ablation with contour-hugging heatmaps (McCouat and Voiculescu).
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import currentframe
from typing import Any, Literal

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.finders.image_range import check_range, scale_image
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.losses import (
    full_precision,
    landmark_cross_entropy,
    pixel_bce,
    spatial_nll,
    spatial_softmax,
)
from landmark_diffusion.heatmaps.targets import TargetKind
from landmark_diffusion.models.unet import UNet

Weights = Literal["ema", "raw"]
LossKind = Literal["spatial_ce", "bce", "landmark_ce"]
NullTime = Literal["zero", "first_step", "removed"]
LOSSES = {"spatial_ce": spatial_nll, "bce": pixel_bce, "landmark_ce": landmark_cross_entropy}
REFERENCE_WIDTH = 256
"""Paper B states the target's sigma in pixels of a network 256 wide; it scales with the width (docs/conventions.md)."""


class HeatmapFinetune(Finder):
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
        kwargs: decoder, learning_rate and the other options of Finder and Method.
    """

    trained_by = "HeatmapFinetuneModule"
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
        self.keep_options(currentframe())
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
        frozen = encoder_parameters(self.network) if encoder_rate == 0 else []
        if null_time == "zero" and self.network.time is not None:
            frozen += self.network.time.parameters()  # unused, which DDP would wait for
        for parameter in frozen:
            parameter.requires_grad_(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the network on image (B,1,H,W) in [0,1]: logits (B,N,H,W) float32."""
        scaled = scale_image(image, self.image_range)
        if self.null_time == "first_step":
            return self.network(scaled, torch.zeros(len(image), dtype=torch.long, device=image.device))
        return self.network(scaled)

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


def encoder_parameters(network: UNet) -> list[torch.nn.Parameter]:
    """The parameters that an image passes through on its way down: all in front of the middle and the decoder."""
    parts = [network.conv_in, network.encoder, network.down]
    return [parameter for part in parts for parameter in part.parameters()]

"""HeatmapFinetune: heatmaps from few labelled radiographs, from scratch or from pre-trained weights.

Di Via, Odone and Pastore, "Self-supervised pre-training with diffusion model for few-shot landmark detection in x-ray
images" (paper B), stage 2, and its ablation with contour-hugging heatmaps (McCouat and Voiculescu).
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import currentframe
from typing import Any, Literal

import torch

from landmark_diffusion.core.errors import UserError, check_choice
from landmark_diffusion.core.groups import as_group
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
from landmark_diffusion.models.network import NetworkFactory, build_network, described
from landmark_diffusion.models.presets import PAPER_B

LossKind = Literal["spatial_ce", "bce", "landmark_ce"]
NullTime = Literal["zero", "first_step", "removed"]
LOSSES = {"spatial_ce": spatial_nll, "bce": pixel_bce, "landmark_ce": landmark_cross_entropy}
REFERENCE_WIDTH = 256
"""Paper B states the target's sigma in pixels of a network 256 wide; it scales with the width (docs/conventions.md)."""


@dataclass(frozen=True)
class HeatmapTarget:
    """What is learned.

    Args:
        kind: the map: "disc" (section 3), "disc_rounded" (the released code), "one_hot" (contour-hugging), "subpixel"
            or "gaussian".
        sigma: in pixels of a 256-wide network.
        loss: "spatial_ce" (softmax over the pixels of each map: negative log-likelihood for one pixel), "bce" (each
            pixel alone), or "landmark_ce" (the released code's softmax over the landmarks at each pixel).

    Raises UserError for values that make no sense.
    """

    kind: TargetKind = "disc"
    sigma: float = 5.0
    loss: LossKind = "spatial_ce"

    def __post_init__(self) -> None:
        check_choice("model.target.loss", self.loss, LOSSES)
        if not self.sigma > 0:
            raise UserError(f"model.target.sigma: found {self.sigma}, expected a number above 0")


class HeatmapFinetune(Finder):
    """Predict one heatmap a landmark from the radiograph alone, starting from a pre-trained network where there is one.

    Args:
        num_landmarks: N; linked from the data module.
        keep_head: keep its last convolution too, where it gives as many maps (a start from a landmark method).
        null_time: what the time embedding becomes (section 3: "set to be null"): "zero", that of t = 0 ("first_step"),
            or no such branch ("removed").
        encoder_rate: learning rate of the encoder as a share of learning_rate; 0 freezes it.
        image_range: the grey levels 0 and 1 of a batch become these; as in pre-training.
        network: of the shape of the pre-trained one; it takes steps t unless null_time is "removed".
        target: what is learned.
        kwargs: decoding, optimisation and the start (``pretrained``), of DDPMPretrainModule or another method.
    """

    trained_by = "HeatmapFinetuneModule"
    main_variant = "heatmap"

    def __init__(
        self,
        num_landmarks: int,
        keep_head: bool = False,
        null_time: NullTime = "zero",
        encoder_rate: float = 1.0,
        image_range: tuple[float, float] = (-1.0, 1.0),
        network: NetworkFactory = PAPER_B,
        target: HeatmapTarget = HeatmapTarget(),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_landmarks, **kwargs)
        network = described(network, PAPER_B)
        if not 0 <= encoder_rate <= 1:
            raise UserError(f"model.encoder_rate: found {encoder_rate}, expected 0 (frozen) to 1 (as the decoder)")
        self.target = as_group(HeatmapTarget, target, "model.target")
        self.keep_options(currentframe(), network=network, target=self.target)
        self.network = build_network(network, 1, num_landmarks, time_embedding=null_time != "removed")
        self.keep_head, self.null_time, self.encoder_rate = keep_head, null_time, encoder_rate
        self.image_range = check_range(image_range)
        frozen = encoder_parameters(self.network) if encoder_rate == 0 else []
        if null_time == "zero" and isinstance(time := getattr(self.network, "time", None), torch.nn.Module):
            frozen += time.parameters()  # unused, which DDP would wait for
        for parameter in frozen:
            parameter.requires_grad_(False)

    def landmark_axes(self) -> dict[str, tuple[int, int]]:
        """Say where the landmarks are: rows of the head."""
        head = getattr(self.network, "head", None)
        return {f"network.{head}.{part}": (0, 0) for part in ("weight", "bias") if head}

    def forward(self, image: torch.Tensor, place: int = 0) -> torch.Tensor:
        """Run the network on image (B,1,H,W) in [0,1]: logits (B,N,H,W) float32.

        ``place`` above 0 is an auxiliary data set, whose N landmarks a network with weights of each finds.
        """
        scaled = scale_image(image, self.image_range)
        which = {"place": place} if place else {}
        if self.null_time == "first_step":
            steps = torch.zeros(len(image), dtype=torch.long, device=image.device)
            logits: torch.Tensor = self.network(scaled, steps, **which)
        else:
            logits = self.network(scaled, **which)
        return logits

    def variants(self, in_fit: bool = False) -> tuple[str, ...]:
        """Give the one name."""
        return (self.main_variant,)

    def predict_maps(self, batch: Batch, in_fit: bool = False) -> dict[str, torch.Tensor]:
        """Non-negative maps: probabilities over pixels ("spatial_ce"), of each pixel ("bce"), or positive logits."""
        return self._maps_of(self(batch["image"]))

    def _maps_of(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = full_precision(logits)
        if self.target.loss == "spatial_ce":
            return {self.main_variant: spatial_softmax(logits)}
        if self.target.loss == "bce":
            return {self.main_variant: logits.sigmoid()}
        # the released code cuts raw logits at half their maximum; where none is positive, they are lifted first
        lifted = logits - logits.amin((-2, -1), keepdim=True)
        return {self.main_variant: torch.where(logits.amax((-2, -1), keepdim=True) > 0, logits.clamp_min(0), lifted)}


def encoder_parameters(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that an image passes through on its way down; raises UserError for a network that names none."""
    if not hasattr(network, "encoder_parameters"):
        raise UserError(
            f"model.encoder_rate: a {type(network).__name__} does not say which of its parameters are the encoder's "
            "(encoder_parameters, docs/architecture.md); set model.encoder_rate: 1"
        )
    return list(network.encoder_parameters())  # type: ignore[operator]

"""EncoderPretrainModule: what pre-trainings of an encoder share - its features, and a copy that follows it slowly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.finders.image_range import check_range, scale_image
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.methods.contrast import spread_of_features
from landmark_diffusion.methods.training import TrainedModule, lr_factor, no_landmarks
from landmark_diffusion.models.network import NetworkFactory, build_network
from landmark_diffusion.training.lightning_internals import planned_steps


class EncoderPretrainModule(TrainedModule):
    """Base of ContrastivePretrainModule and DINOPretrainModule: they train a network's encoder, and nothing behind it.

    The network is the one that is fine-tuned; it has ``encode`` (features (B, C, h, w) of its deepest level),
    ``encoded_channels`` and ``encoder_parameters()``. It is built for one map and takes no steps.
    """

    network: nn.Module
    followed: torch.Tensor
    """Optimiser steps that the slow copies have followed."""
    image_range: tuple[float, float]
    chunk: int

    def take_network(self, network: NetworkFactory, image_range: Sequence[float], chunk: int) -> int:
        """Build the network, whose decoder does not learn, and give the width of its features.

        Raises UserError for a network without an encoder of its own.
        """
        self.network = build_network(network, 1, 1)
        if missing := [
            name for name in ("encode", "encoded_channels", "encoder_parameters") if not hasattr(self.network, name)
        ]:
            raise UserError(
                f"model.network: a {type(self.network).__name__} does not say what its encoder is ({missing[0]}, "
                f"docs/architecture.md), which {type(self).__name__} trains"
            )
        if chunk < 0:
            raise UserError(f"model.chunk: found {chunk}, expected 0 (a batch at once) or a number of views")
        own = {id(parameter) for parameter in self.network.encoder_parameters()}  # type: ignore[operator]
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in own)
        self.register_buffer("followed", torch.zeros((), dtype=torch.long))
        self.image_range, self.chunk = check_range(image_range), chunk
        return int(self.network.encoded_channels)  # type: ignore[arg-type]

    def features(self, network: nn.Module, view: torch.Tensor) -> torch.Tensor:
        """Mean over the pixels of a network's deepest features, (B, C), of views (B, 1, H, W) in [0, 1].

        With ``chunk`` so many views at once, whose inside the backward pass computes again: a large batch in the memory
        of a small one, with the same gradients but for the statistics of batch norms, which are those of a chunk.
        """

        def pooled(part: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = network.encode(scale_image(part, self.image_range)).mean((-2, -1))  # type: ignore[operator]
            return found

        if not self.chunk or len(view) <= self.chunk:
            return pooled(view)
        parts = view.split(self.chunk)
        if not torch.is_grad_enabled():
            return torch.cat([pooled(part) for part in parts])
        return torch.cat([checkpoint(pooled, part, use_reentrant=False) for part in parts])

    def image_losses(self, batch: Batch) -> torch.Tensor:
        """The same loss, (B,), with views keyed to the run's seed and the batch; torch's random state is left."""
        devices = [batch["image"].device] if batch["image"].device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed + 1 + int(batch["index"][0]))
            return self.losses_of_images(batch["image"])[0]

    def losses_of_images(
        self, image: torch.Tensor, index: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each image, (B,), and features (B, C) of its first view; ``index`` (B,): of training images."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The mean loss, and how much the features differ: where that falls to 0, training has collapsed."""
        found, features = self.losses_of_images(batch["image"], batch["index"])
        losses = {"loss": found.mean(), **self.told()}
        self.remember()
        if len(features) > 1:
            losses["feature_spread"] = spread_of_features(features.detach())
        return losses

    def slow_parts(self) -> Sequence[tuple[nn.Module, nn.Module, float]]:
        """Give each slow copy, what it follows, and its momentum."""
        return ()

    def pairs_by_momentum(
        self, momentum: float, end: float | None, *names: str
    ) -> list[tuple[nn.Module, nn.Module, float]]:
        """Give each ``slow_NAME``, NAME and the momentum now, which rises to ``end`` along half a cosine of the run."""
        if end is not None:
            momentum = end - (end - momentum) * lr_factor(self.trainer.global_step, 0, planned_steps(self.trainer))
        return [(getattr(self, f"slow_{name}"), getattr(self, name), momentum) for name in names]

    def told(self) -> dict[str, torch.Tensor]:
        """Further figures of the batch whose loss was computed, for the log."""
        return {}

    def remember(self) -> None:
        """Keep what later batches need of the one whose loss was computed."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Key the noise, and let the copies follow where the weights have moved since.

        At the start, so that a checkpoint of any step holds all that the next one needs.
        """
        super().on_train_batch_start(batch, batch_idx)
        if self.trainer.global_step > int(self.followed):
            for slow, fast, momentum in self.slow_parts():
                follow(slow, fast, momentum)
            self.followed.fill_(self.trainer.global_step)

    def on_predict_start(self) -> None:
        """Refuse: there are no landmarks to predict."""
        raise no_landmarks(type(self).__name__)


def slow_copy(module: nn.Module) -> nn.Module:
    """Copy a module whose weights follow those of the first and learn by no gradient."""
    found = copy.deepcopy(module)
    for parameter in found.parameters():
        parameter.requires_grad_(False)
    return found


def check_momentum(option: str, momentum: float, end: float | None) -> None:
    """Raise UserError unless a copy follows: 0 <= ``momentum`` < 1, and an ``end`` that is not below it."""
    if not 0 <= momentum < 1:
        raise UserError(f"{option}.momentum: found {momentum}, expected 0 to below 1")
    if end is not None and not momentum <= end <= 1:
        raise UserError(f"{option}.momentum_end: found {end}, expected {momentum} (momentum) to 1, or null to keep it")


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Draw a copy's weights to those that learn: slow <- m slow + (1 - m) fast; statistics of norms are its own."""
    pairs = [(a, b) for a, b in zip(slow.parameters(), fast.parameters(), strict=True) if b.requires_grad]
    if pairs:
        kept: Any
        kept, learned = zip(*pairs, strict=True)
        torch._foreach_lerp_(list(kept), list(learned), 1 - momentum)

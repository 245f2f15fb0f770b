"""ContrastivePretrainModule: learn an encoder by telling images apart, MoCo v3 and SimCLR v2, paper B's rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import currentframe
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group
from landmark_diffusion.methods.contrast import ProjectionHead, info_nce, nt_xent
from landmark_diffusion.methods.encoder_pretrain import EncoderPretrainModule, check_momentum, slow_copy
from landmark_diffusion.methods.views import Views
from landmark_diffusion.models.network import NetworkFactory, described
from landmark_diffusion.models.presets import PAPER_B
from landmark_diffusion.training.processes import first_place, gather_tensors

Kind = Literal["moco_v3", "simclr_v2"]


@dataclass(frozen=True)
class Contrast:
    """What is told apart, and how.

    Args:
        kind: "moco_v3": queries against the keys of a copy that follows slowly, both ways; "simclr_v2": all views of a
            batch against each other.
        temperature: tau.
        momentum: of the copy of "moco_v3".
        momentum_end: what it rises to at the run's end, along half a cosine; None: it stays.
        bank: keys of earlier batches that are negatives too, of other images; 0: the batch's alone.
        hidden, out: widths of the projection head.
        layers: of the projection head.
        predictor_layers: of the head behind it, "moco_v3" alone.

    Raises UserError for values that make no sense.
    """

    kind: Kind = "moco_v3"
    temperature: float = 0.2
    momentum: float = 0.99
    momentum_end: float | None = None
    bank: int = 0
    hidden: int = 2048
    out: int = 256
    layers: int = 3
    predictor_layers: int = 2

    def __post_init__(self) -> None:
        if self.kind not in ("moco_v3", "simclr_v2"):
            raise UserError(f"model.contrast.kind: found {self.kind!r:.40}, expected moco_v3 or simclr_v2")
        if not self.temperature > 0:
            raise UserError(f"model.contrast.temperature: found {self.temperature}, expected a number above 0")
        check_momentum("model.contrast", self.momentum, self.momentum_end)
        if min(self.hidden, self.out, self.layers, self.predictor_layers) < 1 or self.bank < 0:
            raise UserError("model.contrast: hidden, out, layers, predictor_layers are at least 1, bank at least 0")


class ContrastivePretrainModule(EncoderPretrainModule):
    """Learn radiographs without labels by contrast between them.

    MoCo v3: Chen, Xie and He 2021, "An empirical study of training self-supervised vision transformers", algorithm 1
    (symmetric InfoNCE, momentum encoder, predictor). SimCLR v2: Chen et al. 2020, "Big self-supervised models are
    strong semi-supervised learners" (NT-Xent, a head of three layers).

    Args:
        num_landmarks: linked from the data module and not used: labels are not looked at.
        network: fine-tuning has to repeat it.
        contrast: the loss and its heads.
        views: how two views of an image are drawn.
        image_range: the grey levels 0 and 1 of a batch become these; fine-tuning sees the same.
        chunk: views that the encoder sees at once; 0: all of a batch.
        kwargs: optimisation.
    """

    bank: torch.Tensor
    bank_images: torch.Tensor
    """Index of the image of each key in the bank; -1 for a place that is not filled."""
    bank_filled: torch.Tensor

    def __init__(
        self,
        num_landmarks: int = 0,
        network: NetworkFactory = PAPER_B,
        contrast: Contrast = Contrast(),
        views: Views = Views(),
        image_range: tuple[float, float] = (-1.0, 1.0),
        chunk: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        network = described(network, PAPER_B)
        self.contrast = as_group(Contrast, contrast, "model.contrast")
        self.views = as_group(Views, views, "model.views")
        self.keep_options(currentframe(), network=network, contrast=self.contrast, views=self.views)
        width, chosen = self.take_network(network, image_range, chunk), self.contrast
        self.projector = ProjectionHead(width, chosen.hidden, chosen.out, chosen.layers)
        if chosen.kind == "moco_v3":
            self.predictor = ProjectionHead(chosen.out, chosen.hidden, chosen.out, chosen.predictor_layers)
            self.slow_network, self.slow_projector = slow_copy(self.network), slow_copy(self.projector)
        self.register_buffer("bank", torch.zeros(chosen.bank, chosen.out))
        self.register_buffer("bank_images", torch.full((chosen.bank,), -1))
        self.register_buffer("bank_filled", torch.zeros((), dtype=torch.long))
        self._keys: list[torch.Tensor] = []
        self._images: torch.Tensor | None = None

    def losses_of_images(
        self, image: torch.Tensor, index: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each image, (B,), and features (B, C) of its first view."""
        first, second = self.views.draw(image), self.views.draw(image)
        features = [self.features(self.network, view) for view in (first, second)]
        projected = [self.projector(each) for each in features]
        self._images = None if index is None else gather_tensors(index)
        bank, left_out = self._negatives(index)
        if self.contrast.kind == "simclr_v2":
            unit = [F.normalize(each, dim=-1) for each in projected]
            return self._all_against_all(unit[0], unit[1], bank, left_out), features[0]
        queries = [F.normalize(self.predictor(each), dim=-1) for each in projected]
        with torch.no_grad():
            keys = [
                F.normalize(self.slow_projector(self.features(self.slow_network, view)), dim=-1)
                for view in (first, second)
            ]
        return self._queries_against_keys(queries, keys, bank, left_out), features[0]

    def _all_against_all(
        self, first: torch.Tensor, second: torch.Tensor, bank: torch.Tensor, left_out: torch.Tensor | None
    ) -> torch.Tensor:
        all_first, all_second = gather_tensors(first, True), gather_tensors(second, True)
        self._keys = [all_first.detach(), all_second.detach()]
        start, temperature = first_place(len(first)), self.contrast.temperature
        return nt_xent(first, second, temperature, bank, all_first, all_second, start, left_out)

    def _queries_against_keys(
        self, queries: list[torch.Tensor], keys: list[torch.Tensor], bank: torch.Tensor, left_out: torch.Tensor | None
    ) -> torch.Tensor:
        """Symmetric InfoNCE: the first view's query finds the second view's key, and the other way round."""
        everyone = [gather_tensors(each) for each in keys]
        own = torch.arange(len(queries[0]), device=queries[0].device) + first_place(len(queries[0]))
        found = [
            info_nce(query, torch.cat([key, bank]), own, self.contrast.temperature, left_out)
            for query, key in zip(queries, reversed(everyone), strict=True)
        ]
        self._keys = everyone
        return 2 * self.contrast.temperature * (found[0] + found[1])

    def _negatives(self, index: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The bank as far as it is filled, (K, D), and which keys are of the same image as one of ``index``.

        That is (B, M + K): M of all processes' images ("simclr_v2": 2 M, of both views), then the bank's. None for
        images of another part, each of which comes once: their indices mean other images.
        """
        filled = int(self.bank_filled)
        bank = self.bank[:filled].clone()
        if index is None or self._images is None:
            return bank, None
        views = 2 if self.contrast.kind == "simclr_v2" else 1
        images = torch.cat([self._images.repeat(views), self.bank_images[:filled]])
        return bank, index[:, None] == images

    def slow_parts(self) -> Sequence[tuple[nn.Module, nn.Module, float]]:
        """Give encoder and projection of "moco_v3"; "simclr_v2" has no copy."""
        if self.contrast.kind != "moco_v3":
            return ()
        return self.pairs_by_momentum(self.contrast.momentum, self.contrast.momentum_end, "network", "projector")

    @torch.no_grad()
    def remember(self) -> None:
        """Put the batch's keys in front of the bank, the oldest out of it."""
        size, keys = self.contrast.bank, torch.cat(self._keys).to(self.bank.dtype)
        if size and keys.isfinite().all():
            assert self._images is not None
            images = self._images.repeat(len(self._keys))
            self.bank.copy_(torch.cat([keys, self.bank])[:size])
            self.bank_images.copy_(torch.cat([images, self.bank_images])[:size])
            self.bank_filled.fill_(min(size, int(self.bank_filled) + len(keys)))

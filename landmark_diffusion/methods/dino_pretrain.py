"""DINOPretrainModule: learn an encoder that agrees with a slow copy of itself, paper B's rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import currentframe
from typing import Any, Literal

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group
from landmark_diffusion.methods.contrast import (
    PrototypeHead,
    balanced_answers,
    centred_answers,
    sharpness_of_answers,
    teacher_student,
    variety_of_answers,
)
from landmark_diffusion.methods.encoder_pretrain import EncoderPretrainModule, check_momentum, slow_copy
from landmark_diffusion.methods.views import Views
from landmark_diffusion.models.network import NetworkFactory, described
from landmark_diffusion.models.presets import PAPER_B
from landmark_diffusion.training.processes import first_place, gather_tensors


@dataclass(frozen=True)
class Distillation:
    """How the student follows the teacher.

    Args:
        student_temperature, teacher_temperature: of the two softmaxes; the teacher's is the sharper.
        momentum: of the teacher's weights.
        momentum_end: what it rises to at the run's end, along half a cosine; None: it stays.
        balance: what keeps the teacher from one answer to all images: ``centre``, their slow mean is taken off its
            outputs, as published; ``sinkhorn``, among the views of a batch each answer is as frequent as any other,
            as in DINOv2: for batches of few images, whose mean says little.
        centre_momentum: of what is taken off the teacher's outputs.
        local_views: small views, which the student alone sees, beside two global ones.
        local_crop: smallest and largest share of the image's area in a local view; ``views.crop`` is a global view's.
        local_size: sides of a local view, as a share of the image's.
        hidden, bottleneck: widths of the head.
        out: its outputs.
        norm: batch norm in the head, for convolutional networks; it wants batches of some size.

    Raises UserError for values that make no sense.
    """

    student_temperature: float = 0.1
    teacher_temperature: float = 0.05
    momentum: float = 0.996
    momentum_end: float | None = None
    balance: Literal["centre", "sinkhorn"] = "centre"
    centre_momentum: float = 0.9
    local_views: int = 6
    local_crop: tuple[float, float] = (0.05, 0.3)
    local_size: float = 0.5
    hidden: int = 2048
    bottleneck: int = 256
    out: int = 4096
    norm: bool = False

    def __post_init__(self) -> None:
        for name in ("student_temperature", "teacher_temperature"):
            if not (found := getattr(self, name)) > 0:
                raise UserError(f"model.distillation.{name}: found {found}, expected a number above 0")
        check_momentum("model.distillation", self.momentum, self.momentum_end)
        if self.balance not in ("centre", "sinkhorn"):
            raise UserError(f"model.distillation.balance: found {self.balance!r:.40}, expected centre or sinkhorn")
        if not 0 <= self.centre_momentum < 1:
            raise UserError(f"model.distillation.centre_momentum: found {self.centre_momentum}, expected 0 to below 1")
        if not (0 < self.local_crop[0] <= self.local_crop[1] <= 1 and 0 < self.local_size <= 1):
            raise UserError("model.distillation: local_crop are two rising shares above 0, local_size one, at most 1")
        if min(self.hidden, self.bottleneck, self.out) < 1 or self.local_views < 0:
            raise UserError("model.distillation: hidden, bottleneck, out are at least 1, local_views at least 0")


class DINOPretrainModule(EncoderPretrainModule):
    """Learn radiographs without labels by self-distillation.

    Caron et al. 2021, "Emerging properties in self-supervised vision transformers": a student sees two global and
    several local views, and predicts what a teacher, its own slow copy, says of the other global one; the teacher's
    outputs are centred and sharpened, so that they do not collapse.

    Args:
        num_landmarks: linked from the data module and not used: labels are not looked at.
        network: fine-tuning has to repeat it.
        distillation: the loss, the teacher and the head.
        views: how a global view is drawn, and a local one but for its crop.
        image_range: the grey levels 0 and 1 of a batch become these; fine-tuning sees the same.
        chunk: views that the encoder sees at once; 0: all of a batch.
        kwargs: optimisation.
    """

    centre: torch.Tensor

    def __init__(
        self,
        num_landmarks: int = 0,
        network: NetworkFactory = PAPER_B,
        distillation: Distillation = Distillation(),
        views: Views = Views(),
        image_range: tuple[float, float] = (-1.0, 1.0),
        chunk: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        network = described(network, PAPER_B)
        self.distillation = as_group(Distillation, distillation, "model.distillation")
        self.views = as_group(Views, views, "model.views")
        self.keep_options(currentframe(), network=network, distillation=self.distillation, views=self.views)
        width, chosen = self.take_network(network, image_range, chunk), self.distillation
        self.head = PrototypeHead(width, chosen.hidden, chosen.bottleneck, chosen.out, chosen.norm)
        self.slow_network, self.slow_head = slow_copy(self.network), slow_copy(self.head)
        self.register_buffer("centre", torch.zeros(chosen.out))
        self._said: torch.Tensor | None = None
        self._answers: torch.Tensor | None = None

    def losses_of_images(
        self, image: torch.Tensor, index: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each image, (B,), and features (B, C) of its first view."""
        chosen, (height, width) = self.distillation, image.shape[-2:]
        small = tuple(max(1, round(side * chosen.local_size)) for side in (height, width))
        views = [self.views.draw(image) for _ in range(2)]
        local = [self.views.draw(image, (small[0], small[1]), chosen.local_crop) for _ in range(chosen.local_views)]
        features = [self.features(self.network, view) for view in (*views, *local)]
        with torch.no_grad():
            teacher = [self.slow_head(self.features(self.slow_network, view)) for view in views]
            self._said = torch.cat(teacher)
            self._answers = self.answers(self._said)
        student = [self.head(each) for each in features]
        found = teacher_student(student, self._answers.chunk(len(teacher)), chosen.student_temperature)
        return found, features[0]

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """Give the teacher's answers (V, D) to views, whose outputs these are; every process brings as many."""
        temperature = self.distillation.teacher_temperature
        if self.distillation.balance == "centre":
            return centred_answers(outputs, self.centre, temperature)
        start = first_place(len(outputs))
        return balanced_answers(gather_tensors(outputs), temperature)[start : start + len(outputs)]

    def slow_parts(self) -> Sequence[tuple[nn.Module, nn.Module, float]]:
        """Give the teacher."""
        chosen = self.distillation
        return self.pairs_by_momentum(chosen.momentum, chosen.momentum_end, "network", "head")

    @torch.no_grad()
    def told(self) -> dict[str, torch.Tensor]:
        """How much the teacher says."""
        assert self._answers is not None
        return {
            "teacher_sharpness": sharpness_of_answers(self._answers),
            "teacher_variety": variety_of_answers(self._answers),
        }

    @torch.no_grad()
    def remember(self) -> None:
        """Let the centre, where it is what balances, follow the teacher's outputs."""
        assert self._said is not None
        if self.distillation.balance == "centre":
            mean = gather_tensors(self._said).mean(0)
            if mean.isfinite().all():
                self.centre.lerp_(mean.to(self.centre.dtype), 1 - self.distillation.centre_momentum)
        self._said = self._answers = None

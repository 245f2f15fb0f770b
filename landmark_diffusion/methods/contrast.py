"""Losses and heads of self-supervision by whole images: contrast between them, and a student that follows a teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


def info_nce(
    queries: torch.Tensor, keys: torch.Tensor, positives: torch.Tensor, temperature: float,
    left_out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Contrast each query with its own key and all others: -log softmax(q k / tau) at the positive, (B,).

    van den Oord et al. 2018; MoCo v3 (Chen, Xie and He 2021, algorithm 1), without its factor 2 tau.

    Args:
        queries: (B, D), of length 1.
        keys: (K, D), of length 1.
        positives: (B,) place of each query's own key.
        temperature: tau.
        left_out: (B, K), where a key is no negative of a query: it is of the same image. The positive stays.
    """
    logits = queries @ keys.T / temperature
    if left_out is not None:
        logits = logits.masked_fill(left_out.scatter(1, positives[:, None], False), float("-inf"))
    return F.cross_entropy(logits, positives, reduction="none")


def nt_xent(
    first: torch.Tensor, second: torch.Tensor, temperature: float, others: torch.Tensor | None = None,
    all_first: torch.Tensor | None = None, all_second: torch.Tensor | None = None, start: int = 0,
    left_out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """SimCLR's loss (Chen et al. 2020, eq. 1) of each of B images, the mean of its two views, (B,).

    Args:
        first, second: (B, D) of the two views, of length 1.
        temperature: tau.
        others: (K, D) further negatives.
        all_first, all_second: (M, D) of all processes, this one's from place ``start``; by default there is one.
        left_out: (B, 2 M + K), where a view of all or one of the others is no negative of an image: it is of the same.
    """
    first_all, second_all = (first if all_first is None else all_first), (second if all_second is None else all_second)
    count, of_all = len(first), len(first_all)
    keys = torch.cat([first_all, second_all, *([] if others is None else [others])])
    own = torch.arange(count, device=first.device) + start
    parts = []
    for views, self_at, positive in ((first, own, own + of_all), (second, own + of_all, own)):
        own_view = torch.zeros(count, len(keys), dtype=torch.bool, device=views.device).scatter(
            1, self_at[:, None], True
        )
        masked = own_view if left_out is None else own_view | left_out
        parts.append(info_nce(views, keys, positive, temperature, masked))
    return (parts[0] + parts[1]) / 2


def centred_answers(outputs: torch.Tensor, centre: torch.Tensor, temperature: float) -> torch.Tensor:
    """A teacher's answers (B, D), softmax((outputs - centre) / temperature) (Caron et al. 2021, algorithm 1)."""
    return ((outputs - centre) / temperature).softmax(-1)


def balanced_answers(outputs: torch.Tensor, temperature: float, rounds: int = 3) -> torch.Tensor:
    """A teacher's answers (B, D), each of the D as often as any other among the B (Sinkhorn and Knopp).

    Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster assignments"; DINOv2 (Oquab et
    al. 2023) has them in place of the centre. Each row sums to 1, and after enough ``rounds`` each column to B / D.
    """
    logs = outputs.float() / temperature
    for _ in range(rounds):
        logs = logs.log_softmax(0)
        logs = logs.log_softmax(-1)
    return logs.exp()


def teacher_student(
    student: Sequence[torch.Tensor], answers: Sequence[torch.Tensor], temperature: float
) -> torch.Tensor:
    """DINO's loss (Caron et al. 2021, eq. 3): cross-entropy of each student's view with each other of the teacher.

    Args:
        student: outputs (B, D) of all views, the teacher's views first.
        answers: the teacher's (B, D) to the global views, rows that sum to 1.
        temperature: of the student's softmax.

    Returns:
        (B,), the mean over the pairs of different views.
    """
    found = [(each / temperature).log_softmax(-1) for each in student]
    pairs = [-(wanted * log).sum(-1) for i, wanted in enumerate(answers) for j, log in enumerate(found) if i != j]
    return torch.stack(pairs).mean(0)


def sharpness_of_answers(answers: torch.Tensor) -> torch.Tensor:
    """Say how much a teacher's answers (B, D) tell: 0 where each is as likely as any other, 1 where one alone is.

    1 less their mean entropy as a share of ln D; near 0 a student learns nothing from them.
    """
    return 1 - _entropy(answers).mean() / math.log(answers.shape[-1])


def variety_of_answers(answers: torch.Tensor) -> torch.Tensor:
    """Say how many of D answers are given to B views, (B, D): 1 for each as often as any other, 0 for a single one.

    The entropy of the mean answer as a share of ln D; near 0 a student learns to say the same of every image.
    """
    return _entropy(answers.mean(0)) / math.log(answers.shape[-1])


def _entropy(answers: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.special.entr(answers.float()).sum(-1)
    return found


def spread_of_features(features: torch.Tensor) -> torch.Tensor:
    """Say how much features (B, D) differ between images: 1 for directions all over the sphere, 0 where all are alike.

    The standard deviation of the features of length 1, over the images, in units of what independent ones have,
    1 / sqrt(D) (Chen and He 2021, "Exploring simple Siamese representation learning").
    """
    unit = F.normalize(features.float(), dim=-1)
    found: torch.Tensor = unit.std(0, correction=0).mean() * unit.shape[-1] ** 0.5
    return found


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that takes what it has learned so far where a batch has one image: an epoch's last one may."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C) to (B, C)."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        found: torch.Tensor = super().forward(x)
        return found


class ProjectionHead(nn.Sequential):
    """A perceptron behind the encoder: ``layers`` linear layers, batch norm and ReLU between them.

    Args:
        width_in, hidden, width_out: of its layers.
        layers: how many, at least 1.
        last_norm: batch norm without weights of its own behind the last layer (MoCo v3, SimCLR v2).
    """

    def __init__(self, width_in: int, hidden: int, width_out: int, layers: int, last_norm: bool = True) -> None:
        parts: list[nn.Module] = []
        for place in range(layers):
            last = place == layers - 1
            width = width_out if last else hidden
            parts.append(nn.Linear(width_in, width, bias=last and not last_norm))
            if not last:
                parts += [BatchNorm(width), nn.ReLU(inplace=True)]
            elif last_norm:
                parts.append(BatchNorm(width, affine=False))
            width_in = width
        super().__init__(*parts)


class PrototypeHead(nn.Module):
    """DINO's head: three linear layers with GELU, to length 1, and a last layer whose rows have length 1.

    Args:
        width_in, hidden, bottleneck, width_out: of its layers.
        norm: batch norm behind the first two.
    """

    def __init__(self, width_in: int, hidden: int, bottleneck: int, width_out: int, norm: bool = False) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for before, width in ((width_in, hidden), (hidden, hidden)):
            parts += [nn.Linear(before, width), *([BatchNorm(width)] if norm else []), nn.GELU()]
        self.mlp = nn.Sequential(*parts, nn.Linear(hidden, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):  # else a new head's biases say more than any image
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.empty(width_out, bottleneck))
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C) to (B, width_out)."""
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))

"""Layers of the same weights and result that do the work in an order that suits other runtimes."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.models.blocks import GroupNorm, SelfAttention

ModuleT = TypeVar("ModuleT", bound=nn.Module)

MAX_WEIGHTS = 2**25
"""Weights of attention, queries x positions x heads, that a file holds at a time for each image: 128 MiB."""


class AttentionInParts(SelfAttention):
    """SelfAttention, some queries at a time.

    Torch's fused kernel never holds all weights; runtimes do, and at 640x800 and factor 4 they would take 16 GB.
    """

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Mix the values of all positions, as SelfAttention does."""
        queries = max(1, MAX_WEIGHTS // (self.heads * k.shape[-2]))
        return torch.cat([F.scaled_dot_product_attention(part, k, v) for part in q.split(queries, -2)], -2)


class GroupNormByRows(GroupNorm):
    """GroupNorm whose means are means of the rows' means.

    onnxruntime's own normalisation adds the pixels of a group one after another: a million of them at 640x800, and the
    result is off by 1e-4 where torch is by 1e-6.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x (B,C,H,W) as GroupNorm does."""
        groups = x.unflatten(1, (self.num_groups, -1))
        centred = groups - _mean_of_group(groups)
        normed: torch.Tensor = (centred * (_mean_of_group(centred.square()) + self.eps).rsqrt()).flatten(1, 2)
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


def _mean_of_group(groups: torch.Tensor) -> torch.Tensor:
    """Mean of each group of (B, groups, C, H, W), with axes of 1 left in place."""
    return groups.mean(-1, keepdim=True).mean((2, 3), keepdim=True)


EXPORTED: dict[type[nn.Module], type[nn.Module]] = {SelfAttention: AttentionInParts, GroupNorm: GroupNormByRows}
"""What takes the place of a layer."""


def with_exported_layers(module: ModuleT) -> ModuleT:
    """Exchange the layers of a module for those of ``EXPORTED``, in place."""
    for layer in module.modules():
        layer.__class__ = EXPORTED.get(type(layer), type(layer))
    return module

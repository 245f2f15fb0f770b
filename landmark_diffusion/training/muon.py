"""Muon: the momentum of each convolution and linear layer is made orthogonal before it is a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

MOMENTUM = 0.95
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
"""Of the quintic Newton-Schulz iteration (Jordan)."""
UPDATE_RMS = 0.2
"""Root mean square of an update's elements at learning rate 1, about that of AdamW's (Liu et al., section 2.2)."""
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Turn U S V^T, (M, N), nearly into U V^T: its singular values are between 0.5 and 1.5 after five iterations.

    Source: Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024). Computed in the matrix's own
    precision; a matrix of zeros stays one.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    wide: torch.Tensor = matrix.T if tall else matrix
    wide = wide / matrix.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ wide
    return wide.T if tall else wide


def layer_weights(module: nn.Module) -> list[torch.Tensor]:
    """Weights that are matrices: of linear layers and of convolutions over more than one channel."""
    weights = (layer.weight for layer in module.modules() if isinstance(layer, _LAYERS))
    return [weight for weight in weights if weight.requires_grad and weight.shape[1] > 1]


def muon_groups(groups: Iterable[Mapping[str, Any]], weights: Iterable[torch.Tensor]) -> list[dict[str, Any]]:
    """Divide each parameter group into those of ``weights``, for Muon, and the others, for AdamW."""
    chosen = {id(weight) for weight in weights}
    divided = [
        {**group, "params": [each for each in group["params"] if (id(each) in chosen) is muon], "muon": muon}
        for group in groups
        for muon in (True, False)
    ]
    return [group for group in divided if group["params"]]


class Muon(torch.optim.AdamW):
    """Muon for the parameter groups with ``muon: True``, AdamW for the others, at one learning rate.

    A weight of more than two dimensions is taken as a matrix of its outputs and all else. The update is scaled by
    0.2 sqrt(max(M, N)), so that learning rate and weight decay mean what they mean for AdamW. Source: Jordan (2024);
    the scale: Liu et al., "Muon is scalable for LLM training" (arXiv 2502.16982), eq. 4.

    The options are those of torch's AdamW; its parameter groups are as :func:`muon_groups` gives them.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all groups; gives what ``closure`` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        every = self.param_groups
        try:
            self.param_groups = [group for group in every if not group["muon"]]
            super().step()
        finally:
            self.param_groups = every
        for group in every:
            for weight in group["params"] if group["muon"] else ():
                if weight.grad is not None:
                    self._move(weight, weight.grad, group["lr"], group["weight_decay"])
        return loss

    def _move(self, weight: torch.Tensor, gradient: torch.Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # which AdamW looks for in what it reads back
            state["momentum"] = torch.zeros_like(weight)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
        update = orthogonalised(ahead).reshape(weight.shape)
        weight.mul_(1 - rate * decay).add_(update, alpha=-rate * UPDATE_RMS * math.sqrt(max(ahead.shape)))

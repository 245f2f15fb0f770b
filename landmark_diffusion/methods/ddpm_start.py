"""A DDPM's weights as those of a network that knows neither its steps nor its condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.finders.position_diffusion import DDPMStart
from landmark_diffusion.models.constant_embedding import (
    State,
    absorbed,
    added_to_embeddings,
    condition_vector,
    constant_steps,
    is_time,
    step_before_activation,
    without_embeddings,
)


def without_branches(
    state: State, trained: Mapping[str, Any], network: nn.Module, start: DDPMStart | None, where: str
) -> dict[str, torch.Tensor]:
    """Give the weights that ``network`` begins with, by its names; those that stay as they are are the same tensors.

    ``trained`` are the checkpoint's options. Without ``start`` the time branch stays as it is, and what the checkpoint
    was conditioned on is not told. With one, the branch of a network that takes steps (other ones: those of windows)
    begins as a constant, and that of a network without becomes part of its biases. Raises UserError, which begins with
    ``where``, for a set that the checkpoint does not know.
    """
    layer = str(getattr(network, "condition_layer", "") or "")
    takes_time = any(is_time(name) for name in network.state_dict())
    condition = condition_vector(state, layer, _place(trained, start, where))
    state = {name: value for name, value in state.items() if not (layer and name.startswith(f"{layer}."))}
    if start is not None and start.time == "removed":
        return without_embeddings(state)
    if condition is not None and (takes_time or start is not None):
        state = added_to_embeddings(state, condition)
    before = None if start is None else step_before_activation(state, 0)
    if start is None or before is None:
        return state
    if start.time == "zero":
        before = torch.zeros_like(before)
    return constant_steps(state, before) if takes_time else absorbed(state, F.silu(before))


def _place(trained: Mapping[str, Any], start: DDPMStart | None, where: str) -> int | None:
    """Place of the set asked for among those that the checkpoint was conditioned on."""
    if start is None or start.set is None:
        return None
    sets = [str(name) for name in (trained.get("condition") or {}).get("sets") or ()]
    if start.set not in sets:
        raise UserError(
            f"{where} was not conditioned on the set {start.set!r:.60} (model.ddpm_start.set)."
            + (did_you_mean(start.set, sets) if sets else " It was on none: leave the option out.")
        )
    return sets.index(start.set)

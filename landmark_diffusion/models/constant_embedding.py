"""A network's time embedding and condition as constants in its weights, for a start of a network without them.

On state dicts of the UNet and its blocks (models/blocks.py), by the names of their parts; other networks' weights pass
unchanged. In a block the embedding e enters as W e + b, so that a constant e is a change of biases (or, where it scales
and shifts the second norm, of that norm): what comes out is the same, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from landmark_diffusion.models.blocks import sinusoidal_embedding

State = Mapping[str, torch.Tensor]

_LINEAR = "embedding.weight"
_TIME = "time.linear_out."


def step_before_activation(state: State, t: int) -> torch.Tensor | None:
    """What the time embedding's last SiLU is given at step t, (E,) float64; None without such a branch."""
    if f"{_TIME}weight" not in state:
        return None
    first, last = (
        [state[f"time.linear_{layer}.{part}"].double() for part in ("weight", "bias")] for layer in ("in", "out")
    )
    waves = sinusoidal_embedding(torch.tensor([t]), first[0].shape[1], torch.float64)[0]
    return last[0] @ torch.nn.functional.silu(first[0] @ waves + first[1]) + last[1]


def condition_vector(state: State, layer: str, place: int | None) -> torch.Tensor | None:
    """The embedding (E,) float64 of the condition's ``place``, None for no condition; None where none is taken."""
    if f"{layer}.weight" not in state:
        return None
    bias = state[f"{layer}.bias"].double()
    return bias if place is None else bias + state[f"{layer}.weight"][:, place].double()


def added_to_embeddings(state: State, vector: torch.Tensor) -> dict[str, torch.Tensor]:
    """Add a constant (E,) to the embedding that every block sees: b becomes b + W vector."""
    found = dict(state)
    for block in _blocks(state):
        bias = state[f"{block}embedding.bias"]
        found[f"{block}embedding.bias"] = (bias.double() + state[f"{block}{_LINEAR}"].double() @ vector).to(bias)
    return found


def constant_steps(state: State, before_activation: torch.Tensor) -> dict[str, torch.Tensor]:
    """Let the time branch give silu(``before_activation``), (E,), at every step, until it learns to tell them apart."""
    weight, bias = state[f"{_TIME}weight"], state[f"{_TIME}bias"]
    return {**state, f"{_TIME}weight": torch.zeros_like(weight), f"{_TIME}bias": before_activation.to(bias)}


def absorbed(state: State, embedding: torch.Tensor) -> dict[str, torch.Tensor]:
    """Take the time branch out: the blocks' biases hold what an embedding (E,) of every image would add."""
    found = without_embeddings(state)
    for block in _blocks(state):
        weight, bias = state[f"{block}{_LINEAR}"].double(), state[f"{block}embedding.bias"].double()
        value, added = weight @ embedding + bias, f"{block}conv_in.bias"
        if len(value) == len(state[added]):
            found[added] = (state[added].double() + value).to(state[added])
            continue
        scale, shift = value.chunk(2)
        for part, offset in (("weight", torch.zeros_like(shift)), ("bias", shift)):
            old = state[f"{block}norm_out.{part}"]
            found[f"{block}norm_out.{part}"] = (old.double() * (1 + scale) + offset).to(old)
    return found


def without_embeddings(state: State) -> dict[str, torch.Tensor]:
    """Leave out the time branch and what the blocks take of it."""
    return {name: value for name, value in state.items() if not is_time(name)}


def is_time(name: str) -> bool:
    """Tell whether a weight belongs to a network's time branch, by its name."""
    return any(part in f".{name}" for part in (".time.", ".embedding."))


def _blocks(state: State) -> list[str]:
    """Names of the blocks that take an embedding, with the dot behind."""
    return [name.removesuffix(_LINEAR) for name in state if f".{name}".endswith(f".{_LINEAR}")]

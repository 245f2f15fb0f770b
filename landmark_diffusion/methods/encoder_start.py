"""An encoder alone as a start: from contrastive pre-training, or the published weights of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.methods import method_name

ENCODER_METHODS = ("ContrastivePretrainModule", "DINOPretrainModule")
"""Methods that train an encoder alone; what a network has behind it is as it was made."""


def learned_encoder(trained: Mapping[str, Any]) -> bool:
    """Tell whether the options of a checkpoint are those of a method that trains an encoder alone."""
    return method_name(trained) in ENCODER_METHODS


def weights_prefix(trained: Mapping[str, Any]) -> str:
    """Give what the names of the weights begin with that are a start: DINO's teacher is the better of its two."""
    return "slow_network." if method_name(trained) == "DINOPretrainModule" else "network."


def encoder_names(network: nn.Module) -> frozenset[str]:
    """Give the names of the encoder's weights and statistics within ``network``; none where it does not say."""
    if not hasattr(network, "encoder_parameters"):
        return frozenset()
    own = {id(parameter) for parameter in network.encoder_parameters()}  # type: ignore[operator]
    return frozenset(
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if any(id(parameter) in own for parameter in module.parameters(recurse=False))
        for name in (*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False)))
    )


def published_encoder(
    network: nn.Module, state: Mapping[str, torch.Tensor], path: Path, option: str
) -> dict[str, torch.Tensor]:
    """Give a classifier's published weights by the names of ``network``'s encoder.

    Colour becomes grey: a grey image has the same value in each channel, so that the first convolution's kernels are
    summed over these. Raises UserError for a network that knows no published weights, and for those of another one.
    """
    if not hasattr(network, "published_names"):
        raise UserError(
            f"{option}: {path} holds weights alone, as classifiers are published, and of a "
            f"{type(network).__name__}'s encoder there are none such: name a checkpoint of `ldx fit`, or use "
            "DenseNetUNet, ResNetUNet or EfficientNetLiteUNet"
        )
    wanted = network.state_dict()
    names: dict[str, str] = network.published_names(state)  # type: ignore[operator]
    found = {names[name]: value for name, value in state.items() if name in names}
    for name in encoder_names(network) - found.keys():
        if name.endswith(".num_batches_tracked"):  # files older than torch 0.4.1 have none; nothing is computed of it
            found[name] = wanted[name]
    stem = f"{network.stem}.weight"
    if stem in found and found[stem].ndim == 4 and found[stem].shape[1] > wanted[stem].shape[1] == 1:
        found[stem] = found[stem].sum(1, keepdim=True)
    missing = sorted(encoder_names(network) - found.keys())
    wrong = sorted(name for name, value in found.items() if name not in wanted or value.shape != wanted[name].shape)
    if missing or wrong:
        name = (wrong or missing)[0]
        there, here = (tuple(each[name].shape) if name in each else "absent" for each in (found, wanted))
        raise UserError(
            f"{option}: {path} are not the weights of this {type(network).__name__}'s encoder: "
            f"{len(missing) + len(wrong)} of {len(encoder_names(network))} do not fit, such as {name}, {there} there "
            f"and {here} here; its widths (network.init_args) have to be those of the published network"
        )
    return found

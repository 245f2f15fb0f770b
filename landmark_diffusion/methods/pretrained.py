"""Weights of one method as the start of another: what is taken, what is new, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.finders.heatmap_finetune import Weights
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.model_file import FACTS_KEY, is_model_file
from landmark_diffusion.models.unet import UNet

PREFIX = "network."
HEAD, INPUT = "conv_out.", "conv_in.weight"
NETWORK_OPTIONS = (
    *("encoder_channels", "decoder_channels", "blocks_per_level", "attention_factors", "attention_heads"),
    *("attention_head_channels", "linear_attention_factors", "middle", "final_activation"),
)
"""Options that shape the UNet and that a fine-tuned network shares with its start."""


@dataclass
class Transfer:
    """What became of each weight, by its name in the UNet.

    Attributes:
        path: the checkpoint.
        weights: "ema" or "raw".
        updates: optimiser steps behind them.
        taken: names of the weights that were taken as they are.
        new: names of the weights that keep their fresh values, and why.
        changed: names of the weights that were taken in part, and how.
        left: names of the checkpoint's weights that have no place here.
        landmark_names: what the checkpoint's outputs find, in its order; empty where it does not say.
    """

    path: Path
    weights: Weights
    updates: int
    taken: list[str] = field(default_factory=list)
    new: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    landmark_names: tuple[str, ...] = ()

    @property
    def keeps_head(self) -> bool:
        """Whether the last convolution was taken, and with it the order of the landmarks."""
        return any(name.startswith(HEAD) for name in self.taken)

    def describe(self) -> str:
        """Say it in a few lines for people."""
        kind = "averaged (EMA)" if self.weights == "ema" else "raw"
        start = f"start: {kind} weights of {self.path} after {counted(self.updates, 'update')}"
        lines = [start, f"  taken: {len(self.taken)}"]
        for title, group in (("taken in part", self.changed), ("new", self.new)):
            reasons = dict.fromkeys(group.values())
            lines += [
                f"  {title}: {', '.join(name for name, why in group.items() if why == reason)} ({reason})"
                for reason in reasons
            ]
        if self.left:
            shown = self.left if len(self.left) < 6 else [*self.left[:3], f"... {len(self.left)} in all"]
            lines.append(f"  left behind: {', '.join(shown)}")
        return "\n".join(lines)


def load_pretrained(
    network: UNet, path: str | Path, weights: Weights, options: Mapping[str, Any], keep_head: bool = False
) -> Transfer:
    """Put a checkpoint's UNet into ``network`` and say what became of each weight.

    The last convolution is new, unless ``keep_head`` and it fits; of several input channels (a diffusion checkpoint's
    noisy maps, self-conditioning) the image's is taken; the time branch is left behind where ``network`` has none.
    ``options`` are the new module's own, for the comparison. Raises UserError, naming every difference, for a
    checkpoint of another network or input range, or without the kind of weights asked for; nothing is changed then.
    """
    path = Path(path)
    content = read_checkpoint(path)
    source = _network_weights(content, path, weights)
    _check_options(dict(content.get("hyper_parameters") or {}), options, path)
    names = (content.get(FACTS_KEY) or {}).get("landmark_names", ())
    transfer = Transfer(path, weights, int(content.get("global_step", 0)), landmark_names=tuple(names))
    wanted = network.state_dict()
    values = {name: _match(name, wanted[name], source, transfer, keep_head) for name in wanted}
    transfer.left = sorted(source.keys() - wanted.keys())
    misfits = [name for name in transfer.left if not _is_time(name)]
    misfits += [name for name, value in values.items() if value is None and name not in transfer.new]
    if misfits:
        raise UserError(
            f"model.pretrained: {path} holds another network than the config's: {len(misfits)} weights do not fit, "
            f"such as {_shapes(sorted(misfits)[0], source, wanted)}"
        )
    network.load_state_dict({name: wanted[name] if value is None else value for name, value in values.items()})
    return transfer


def _match(
    name: str, fresh: torch.Tensor, source: Mapping[str, torch.Tensor], transfer: Transfer, keep_head: bool
) -> torch.Tensor | None:
    """The value for one weight, noted in ``transfer``; None for one that stays fresh or does not fit."""
    found = source.get(name)
    if name.startswith(HEAD) and not (keep_head and found is not None and found.shape == fresh.shape):
        transfer.new[name] = "the last convolution is replaced"
        return None
    if found is None and _is_time(name):
        transfer.new[name] = "the checkpoint has no time embedding"
        return None
    if found is None:
        return None
    if name == INPUT and found.shape != fresh.shape and found.shape[1] > fresh.shape[1]:
        transfer.changed[name] = f"the image's channel of {found.shape[1]}"
        return found[:, : fresh.shape[1]]
    if found.shape != fresh.shape:
        return None
    transfer.taken.append(name)
    return found


def _network_weights(content: Mapping[str, Any], path: Path, weights: Weights) -> dict[str, torch.Tensor]:
    """The UNet's weights by their names in it: ``state_dict`` is the average where there is one."""
    averaged, exported = "averaging_state" in content, is_model_file(path)
    if weights == "raw" and exported:
        raise UserError(
            f"model.weights: {path} is an exported model, which holds the weights that predictions use alone; set "
            "model.weights: ema, or name a checkpoint of the run"
        )
    if weights == "ema" and not averaged and not exported:
        raise UserError(
            f"model.weights: {path} has no moving average of the weights (it was trained with ema_decay: 0); "
            "set model.weights: raw"
        )
    state = content["current_model_state" if weights == "raw" and averaged else "state_dict"]
    found = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    if not found:
        raise UserError(f"model.pretrained: {path} holds no UNet of this package (no weights named {PREFIX}...)")
    return found


def _check_options(trained: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> None:
    """Refuse another network or input range, naming all options that differ."""
    compared = {key: trained[key] for key in NETWORK_OPTIONS if key in trained}
    if "_class_path" in trained or compared:
        # paper A's method has no such option: it sees grey levels in [0, 1]
        compared["image_range"] = trained.get("image_range", (0.0, 1.0))
    lines = [
        f"  model.init_args.{key}: {as_lists(value)} in the checkpoint, {as_lists(options[key])} in the config"
        for key, value in compared.items()
        if key in options and as_lists(value) != as_lists(options[key])
    ]
    if lines:
        raise UserError(
            f"model.pretrained: {path} does not fit the config:\n" + "\n".join(lines)
            + "\nGive these options the checkpoint's values, or name another checkpoint."
        )  # fmt: skip


def _is_time(name: str) -> bool:
    return any(part in f".{name}" for part in (".time.", ".embedding."))


def _shapes(name: str, source: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    there, here = (tuple(found[name].shape) if name in found else "absent" for found in (source, wanted))
    return f"{name}, {there} in the checkpoint and {here} here"


def as_lists(value: Any) -> Any:
    """Turn tuples within an option's value into lists, as yaml writes them, so that equal values compare equal."""
    return [as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value

"""Weights of one method as the start of another: what is taken, what is new, and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import plain_options
from landmark_diffusion.core.texts import counted, one_line
from landmark_diffusion.finders.finder import Weights
from landmark_diffusion.finders.position_diffusion import DDPMStart
from landmark_diffusion.methods import method_name, name_in_files
from landmark_diffusion.methods.ddpm_start import without_branches
from landmark_diffusion.methods.encoder_start import encoder_names, learned_encoder, published_encoder, weights_prefix
from landmark_diffusion.modelfile.checkpoint_reading import PUBLISHED_KEY, read_start
from landmark_diffusion.modelfile.model_file import FACTS_KEY, is_model_file
from landmark_diffusion.models.constant_embedding import is_time

_OPTION = {"network": "model.pretrained", "window_network": "model.window_pretrained"}
"""The option that names the start of a method's network."""
IN_TRAINING = ("dropout", "prior", "gradient_checkpointing", "channels_last", "output_activation")
"""Options of a network that a start and what begins from it need not share."""


@dataclass
class Transfer:
    """What became of each weight, by its name in the network.

    Attributes:
        path: the checkpoint.
        weights: "ema" or "raw".
        updates: optimiser steps behind them.
        taken: names of the weights that were taken as they are.
        new: names of the weights that keep their fresh values, and why.
        changed: names of the weights that were taken in part, and how.
        left: names of the checkpoint's weights that have no place here.
        landmark_names: what the checkpoint's outputs find, in its order; empty where it does not say.
        published: whether they are a classifier's published weights, of which no update is known.
        head: name of the network's last layer, whose outputs are the landmarks; None where the network does not say.
    """

    path: Path
    weights: Weights
    updates: int
    taken: list[str] = field(default_factory=list)
    new: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    landmark_names: tuple[str, ...] = ()
    head: str | None = None
    published: bool = False

    @property
    def keeps_head(self) -> bool:
        """Whether the last layer was taken, and with it the order of the landmarks."""
        return any(name.startswith(f"{self.head}.") for name in self.taken)

    def describe(self) -> str:
        """Say it in a few lines for people."""
        kind = "averaged (EMA)" if self.weights == "ema" else "raw"
        start = f"start: {kind} weights of {self.path} after {counted(self.updates, 'update')}"
        if self.published:
            start = f"start: published weights of {self.path}"
        lines = [start, f"  taken: {len(self.taken)}"]
        for title, group in (("taken in part", self.changed), ("new", self.new)):
            reasons = dict.fromkeys(group.values())
            lines += [
                f"  {title}: {_shortened([name for name, why in group.items() if why == reason])} ({reason})"
                for reason in reasons
            ]
        if self.left:
            lines.append(f"  left behind: {_shortened(self.left)}")
        return "\n".join(lines)


def _shortened(names: list[str]) -> str:
    return ", ".join(names if len(names) < 6 else [*names[:3], f"... {len(names)} in all"])


def load_pretrained(
    network: nn.Module,
    path: str | Path,
    weights: Weights,
    options: Mapping[str, Any],
    keep_head: bool = False,
    part: str = "network",
    ddpm_start: DDPMStart | None = None,
) -> Transfer:
    """Put a checkpoint's network into ``network`` and say what became of each weight.

    The last layer is new, unless ``keep_head`` and it fits; of several input channels (a diffusion checkpoint's
    noisy maps, self-conditioning) the image's is taken; the time branch is left behind where ``network`` has none; what
    a pooled DDPM was conditioned on becomes part of the biases, as if it were not told. ``ddpm_start`` says what else
    becomes of steps and condition. ``options`` are the new module's own, for the comparison; ``part`` is the network's
    name among them: "network" begins as a network of whole images, "window_network" as one of windows.

    Raises UserError, naming every difference, for a checkpoint of another network or input range, or without the kind
    of weights asked for; nothing is changed then.
    """
    path, option = Path(path), _OPTION[part]
    content = read_start(path)
    trained = dict(content.get("hyper_parameters") or {})
    published = PUBLISHED_KEY in content
    if published:
        given = published_encoder(network, content[PUBLISHED_KEY], path, option)
    else:
        given = _network_weights(content, path, weights, option)
        _check_views(trained, path, option)
        _check_options(trained, options, path, part)
    encoder = encoder_names(network) if published or learned_encoder(trained) else None
    if encoder is not None:
        given = {name: value for name, value in given.items() if name in encoder}
    try:
        source = without_branches(given, trained, network, ddpm_start, f"{option}: {path}")
    except (RuntimeError, KeyError, IndexError) as error:
        raise UserError(
            f"{option}: {path} holds another network than the config's: its steps and condition cannot be read "
            f"({type(error).__name__}: {one_line(error)})"
        ) from error
    head, stem, condition = (getattr(network, name, None) for name in ("head", "stem", "condition_layer"))
    names = (content.get(FACTS_KEY) or {}).get("landmark_names", ())
    transfer = Transfer(path, weights, int(content.get("global_step", 0)), landmark_names=tuple(names), head=head)
    transfer.published = published
    wanted = network.state_dict()

    def match(name: str, fresh: torch.Tensor) -> torch.Tensor | None:
        """The value for one weight, noted in ``transfer``; None for one that stays fresh or does not fit."""
        found = source.get(name)
        fits = found is not None and found.shape == fresh.shape
        if head and name.startswith(f"{head}.") and not (keep_head and fits):
            transfer.new[name] = "the last layer is replaced"
        elif encoder is not None and name not in encoder:
            transfer.new[name] = "the start is an encoder alone"
        elif condition and name.startswith(f"{condition}."):
            transfer.new[name] = "what this network is conditioned on the checkpoint does not know"
        elif found is None and is_time(name):
            known = any(map(is_time, given))
            transfer.new[name] = "removed" if known else "the checkpoint has no time embedding"
        elif found is not None and not fits and name == f"{stem}.weight" and found.shape[1] > fresh.shape[1]:
            transfer.changed[name] = f"the image's channel of {found.shape[1]}"
            return found[:, : fresh.shape[1]]
        elif fits and found is not given[name]:
            transfer.changed[name] = "with the checkpoint's step and condition as constants"
            return found
        elif fits:
            transfer.taken.append(name)
            return found
        return None

    values = {name: match(name, wanted[name]) for name in wanted}
    misfits = sorted(name for name in source.keys() - wanted.keys() if not is_time(name))
    transfer.left = sorted(given.keys() - wanted.keys())
    misfits += [name for name, value in values.items() if value is None and name not in transfer.new]
    if misfits:
        raise UserError(
            f"{option}: {path} holds another network than the config's: {len(misfits)} weights do not fit, "
            f"such as {_shapes(sorted(misfits)[0], source, wanted)}"
        )
    network.load_state_dict({name: wanted[name] if value is None else value for name, value in values.items()})
    return transfer


def _network_weights(content: Mapping[str, Any], path: Path, weights: Weights, option: str) -> dict[str, torch.Tensor]:
    """The network's weights by their names in it: ``state_dict`` is the average where there is one."""
    check_kind(content, path, weights)
    averaged = "averaging_state" in content
    state = content["current_model_state" if weights == "raw" and averaged else "state_dict"]
    prefix = weights_prefix(content.get("hyper_parameters") or {})
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not found:
        raise UserError(f"{option}: {path} holds no network (no weights named {prefix}...)")
    return found


def check_kind(content: Mapping[str, Any], path: Path, weights: Weights) -> None:
    """Refuse (UserError) a file without the kind of weights asked for."""
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


def _check_views(trained: Mapping[str, Any], path: Path, option: str) -> None:
    """Refuse a DDPM of windows for a network of whole images, and the other way round."""
    windows = bool((trained.get("windows") or {}).get("count")) and is_ddpm(trained)
    if windows and option == _OPTION["network"]:
        raise UserError(f"{option}: {path} has learned windows; it is a start of model.window_pretrained")
    if not windows and option == _OPTION["window_network"]:
        raise UserError(
            f"{option}: {path} has learned whole images, expected a DDPMPretrainModule with model.windows.count above "
            "0; as it is, it may be a start of model.pretrained"
        )


def is_part(content: Mapping[str, Any]) -> bool:
    """Tell whether what was read is a start of one network, and no model of landmarks."""
    trained = content.get("hyper_parameters") or {}
    return PUBLISHED_KEY in content or learned_encoder(trained) or is_ddpm(trained)


def is_ddpm(trained: Mapping[str, Any]) -> bool:
    """Tell whether the options of a checkpoint are those of a DDPMPretrainModule."""
    named = method_name(trained)
    return named == "DDPMPretrainModule" or (not named and "self_conditioning" in trained)  # trained in Python


def _check_options(trained: Mapping[str, Any], options: Mapping[str, Any], path: Path, part: str) -> None:
    """Refuse another network, input range or kind of windows, naming all options that differ."""
    before, now = _shaping(trained.get("network")), _shaping(options.get(part))
    if "_class_path" in trained or before:
        # paper A's method has no such option: it sees grey levels in [0, 1]
        before["image_range"] = plain_options(trained.get("image_range", (0.0, 1.0)))
        now["image_range"] = plain_options(options.get("image_range"))
    if part == "window_network":
        for found, given in ((before, trained), (now, options)):
            windows = plain_options(given.get("windows")) or {}
            found |= {f"windows.{name}": windows.get(name) for name in ("size", "patch", "reach", "wide")}
    lines = [
        f"  model.init_args.{re.sub('^network', part, key)}: {value} in the checkpoint, {now[key]} in the config"
        for key, value in before.items()
        if now.get(key) is not None and value != now[key]
    ]
    if lines:
        raise UserError(
            f"{_OPTION[part]}: {path} does not fit the config:\n" + "\n".join(lines)
            + "\nGive these options the checkpoint's values, or name another checkpoint."
        )  # fmt: skip


def _shaping(network: Any) -> dict[str, Any]:
    """What shapes a network, by dotted names: its class and all its options but those of memory and of training."""
    if not isinstance(network, Mapping):
        return {}
    options = {key: value for key, value in (network.get("init_args") or {}).items() if key not in IN_TRAINING}
    found = {f"network.init_args.{key}": plain_options(value) for key, value in options.items()}
    return {"network.class_path": name_in_files(str(network.get("class_path"))), **found}


def _shapes(name: str, source: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    there, here = (tuple(found[name].shape) if name in found else "absent" for found in (source, wanted))
    return f"{name}, {there} in the checkpoint and {here} here"

"""The options of a method as versions before 2026-12 named them, one flat list, and where each is now.

Model files of format 1, checkpoints and the configs of run folders have them; they are read for good. What a user
writes under an old name is refused with the new one (cli/parser_errors.py, studies/fewshot/plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from landmark_diffusion.core.groups import dotted
from landmark_diffusion.core.registry import is_ours
from landmark_diffusion.models.presets import PAPER_A, PAPER_B, WINDOWS

_UNET = (
    "encoder_channels", "decoder_channels", "blocks_per_level", "attention_factors", "attention_heads",
    "attention_head_channels", "linear_attention_factors", "middle", "dropout", "final_activation", "output_activation",
    "gradient_checkpointing", "channels_last",
)  # fmt: skip
_OPTIMISATION = (
    "learning_rate", "weight_decay", "adam_betas", "lr_schedule", "warmup_steps", "plateau_factor", "plateau_patience",
    "early_stopping_patience", "ema_decay",
)  # fmt: skip
_NETWORK = {name: (f"network.init_args.{name}",) for name in _UNET}
_ALL = {name: (f"optimisation.{name}",) for name in _OPTIMISATION}
_FINDERS = _ALL | {
    "decoder": ("decoding.decoder",), "decoder_radius": ("decoding.radius",), "decoder_top_k": ("decoding.top_k",),
}  # fmt: skip
_NOISE = {
    "schedule": ("noise.schedule",), "diffusion_steps": ("noise.steps",), "beta_start": ("noise.beta_start",),
    "beta_end": ("noise.beta_end",), "zero_terminal_snr": ("noise.zero_terminal_snr",),
}  # fmt: skip
_STEPS = {"sampling_steps": ("sampling.steps",)}
_CHAIN = _STEPS | {"num_samples": ("sampling.samples",)}


def _same(group: str, *names: str) -> dict[str, tuple[str, ...]]:
    return {name: (f"{group}.{name}",) for name in names}


MOVED: dict[str, dict[str, tuple[str, ...]]] = {
    "PositionDiffusionModule": {
        **_FINDERS, **_CHAIN, **_NETWORK,
        **{name: (f"network.init_args.{name}", f"window_network.init_args.{name}")
           for name in ("dropout", "gradient_checkpointing", "channels_last")},
        "window_encoder_channels": ("window_network.init_args.encoder_channels",),
        "window_decoder_channels": ("window_network.init_args.decoder_channels",),
        "window_blocks": ("window_network.init_args.blocks_per_level",),
        "window_size": ("windows.size",), "window_patch": ("windows.patch",), "window_reach": ("windows.reach",),
        "wide_window": ("windows.wide",),
        "diffusion_steps": ("noise.steps",),
        **_same("noise", "sigma_min", "sigma_max", "draws"),
        **_same("sampling", "validation_steps", "start_sigma", "end_sigma", "start_noise", "eta", "prior_weight",
                "aggregate"),
    },
    "DiffusionHeatmapModule": {
        **_FINDERS, **_CHAIN, **_NETWORK, **_NOISE,
        "x0_target": ("target.x0",), "nll_target": ("target.nll",),
        **_same("target", "x0_sigma", "nll_sigma", "nll_weight", "mse_weight", "channel_dropout"),
        **_same("sampling", "validation_steps", "sampler", "eta", "x0_from", "blur_sigma_max", "blur_sigma_min",
                "blur_kernel", "renormalise", "aggregate"),
    },
    "HeatmapFinetuneModule": {
        **_FINDERS, **_NETWORK,
        "target": ("target.kind",), "target_sigma": ("target.sigma",), "loss": ("target.loss",),
    },
    "DDPMPretrainModule": {
        **_ALL, **_NETWORK, **_NOISE, **_STEPS,
        "sampler": ("sampling.sampler",), "sample_every": ("sampling.every",), "sample_count": ("sampling.count",),
        "statistics_count": ("sampling.statistics_count",),
    },
}  # fmt: skip
"""Class -> old option -> where it is now (of both networks where there are two)."""

DOTTED = "model.init_args."

NETWORKS_BEFORE: dict[str, dict[str, Any]] = {
    "PositionDiffusionModule": {"network": PAPER_A, "window_network": WINDOWS},
    "DiffusionHeatmapModule": {"network": PAPER_A},
    "HeatmapFinetuneModule": {"network": PAPER_B},
    "DDPMPretrainModule": {"network": PAPER_B},
}
"""What an old option that is not said was."""


def with_new_names(class_path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Give a method's options under today's names; options that have them already are left as they are.

    ``class_path`` is the method's, dotted or short; those of a class that is not this package's stay as well.
    """
    name = _ours(class_path)
    moved = MOVED.get(name, {})
    old = {name: value for name, value in options.items() if name in moved and not isinstance(value, Mapping)}
    if not old:
        return dict(options)
    found: dict[str, Any] = {name: deepcopy(value) for name, value in options.items() if name not in old}
    for network, spec in NETWORKS_BEFORE[name].items():
        given = found.get(network)
        found[network] = given or {"class_path": "UNet", "init_args": dict(spec["init_args"])}
    said = dotted(options)
    for name, value in old.items():
        for place in moved[name]:
            if place not in said:  # whoever mixes the names means the newer one
                _put(found, place.split("."), value)
    return found


def config_with_new_names(content: Any) -> Any:
    """Give a config of ``ldx fit`` with the options of its section ``model`` under today's names."""
    section = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(section, Mapping) or not isinstance(section.get("init_args"), Mapping):
        return content
    options = with_new_names(str(section.get("class_path", "")), section["init_args"])
    return {**content, "model": {**section, "init_args": options}}


def dotted_with_new_names(class_path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Give dotted options of ``ldx fit`` with those of the model under today's names."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        places = new_places(class_path, name.removeprefix(DOTTED)) if name.startswith(DOTTED) else ()
        found |= dict.fromkeys([f"{DOTTED}{place}" for place in places] or [name], value)
        for place in places:
            network, is_network, _ = place.partition(".init_args.")
            if is_network:
                found[f"{DOTTED}{network}.class_path"] = "UNet"
    return found


def new_places(class_path: str, option: str) -> tuple[str, ...]:
    """Tell where an old option of a class is now; empty for one that did not move."""
    return MOVED.get(_ours(class_path), {}).get(option, ())


def moved_to(option: str, class_path: str = "") -> str | None:
    """Say where an option that moved is now; None for one that did not.

    ``option`` is its name in ``model.init_args``; ``class_path`` the method's, where it is known.
    """
    name = class_path.rpartition(".")[2]
    known = [name] if name in MOVED else list(MOVED)
    places = {place: None for each in known for place in new_places(each, option)}
    if not places:
        return None
    new = " and ".join(f"model.{place.replace('.init_args.', '.')}" for place in places)
    return f"model.{option} is now {new} (in a config: model.init_args.{' and model.init_args.'.join(places)})"


def _ours(class_path: str) -> str:
    """The short name of a class of this package; empty for another's."""
    return class_path.rpartition(".")[2] if "." not in class_path or is_ours(class_path) else ""


def _put(options: dict[str, Any], place: list[str], value: Any) -> None:
    *groups, last = place
    for group in groups:
        options = options.setdefault(group, {})
    options[last] = value

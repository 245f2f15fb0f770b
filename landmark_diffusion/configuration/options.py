"""Options of ``ldx fit`` as one flat mapping from dotted name to value, out of configs and the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.config_checks import load_yaml
from landmark_diffusion.core.errors import UserError

Options = dict[str, Any]

RESERVED = ("run_folder", "seed_everything", "data.train_images", "ckpt_path", "overwrite", "config", "print_config")
"""What each cell is given by ``ldx fewshot`` itself."""
PER_MACHINE = ("data.root", "data.cache_folder", "data.num_workers", "trainer.accelerator", "threads", "wandb")
"""Where a cell is run, not what it is: these may differ between the processes that share a grid."""
_MODEL, _INIT = "model.", "model.init_args."
_OF_NETWORK = re.compile(r"^(model\.init_args\.(?:\w+_)?network\.)(?!init_args\.|class_path$|help$)")


def full_name(option: str) -> str:
    """Write an option in full: model.pretrained is model.init_args.pretrained, data.init_args.root is data.root.

    model.network.dropout is model.init_args.network.init_args.dropout.
    """
    if option.startswith("data.init_args."):
        return "data." + option.removeprefix("data.init_args.")
    if option.startswith(_MODEL) and not option.startswith((_INIT, "model.class_path")):
        option = _INIT + option.removeprefix(_MODEL)
    return _OF_NETWORK.sub(r"\1init_args.", option)


def flatten(content: Mapping[str, Any], prefix: str = "", depth: int = -1) -> Options:
    """Turn nested sections into dotted names, down to ``depth`` (init_args not counted); {} stays as a value."""
    flat: Options = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and (depth != 1 or key == "init_args"):
            flat |= flatten(value, f"{name}.", depth if key == "init_args" else depth - 1)
        else:
            flat[full_name(name)] = value
    return flat


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Options:
    """Lay options over others: a name replaces the same name and all names below it."""
    kept = {k: v for k, v in below.items() if not any(k == name or k.startswith(f"{name}.") for name in above)}
    return {**kept, **above}


def config_options(paths: Iterable[Path]) -> Options:
    """Read configs of ``ldx fit``, a later one over an earlier one; raises UserError for what is no yaml."""
    found: Options = {}
    for path in paths:
        # whole options, then their parts: a later config replaces a mapping such as data.dataset_options, as in fit
        found = flatten(over(found, flatten(load_yaml(path), depth=2)))
    return found


def checked(options: Any, where: str) -> Options:
    """Flatten options a user wrote; raises UserError for what is no mapping or is not theirs to set."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise UserError(f"{where}: found {options!r}, expected options of `ldx fit`, such as trainer.max_steps: 600")
    flat = flatten({str(key): value for key, value in options.items()})
    for name in flat:
        if name in RESERVED:
            raise UserError(f"{where}: {name} is decided by `ldx fewshot` for each cell and cannot be set; remove it")
    return flat


def arguments(options: Mapping[str, Any]) -> list[str]:
    """Write options as arguments of ``ldx fit``."""
    return [f"--{name}={_text(value)}" for name, value in options.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def data_section(options: Mapping[str, Any]) -> dict[str, Any]:
    """Gather the options of the dataset: its name, root, and the keywords of its class."""
    name, root = options.get("data.dataset"), options.get("data.root")
    if name is None:
        raise UserError("fewshot.fit: none of its configs names a dataset (data.dataset)")
    prefix = "data.dataset_options."
    keywords = {key.removeprefix(prefix): value for key, value in options.items() if key.startswith(prefix)}
    if options.get("data.split") is not None:
        keywords["split"] = options["data.split"]
    return {"name": name, "root": root, "options": keywords}

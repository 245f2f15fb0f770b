"""Methods and networks of other installed packages by their short names: imported where one is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import Namespace

from landmark_diffusion.cli.arguments import option_values
from landmark_diffusion.configuration.config_files import config_paths
from landmark_diffusion.configuration.options import config_options, full_name
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.methods import METHODS, name_in_files
from landmark_diffusion.models.network import NETWORKS
from landmark_diffusion.models.presets import DEFAULT_NETWORK, is_network

_METHOD = re.compile(r"model(\.class_path|\.help)?$")
_NETWORK = re.compile(r"model\.init_args\.(\w+_)?network(\.class_path|\.help)?$")
_KINDS = ((METHODS, _METHOD), (NETWORKS, _NETWORK))


def import_named_classes(arguments: Sequence[str]) -> None:
    """Import them, since jsonargparse knows short names of loaded classes alone; others are left unimported.

    Raises UserError for one that cannot be imported, or that its package calls other than its class.
    """
    brought = [(registry, option, found) for registry, option in _KINDS if (found := registry.found())]
    said = _said(arguments) if brought else []
    for registry, option, found in brought:
        for name in dict.fromkeys(value for key, value in said if option.match(key)):
            if name in found and (called := registry.load(name).__name__) != name:
                raise UserError(
                    f"{registry.option}: {name} is the entry point of a class {called} ({found[name].value}); name it "
                    "by its path, and let its package call the entry point as the class"
                )


def _said(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """All options of the configs, then those of the command line, by their full names."""
    said = config_options(config_paths(list(arguments)))
    given = ((full_name(name[2:]), value) for name, value in option_values(arguments))
    return [*((key, str(value)) for key, value in said.items()), *given]


def drop_defaults_of_other_networks(model: Any, sources: Sequence[Mapping[str, Any]]) -> None:
    """Leave a network that is not of the default's class what was written for it, in the parsed section ``model``.

    jsonargparse hands the default network's values of options with the same name on to another class. ``sources`` are
    dotted options, a later source over an earlier one.
    """
    for name, network in vars(model.get("init_args", Namespace())).items():
        if not is_network(name) or network is None:
            continue
        place = f"model.init_args.{name}"
        named = [number for number, said in enumerate(sources) if {place, f"{place}.class_path"} & said.keys()]
        if not named or name_in_files(network.class_path) == DEFAULT_NETWORK:
            continue
        written = {key for said in sources[named[-1] :] for key in said}
        for option in list(vars(network.get("init_args", Namespace()))):
            full = f"{place}.init_args.{option}"
            if not any(key == full or key.startswith(f"{full}.") for key in written):
                delattr(network.init_args, option)

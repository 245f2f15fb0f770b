"""Options of a method as the command line has them, with dots, for tests that change a few of many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landmark_diffusion.models.presets import is_network


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give {"sampling.steps": 3, "network.middle": ..., "diffusion": ...} as a method and a file have them.

    A network whose options are given is a UNet.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        group, is_grouped, option = name.partition(".")
        if not is_grouped:
            found[name] = value
        elif is_network(group):
            network = found.setdefault(group, {"class_path": "UNet", "init_args": {}})
            network["init_args"][option] = value
        else:
            found.setdefault(group, {})[option] = value
    return found

"""The config.yaml of a run that an earlier version wrote, with its options under today's names."""

from __future__ import annotations

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from landmark_diffusion.configuration.config_checks import OF_A_RUN
from landmark_diffusion.modelfile.moved_options import config_with_new_names

_load = get_loader("yaml")


def read_old_run_configs() -> None:
    """Let jsonargparse read the config.yaml of a run that an earlier version wrote."""
    set_loader("yaml", _load_with_new_names, exceptions=(yaml.YAMLError,))


def _load_with_new_names(text: str) -> Any:
    content = _load(text)
    return config_with_new_names(content) if text.startswith(OF_A_RUN) else content

"""Options of a method under the names that they had before they were in groups: of a run read, of a user refused."""

from __future__ import annotations

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from landmark_diffusion.configuration.config_checks import OF_A_RUN
from landmark_diffusion.modelfile.moved_options import MOVED, config_with_new_names, new_places

_load = get_loader("yaml")


def read_old_run_configs() -> None:
    """Let jsonargparse read the config.yaml of a run that an earlier version wrote."""
    set_loader("yaml", _load_with_new_names, exceptions=(yaml.YAMLError,))


def _load_with_new_names(text: str) -> Any:
    content = _load(text)
    return config_with_new_names(content) if text.startswith(OF_A_RUN) else content


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

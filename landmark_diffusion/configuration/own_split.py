"""Options that a config says for its own dataset, used with another one: left out with a word, not refused by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from landmark_diffusion.configuration.config_files import config_paths, installed_configs
from landmark_diffusion.configuration.options import Options, config_options, flatten, full_name, over

DATASET, SPLIT, OPTIONS = "data.dataset", "data.split", "data.dataset_options."


def foreign_options(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Find a split, and options of a dataset, that were said for another dataset than the last one named.

    ``sources`` are dotted options, a later source over an earlier one. Options of the dataset that the last one knows
    too are kept. Returns option -> the dataset that it was said for.
    """
    dataset, owners = "", dict[str, str]()
    for source in sources:
        dataset = source.get(DATASET) or dataset
        owners |= {name: dataset for name, value in source.items() if _is_the_datasets(name) and value is not None}
    from landmark_diffusion.data.sources import dataset_options

    known = dataset_options(dataset)
    return {
        name: owner
        for name, owner in owners.items()
        if owner and owner != dataset and (name == SPLIT or (known and name.removeprefix(OPTIONS) not in known))
    }


def foreign_words(foreign: Mapping[str, str], dataset: str, configs: Sequence[Path] = ()) -> list[str]:
    """Say what is left out, a line each, and the config that is made for the dataset where there is one."""
    lines = [
        f"{name} of the config is for {owner} and left out: {_instead(name, dataset)}"
        for name, owner in foreign.items()
    ]
    fitting = [found for path in configs for found in [_config_for(path.name, foreign, dataset)] if found]
    return [*lines, *(f"{name} is made for the dataset {dataset}" for name in fitting[:1] if lines)]


def sources_of(arguments: Sequence[str]) -> list[Options]:
    """Read what the configs and the command line of ``ldx fit`` say of data and model, as dotted options."""
    given: Options = {}
    for argument, following in pairwise([*arguments, ""]):
        option, equals, value = argument.partition("=")
        if option.startswith(("--data.", "--model.")):
            given |= flatten({full_name(option[2:]): _value(value if equals else following)})
    return [*(config_options([path]) for path in config_paths(list(arguments))), given]


def own_options(paths: Iterable[Path], above: Mapping[str, Any]) -> tuple[Options, list[str]]:
    """Lay options over those of configs, without what the configs say for another dataset than the last one named.

    Returns the options, and lines that say what was left out.
    """
    files = list(paths)
    found = over(config_options(files), above)
    foreign = foreign_options([*(config_options([path]) for path in files), above])
    words = foreign_words(foreign, str(found.get("data.dataset")), files)
    return {key: value for key, value in found.items() if key not in foreign}, words


def leave_out(data: Any, foreign: Mapping[str, str]) -> None:
    """Take the options out of a parsed section ``data``, which is changed."""
    if SPLIT in foreign:
        data.split = None
    names = [name.removeprefix(OPTIONS) for name in foreign if name != SPLIT]
    if names:
        data.dataset_options = {key: value for key, value in (data.dataset_options or {}).items() if key not in names}


def _is_the_datasets(name: str) -> bool:
    return name == SPLIT or name.startswith(OPTIONS)


def _instead(name: str, dataset: str) -> str:
    if name == SPLIT:
        return f"{dataset} takes its own default split (--data.split chooses one)"
    return f"{dataset} has no such option"


def _config_for(name: str, foreign: Mapping[str, str], dataset: str) -> str | None:
    """Name the shipped config of this dataset that does what ``name`` does for another one."""
    from landmark_diffusion.data.sources import said_of

    known = {path.name for path in installed_configs()}
    for owner in foreign.values():
        before, after = (said_of(each).config_prefix or each for each in (owner, dataset))
        if name.startswith(f"{before}_") and (found := after + name.removeprefix(before)) in known:
            return found
    return None


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, dict) else text

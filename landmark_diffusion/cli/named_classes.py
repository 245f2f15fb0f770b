"""Methods and networks of other installed packages by their short names: imported where one is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from landmark_diffusion.configuration.config_files import config_paths
from landmark_diffusion.configuration.options import config_options, full_name
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.methods import METHODS
from landmark_diffusion.models.network import NETWORKS

_METHOD = re.compile(r"model(\.class_path|\.help)?$")
_NETWORK = re.compile(r"model\.init_args\.(\w+_)?network(\.class_path|\.help)?$")


def import_named_classes(arguments: Sequence[str]) -> None:
    """Import them, since jsonargparse knows short names of loaded classes alone; others are left unimported.

    Raises UserError for one that cannot be imported, or that its package calls other than its class.
    """
    for registry, option in ((METHODS, _METHOD), (NETWORKS, _NETWORK)):
        found = registry.found()
        for name in dict.fromkeys(_named(arguments, option)) if found else ():
            if name in found and (called := registry.load(name).__name__) != name:
                raise UserError(
                    f"{registry.option}: {name} is the entry point of a class {called} ({found[name].value}); name it "
                    "by its path, and let its package call the entry point as the class"
                )


def _named(arguments: Sequence[str], option: re.Pattern[str]) -> Iterator[str]:
    said = config_options(config_paths(list(arguments)))
    yield from (str(value) for key, value in said.items() if option.match(key))
    for argument, following in pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and option.match(full_name(name[2:])):
            yield value if equals else following

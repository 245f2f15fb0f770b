"""Methods of other installed packages by their short names: imported where a command line or a config names one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from landmark_diffusion.cli.arguments import option_values
from landmark_diffusion.configuration.config_files import config_paths
from landmark_diffusion.configuration.options import config_options
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.methods import METHODS

_OPTIONS = ("--model", "--model.class_path", "--model.help")


def import_named_methods(arguments: Sequence[str]) -> None:
    """Import them, since jsonargparse knows short names of loaded classes alone; others are left unimported.

    Raises UserError for one that cannot be imported, or that its package calls other than its class.
    """
    found = METHODS.found()
    for name in dict.fromkeys(_named(arguments)) if found else ():
        if name in found and (called := METHODS.load(name).__name__) != name:
            raise UserError(
                f"model.class_path: {name} is the entry point of a class {called} ({found[name].value}); name it by "
                "its path, and let its package call the entry point as the class"
            )


def _named(arguments: Sequence[str]) -> Iterator[str]:
    said = config_options(config_paths(list(arguments)))
    yield from (str(said[key]) for key in ("model", "model.class_path") if key in said)
    yield from (value for option, value in option_values(arguments) if option in _OPTIONS)

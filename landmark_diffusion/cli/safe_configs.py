"""What a config may do: name classes of this package and of Lightning, and nothing that runs other code.

Naming a class imports its module, which runs it, so a config from a stranger would be a program. jsonargparse checks
each path that a value names (in a config, a config within it, or on the command line) against one list before it
imports anything; here that list is set. ``ldx VERB --allow_classes MODULE`` adds to it. docs/security.md explains it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import ALLOW_OPTION, ALLOW_VARIABLE, allowed_modules
from landmark_diffusion.core.texts import words

ALLOWED = ("landmark_diffusion", "lightning.pytorch", "lightning.fabric", "torchmetrics")
"""Modules whose classes a config may name."""

DENIED = (
    *(f"lightning.pytorch.loggers.{name}" for name in ("wandb", "mlflow", "comet", "neptune", "litlogger")),
    "lightning.pytorch.serve",
)
"""Parts of them that speak to other machines: `--wandb online` is the one way there."""

_REFUSED = re.compile(r"Importing '([^']+)' is not allowed")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_added: set[str] = set()


@contextmanager
def allowed_classes(arguments: list[str]) -> Iterator[list[str]]:
    """Yield the arguments without ``--allow_classes``; what it names is allowed while the block runs.

    Raises UserError for a value that is no list of modules.
    """
    rest, names = _split(arguments)
    before = os.environ.get(ALLOW_VARIABLE)
    if names:
        os.environ[ALLOW_VARIABLE] = ",".join([*allowed_modules(), *names])
    try:
        yield rest
    finally:
        if before is None:
            os.environ.pop(ALLOW_VARIABLE, None)
        else:
            os.environ[ALLOW_VARIABLE] = before


def restrict_classes(own: Iterable[str] = ()) -> None:
    """Let jsonargparse import from ``ALLOWED``, ``--allow_classes`` and ``own`` alone, and read no config from a URL.

    ``own`` are modules of the program that calls. Call it after importing ``lightning.pytorch.cli``, which turns
    reading from other machines on.
    """
    from jsonargparse import set_parsing_settings

    asked = {*own, *allowed_modules()}
    _added.update(asked)  # jsonargparse keeps what it was told, so that each earlier name is settled anew
    covered = {name for name in _added if any(f"{name}.".startswith(f"{each}.") for each in asked)}
    allowed = [name for name in (*ALLOWED, *covered) if name not in DENIED or name in asked]
    denied = [name for name in DENIED if name not in asked]
    try:
        set_parsing_settings(
            config_read_mode_urls_enabled=False,
            config_read_mode_fsspec_enabled=False,
            validate_subclass_spec_in_any=True,  # an option of any kind, such as those of a data set, is never a class
            instantiate_subclass_spec_in_any=False,
            import_path_denylist=["*", *denied, *(_added - covered)],
            import_path_allowlist=allowed,
        )
    except ValueError as error:
        raise UserError(f"{ALLOW_OPTION}: {error}") from error


def refused_class(message: str, configs: Sequence[Path]) -> str | None:
    """Turn jsonargparse's words for a class that is not allowed into ours, with the place in ``configs``; else None."""
    found = _REFUSED.search(message)
    if found is None:
        return None
    name = found[1]
    refused = f"{_place(name, configs)}{name}: refused, and nothing of it was run."
    if name.startswith(DENIED):
        return f"{refused} It speaks to other machines: `--wandb online` is the one way to send a run there"
    why = f"A config may name classes of {', '.join(ALLOWED)}, since naming a class runs the module that it is in."
    if name.partition(".")[0] in (*sys.stdlib_module_names, "posix", "jsonargparse"):
        return f"{refused} {why}"
    return f"{refused} {why} If you know and trust that module, add {ALLOW_OPTION} {name.rpartition('.')[0]}"


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    rest: list[str] = []
    names: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option != ALLOW_OPTION:
            rest.append(argument)
            continue
        value = value if equals else next(waiting, "")
        found = words(value)
        if not found or not all(_NAME.fullmatch(name) for name in found):
            raise UserError(
                f"{ALLOW_OPTION}: found {value!r}, expected modules such as my_lab.models, with commas between"
            )
        names += found
    return rest, names


def _place(name: str, configs: Sequence[Path]) -> str:
    for path in configs:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if name in line:
                return f"{path}:{number}: "
    return ""

"""What stands twice: an option on the command line, a key in a yaml file. Parsers keep the last without a word."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError

ADDING = ("--config", "-c", "--set")
"""Options that add up."""


def tell_repeated(arguments: Sequence[str]) -> None:
    """Warn of each option that is given twice with different values: the last one is taken."""
    for line in repeated_options(arguments):
        warn_user(line)


def repeated_options(arguments: Sequence[str]) -> list[str]:
    """Return a line for each option given twice with different values.

    ``--a.init_args.b`` and ``--a.b`` are one option. ``--x+ A`` adds to a list, so that what is said of its last
    element (``--x.y``) may come again. What follows ``--`` is no option.
    """
    seen: dict[str, str] = {}
    lines = []
    for option, value in _pairs(arguments):
        name = option.replace(".init_args.", ".")
        if name.endswith("+"):
            inside = name.rstrip("+") + "."
            seen = {each: said for each, said in seen.items() if not each.startswith(inside)}
        elif name not in ADDING:
            if seen.get(name, value) != value:
                lines.append(
                    f"{name} is given twice: {value or 'the second'} is taken, not {seen[name] or 'the first'}"
                )
            seen[name] = value
    return lines


def check_repeated_keys(path: Path, node: Any) -> None:
    """Refuse a key that stands twice in a mapping of a yaml file, given as the composed ``node``."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            check_repeated_keys(path, value)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode):
            if key.value in lines:
                first = lines[key.value]
                raise UserError(f"{path}:{line}: found {key.value} a second time (first in line {first}); keep one")
            lines[key.value] = line
        check_repeated_keys(path, value)


def warn_user(line: str) -> None:
    """Print a warning of one line on stderr, from the first process alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"warning: {line}", file=sys.stderr, flush=True)


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if not argument.startswith("-") or argument.lstrip("-")[:1].isdigit():
            continue
        option, equals, value = argument.partition("=")
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        pairs.append((option, value if equals or following.startswith("--") else following))
    return pairs

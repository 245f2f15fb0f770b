"""The parser of the verbs that are not Lightning's, and what is common to reading command lines.

What is wrong is one line, with the nearest known option.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean

PASSED_ON = ("data", "model", "trainer")
"""Sections of ``ldx fit`` whose options a verb passes on to the trainings that it starts."""


class VerbParser(argparse.ArgumentParser):
    """An argument parser of one verb. Options are never abbreviated; ``epilog`` is printed as it is."""

    def __init__(self, verb: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"ldx {verb}",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UserError, where argparse would print its whole usage and end the process."""
        raise UserError(f"{self.prog}: {message}; `{self.prog} --help` lists all options")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read all arguments; raises UserError for one that is not known, before it misses any other."""
        self.refuse_unknown([each for each in arguments if each.startswith("--") and each != "--"])
        found, unknown = self.parse_known_args(list(arguments))
        self.refuse_unknown(unknown)
        return found

    def parse_passing_on(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[tuple[str, Any]]]:
        """Read the verb's own arguments, and name and value of the options of ``PASSED_ON`` (``--data.root X``).

        Raises UserError for anything else.
        """
        found, rest = self.parse_known_args(list(arguments))
        pairs, waiting = [], iter(pairwise([*rest, "--"]))
        for argument, following in waiting:
            option, equals, value = argument.partition("=")
            section, dot, _ = option.removeprefix("--").partition(".")
            if not (option.startswith("--") and dot and section in PASSED_ON):
                self.refuse_unknown([argument])
            if not equals:
                if following.startswith("--"):
                    raise UserError(f"{self.prog}: {option} needs a value")
                value, _ = next(waiting)
            pairs.append((option[2:], yaml_value(value)))
        return found, pairs

    def refuse_unknown(self, arguments: Sequence[str]) -> None:
        """Raise UserError for the first argument that is no option of this parser."""
        known = [option for action in self._actions for option in action.option_strings]
        for argument in arguments:
            name = argument.partition("=")[0]
            if name not in known:
                kind = "option" if name.startswith("-") else "argument"
                hint = did_you_mean(name, known)
                raise UserError(f"{self.prog}: unknown {kind} {argument!r}.{hint} `{self.prog} --help` lists all.")


def option_values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a command line, each with its value, given as ``--option=value`` or in two words."""
    for argument, following in pairwise([*arguments, ""]):
        option, equals, value = argument.partition("=")
        if option.startswith("-"):
            yield option, value if equals else following


def positions(arguments: Sequence[str]) -> list[int]:
    """Places of the arguments that are neither options nor can be an option's value."""
    pairs = enumerate(pairwise(["", *arguments]))
    return [
        place for place, (before, argument) in pairs
        if not argument.startswith("-") and (not before.startswith("-") or "=" in before)
    ]  # fmt: skip


def yaml_value(text: str) -> Any:
    """Read a value as yaml does, unless that would change its text (001 names an image, not the number 1)."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, (list, dict)) or json.dumps(value) == text else text


def spacing_option(text: str) -> tuple[float, ...]:
    """Read mm per pixel, "0.1" or "0.1,0.12" for x and y; raises ArgumentTypeError on anything else."""
    from landmark_diffusion.detection.spacing import read_spacing

    try:
        return read_spacing(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("spacing: ")) from error

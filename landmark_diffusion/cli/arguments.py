"""The parser of the verbs that are not Lightning's: what is wrong is one line, with the nearest known option."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean


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
        self._refuse_unknown([each for each in arguments if each.startswith("--") and each != "--"])
        found, unknown = self.parse_known_args(list(arguments))
        self._refuse_unknown(unknown)
        return found

    def _refuse_unknown(self, options: Sequence[str]) -> None:
        known = [option for action in self._actions for option in action.option_strings]
        for option in options:
            name = option.partition("=")[0]
            if name not in known:
                hint = did_you_mean(name, known)
                raise UserError(f"{self.prog}: unknown option {option!r}.{hint} `{self.prog} --help` lists all.")


def spacing_option(text: str) -> tuple[float, ...]:
    """Read mm per pixel, "0.1" or "0.1,0.12" for x and y; raises ArgumentTypeError on anything else."""
    from landmark_diffusion.detection.spacing import check_spacing

    try:
        return check_spacing([float(part) for part in text.split(",")])
    except (ValueError, UserError) as error:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected mm per pixel above 0: 0.1, or 0.1,0.12 for x and y"
        ) from error


def words(text: str) -> list[str]:
    """Split a list with commas; empty words are left out."""
    return [word.strip() for word in text.split(",") if word.strip()]

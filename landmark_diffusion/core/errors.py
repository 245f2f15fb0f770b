"""Errors that are written for the person at the keyboard: one clear message, no traceback."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path


class UserError(Exception):
    """Something the user can mend: the message says what was found, what was expected and what to do.

    The console script prints it as one message and ends with exit status 1.
    """


class DataError(UserError):
    """A fault in a file of the user's data; its message begins with ``file:line:`` or ``file:``."""

    def __init__(self, message: str, path: str | Path | None = None, line: int | None = None) -> None:
        self.path, self.line = path, line
        where = "" if path is None else f"{path}:" + ("" if line is None else f"{line}:") + " "
        super().__init__(where + message)


def unknown_choice(option: str, found: object, known: Iterable[str]) -> UserError:
    """Give the UserError, to be raised, for a value that is not one of the ``known``."""
    return UserError(f"{option}: found {found!r:.60}, expected one of {', '.join(known)}")


def check_choice(option: str, found: object, known: Collection[str]) -> None:
    """Raise UserError naming ``option`` unless ``found`` is one of the ``known``."""
    if found not in known:
        raise unknown_choice(option, found, known)


def print_error(error: UserError) -> None:
    """Print a UserError as one message on stderr, without a traceback."""
    from rich.console import Console
    from rich.text import Text

    message = Text.assemble(("error: ", "bold red"), _without_worker_traceback(str(error)))
    Console(stderr=True, highlight=False).print(message, soft_wrap=True)


def _without_worker_traceback(message: str) -> str:
    """Take the message out of what a DataLoader worker reports, where it lies behind a whole traceback."""
    if not (message.startswith("Caught ") and "Original Traceback" in message):
        return message
    found = re.search(r"^landmark_diffusion\.[\w.]+: (.*)", message, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else message

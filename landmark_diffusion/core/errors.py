"""Errors that are written for the person at the keyboard: one clear message, no traceback."""

from __future__ import annotations

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

"""A bar for work that is no Trainer's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Counts one as done; its text, if any, stands before the bar."""

    def __call__(self, text: str = "") -> None:
        """Count one."""


@contextmanager
def progress(total: int, what: str) -> Iterator[Advance]:
    """Show a bar on a terminal; in a file or pipe, where it would leave rubbish, nothing.

    Gives a function that counts one of ``total`` as done; ``what`` stands before the bar where it says nothing else.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(text: str = "") -> None:
            bar.update(task, advance=1, description=text[:40] or what)

        yield advance

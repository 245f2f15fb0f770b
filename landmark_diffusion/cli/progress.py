"""A bar for work that is no Trainer's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

SECONDS_BETWEEN_LINES = 15.0


class TimedLines:
    """Progress as plain lines on stdout, one every ``interval`` seconds at most, for a file or pipe.

    Args:
        total: units of work.
        units: a word for them.
        interval: seconds between two lines.
    """

    def __init__(self, total: int, units: str, interval: float = SECONDS_BETWEEN_LINES) -> None:
        from landmark_diffusion.cli.pace import Pace

        self._total, self._units, self._interval = total, units, interval
        self._done = self._counted = 0
        self._pace, self._last = Pace(), time.monotonic()

    def __call__(self, text: str, done: int = 0, there: bool = False) -> None:
        """Count units as done, and say so when it is time: ``checking: 3 of 20 images, 40 s left``.

        ``there`` says that they were done before, which tells nothing of the pace.
        """
        from landmark_diffusion.cli.pace import Pace, spell

        self._done += done
        if there:
            self._pace = Pace(self._done) if done else self._pace
            return
        self._counted += done > 0
        rate = self._pace.rate(self._done)
        if time.monotonic() - self._last < self._interval:
            return
        self._last = time.monotonic()
        left = f", {spell((self._total - self._done) / rate)} left" if rate and self._counted > 1 else ""
        print(f"{text}: {self._done} of {self._total} {self._units}{left}", flush=True)


class Advance(Protocol):
    """Counts one as done; its text, if any, stands before the bar."""

    def __call__(self, text: str = "") -> None:
        """Count one."""


@contextmanager
def progress(total: int, what: str, lines: str = "") -> Iterator[Advance]:
    """Show a bar on a terminal; in a file or pipe, where it would leave rubbish, nothing.

    Gives a function that counts one of ``total`` as done; ``what`` stands before the bar where it says nothing else.
    With ``lines``, a word for what is counted, a file or pipe gets a plain line now and then.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        told = TimedLines(total, lines) if lines and not console.is_terminal else None

        def advance(text: str = "") -> None:
            bar.update(task, advance=1, description=text[:40] or what)
            if told is not None:
                told(text or what, 1)

        yield advance


@contextmanager
def still(text: str, interval: float = SECONDS_BETWEEN_LINES) -> Iterator[None]:
    """Say on stdout every ``interval`` seconds that work goes on which cannot say how far it is."""
    from landmark_diffusion.cli.pace import spell

    begun, done = time.monotonic(), threading.Event()

    def say() -> None:
        while not done.wait(interval):
            print(f"{text}: {spell(time.monotonic() - begun)} so far", flush=True)

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

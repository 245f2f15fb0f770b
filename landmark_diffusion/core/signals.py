"""Signals: that of a terminal that closes, Ctrl-C pressed twice, and handlers for the time of a block."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

AT_ONCE = 1.0
"""Seconds within which a further Ctrl-C is the same one: keys bounce, and shells pass one on twice."""


def hang_up() -> list[int]:
    """Return SIGHUP, by which a closing terminal ends its programs; none where it is ignored (nohup) or not known."""
    number = getattr(signal, "SIGHUP", None)
    return [] if number is None or signal.getsignal(number) == signal.SIG_IGN else [number]


@contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Let ``handler`` take these signals while the block runs; in the main thread alone, as Python wants it."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers} if main else {}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def one_interrupt(ends: bool = False) -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block, and those that follow at once (``AT_ONCE``) nothing more.

    A second one would meet the code that ends for the first, and leave neither its message nor its status. ``ends``
    tells that the process ends behind the block: after a Ctrl-C later ones are ignored there, while Python shuts down.
    Nothing is changed where Ctrl-C is ignored, or somebody else's already.
    """
    pressed: list[float] = []

    def interrupt(number: int, frame: Any) -> None:
        now = time.monotonic()
        if not pressed or now - pressed[-1] > AT_ONCE:
            pressed.append(now)
            raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        with handling([signal.SIGINT] if usual else [], interrupt):
            yield
    finally:
        if ends and pressed:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

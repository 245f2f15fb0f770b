"""Signals: that of a terminal that closes, and handlers for the time of a block."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


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

"""The signal of a terminal that closes."""

from __future__ import annotations

import signal


def hang_up() -> list[int]:
    """Return SIGHUP, by which a closing terminal ends its programs; none where it is ignored (nohup) or not known."""
    number = getattr(signal, "SIGHUP", None)
    return [] if number is None or signal.getsignal(number) == signal.SIG_IGN else [number]

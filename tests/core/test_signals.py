"""Signals are handled for the time of a block, in the main thread alone."""

from __future__ import annotations

import signal
import threading

from landmark_diffusion.core.signals import handling


def test_handlers_are_put_back() -> None:
    got: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    with handling([signal.SIGTERM], lambda number, frame: got.append(number)):
        signal.raise_signal(signal.SIGTERM)
    assert got == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) is before


def test_another_thread_runs_the_block_without_them() -> None:
    found = []

    def run() -> None:
        with handling([signal.SIGTERM], lambda number, frame: None):
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]

"""Signals are handled for the time of a block, in the main thread alone."""

from __future__ import annotations

import signal
import threading

import pytest

from landmark_diffusion.core import signals
from landmark_diffusion.core.signals import handling, one_interrupt
from tests.training.tiny import default_sigint


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


def test_two_ctrl_c_at_once_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first is being told of, as its message is printed."""
    now = [10.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    told = []
    with default_sigint():
        with one_interrupt():
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                now[0] += 0.3
                signal.raise_signal(signal.SIGINT)
                told.append("interrupted")
            now[0] += 1.0  # somebody who waits for what does not end
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert told and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_behind_an_interrupt_a_process_that_ends_is_left_alone() -> None:
    with default_sigint():
        with pytest.raises(KeyboardInterrupt), one_interrupt(ends=True):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with default_sigint():
        with one_interrupt(ends=True):
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_ctrl_c_that_is_ignored_stays_so() -> None:
    """A background job of a shell script."""
    with default_sigint():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with one_interrupt():
            signal.raise_signal(signal.SIGINT)

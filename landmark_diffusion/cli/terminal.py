"""Standard output and error that never stop the work: a reader that is gone, a full disk, a narrow encoding."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from landmark_diffusion.core.signals import handling, hang_up


class SafeStream:
    """A text stream whose failures are kept in ``failure`` in place of being raised; all else is the stream's own.

    The first failure turns its descriptor to the null device, also for the processes that are started later. A
    character that the encoding does not have becomes a question mark.

    Args:
        stream: what is written to.
        on_failure: called once with the error, when the stream cannot be written any more.
    """

    def __init__(self, stream: TextIO, on_failure: Callable[[Exception], None] = lambda error: None) -> None:
        self._stream, self._on_failure = stream, on_failure
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as far as it goes."""
        self._guarded(lambda: self._write(text))
        return len(text)

    def flush(self) -> None:
        """Flush as far as it goes."""
        self._guarded(self._stream.flush)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            self._stream.write(text.encode(error.encoding, "replace").decode(error.encoding))

    def _guarded(self, action: Callable[[], Any]) -> None:
        if self.failure is not None:
            return
        try:
            action()
        except BlockingIOError:  # another program has made the terminal non-blocking, and it is slow
            with suppress(OSError, ValueError):
                os.set_blocking(self._stream.fileno(), True)
        except (OSError, ValueError) as error:  # ValueError: closed within this process
            self.failure = error
            with suppress(OSError, ValueError):
                _point_to_null(self._stream.fileno())
            self._on_failure(error)


class Output:
    """The streams of one call of ``ldx``; ``lost`` says what standard output could not take, a gone reader apart."""

    def __init__(self, stdout: SafeStream, stderr: SafeStream) -> None:
        self.stdout, self.stderr = stdout, stderr

    @property
    def lost(self) -> Exception | None:
        """The error behind which standard output is not whole; None where its reader only did not want more."""
        self.stdout.flush()
        failure = self.stdout.failure
        return None if isinstance(failure, BrokenPipeError) else failure


@contextmanager
def safe_output(tell: bool = False) -> Iterator[Output]:
    """Make sys.stdout and sys.stderr safe while the block runs; ``tell`` says on stderr that output ended early."""
    before = sys.stdout, sys.stderr
    output = _protected(tell)
    try:
        yield output
    finally:
        output.stdout.flush()
        output.stderr.flush()
        sys.stdout, sys.stderr = before


def protect_streams() -> None:
    """Make this process's streams safe for good: for processes that are started without ``ldx``'s own main."""
    if not isinstance(sys.stdout, SafeStream):
        _protected(tell=False)


def _protected(tell: bool) -> Output:
    _open_standard_descriptors()
    stderr = SafeStream(_or_null(sys.stderr))

    def told(error: Exception) -> None:
        if tell:
            why = getattr(error, "strerror", None) or error
            stderr.write(f"ldx: nothing more can be printed ({why}); the work goes on and its files will be whole\n")
            stderr.flush()

    stdout = SafeStream(_or_null(sys.stdout), told)
    sys.stdout, sys.stderr = stdout, stderr
    return Output(stdout, stderr)


@contextmanager
def hang_up_interrupts() -> Iterator[Callable[[], bool]]:
    """Let a terminal that closes (SIGHUP) do what Ctrl-C does; gives a function that says whether it did.

    Under nohup, which ignores the signal, and outside the main thread nothing is changed.
    """
    hung_up: list[int] = []

    def interrupt(received: int, frame: FrameType | None) -> None:
        hung_up.append(received)
        raise KeyboardInterrupt

    with handling([each for each in hang_up() if signal.getsignal(each) == signal.SIG_DFL], interrupt):
        yield lambda: bool(hung_up)


def _or_null(stream: TextIO | None) -> TextIO:
    """Python has None where a descriptor was closed when it started."""
    return open(os.devnull, "w", encoding="utf-8") if stream is None else stream


def _open_standard_descriptors() -> None:
    """Open closed ones to the null device: a results file would get their number, and what is printed by chance."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _point_to_null(number)


def _point_to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(null, True)
        return
    os.dup2(null, number)
    os.close(null)

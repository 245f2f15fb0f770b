"""Start and stop of a server: in the foreground until Ctrl-C, SIGTERM or a closed terminal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from landmark_diffusion.core.signals import AT_ONCE, handling, hang_up
from landmark_diffusion.web.protocol import PatientProtocol

GRACE_SECONDS = 10
"""For requests that are being answered when the server is to stop."""


def serve(app: ASGIApp, listening: socket.socket, ready: Callable[[], object]) -> None:
    """Answer requests at a socket of ``sockets.listen`` until a signal; ``ready`` is called once it answers.

    What is being answered is finished, for at most ``GRACE_SECONDS``; a second signal, more than ``AT_ONCE`` after the
    first, ends it at once. Then raises SystemExit with 128 + the signal's number, as the other verbs end: Ctrl-C too is
    how a server is meant to be ended, and interrupts nothing.
    """
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    server = _Server(config, ready)
    with handling(_signals(), server.handle_exit):
        asyncio.run(server.serve([listening]))
    if server.stopped_by is not None:
        raise SystemExit(128 + server.stopped_by)


def _signals() -> list[int]:
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # by a shell that put the program into the background
    return [*([] if ignored else [signal.SIGINT]), signal.SIGTERM, *hang_up()]


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to ``serve`` and says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready
        self.stopped_by: int | None = None
        self._stopped_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after what is being answered; the second time at once."""
        now = time.monotonic()
        if self.stopped_by is not None:
            self.force_exit = now - self._stopped_at > AT_ONCE
            return
        self.should_exit, self.stopped_by, self._stopped_at = True, sig, now

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

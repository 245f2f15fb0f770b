"""HTTP/1.1 of uvicorn with limits that it lacks: on connections, on the time of a head, on clients that do not read."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0
"""Within which a request's head has to come, counted from its first byte, or from the connection's start."""
READING_SECONDS = 60.0
"""Within which a client has to take an answer's rest once its connection is to be closed."""


class PatientProtocol(H11Protocol):
    """One connection. A client that sends its head byte by byte, or takes no answer, does not keep it for good."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin; a connection beyond ``MOST_CONNECTIONS`` is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether a head is being waited for."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Limit the time in which the rest of an answer is taken."""
        super().on_response_complete()
        self._close_in_time()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used; an answer that is still being taken has its time."""
        super().timeout_keep_alive_handler()
        self._close_in_time()

    def _close_in_time(self) -> None:
        if self.transport.is_closing():
            self.loop.call_later(READING_SECONDS, self.transport.abort)  # nothing where it is closed by then

    def _wait_for_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        self._waiting = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

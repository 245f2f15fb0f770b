"""Limits on what is sent: bytes, counted as they come, and the time that they take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Message, Receive

from landmark_diffusion.web.refusal import Refusal

DRAIN_SECONDS, DRAIN_BYTES = 2.0, 64 * 2**20


@dataclass(frozen=True)
class BodyLimits:
    """Limits on the body of a request.

    Attributes:
        most: bytes, as people are told.
        seconds: for all of it.
        idle: seconds without any byte.
        around: bytes more that are let through, of a form around its file.
    """

    most: int
    seconds: float = 60.0
    idle: float = 10.0
    around: int = 0

    @property
    def all(self) -> int:
        """Bytes of the whole body."""
        return self.most + self.around


class LimitedBody:
    """The ``receive`` of one request, held to limits; raises Refusal (413, 408) where it is beyond them.

    Attributes:
        finished: whether the whole body has come, so that the connection can be used again.
        asked: whether anything was asked for: a client that said ``Expect: 100-continue`` waits until then.
    """

    def __init__(self, receive: Receive, limits: BodyLimits, headers: Mapping[bytes, bytes]) -> None:
        self._receive, self._limits = receive, limits
        self._length = headers.get(b"content-length", b"")
        self._expects = b"expect" in headers
        self._begun: float | None = None
        self._count = 0
        self.asked = False
        self.finished = self._length in (b"", b"0") and b"transfer-encoding" not in headers

    async def __call__(self) -> Message:
        """Receive one message of ASGI."""
        if self.finished:
            return await self._receive()
        if self._length.isdigit() and int(self._length) > self._limits.all:
            raise self._too_large(int(self._length))
        message = await self._in_time()
        self._count += len(message.get("body", b""))
        self.finished = not message.get("more_body", False)
        if self._count > self._limits.all:
            raise self._too_large(None)
        return message

    async def _in_time(self) -> Message:
        self.asked = True
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        left = self._begun + self._limits.seconds - now
        try:
            return await asyncio.wait_for(self._receive(), max(0.0, min(left, self._limits.idle)))
        except TimeoutError:
            slow = f"{self._limits.seconds:g} s, and {self._limits.idle:g} s without a byte"
            raise Refusal(
                408, "slow_body", f"found {self._count} bytes and no end, expected the whole body within {slow}"
            ) from None

    def _too_large(self, length: int | None) -> Refusal:
        found = f"more than {self._limits.most}" if length is None else str(length)
        return Refusal(413, "too_large", f"found a body of {found} bytes, expected at most {self._limits.most}")

    async def drain(self) -> None:
        """Take what is still coming for a moment: a connection closed before would lose its client the answer."""
        if self._expects and not self.asked:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.finished and self._count < self._limits.all + DRAIN_BYTES:
                    message = await self._receive()
                    self._count += len(message.get("body", b""))
                    self.finished = not message.get("more_body", False)
        except TimeoutError:
            pass

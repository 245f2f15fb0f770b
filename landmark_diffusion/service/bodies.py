"""The image in a request's body, bare or as the file of a form; all bodies together are limited too."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.web.refusal import Refusal

FORM = "multipart/form-data"
FORM_OVERHEAD = 64 * 2**10
"""Bytes of a form around its file."""
PIECE = 2**20


class Budget:
    """Bytes that all bodies may take together."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._lock = most, 0, threading.Lock()

    def take(self, count: int) -> bool:
        """Take some; False, and nothing is taken, where so many are not left."""
        with self._lock:
            if self._held + count > self._most:
                return False
            self._held += count
            return True

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._held -= count

    @property
    def held(self) -> int:
        """Bytes that are taken."""
        return self._held


class Body:
    """One request's body, held as long as the ``with`` block of it; ``read`` gives the image."""

    def __init__(self, request: Request, budget: Budget) -> None:
        self._request, self._budget, self._taken = request, budget, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give_back(self._taken)

    async def read(self) -> tuple[bytes | bytearray, str | None]:
        """Receive the image's file, and its name where a form gives one.

        Raises Refusal where all bodies together are too large, UserError for a form without exactly one file.
        """
        content = bytearray()
        async for piece in self._request.stream():
            self._take(len(piece))
            content += piece
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != FORM:
            return content, None
        self._take(2 * len(content))  # a form's file is copied out of it, twice
        return await _file_of_form(self._request, content)

    def _take(self, count: int) -> None:
        if not self._budget.take(count):
            raise Refusal(
                503, "busy", "found many large images at once, which is all that can be held; ask again in 5 s",
                {"retry-after": "5"},
            )  # fmt: skip
        self._taken += count


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # nothing of it goes to disk; the body's own limit holds


_FAULTS = {
    "Too many files": "with more than one file",
    "Too many fields": "with fields",
    "Missing boundary": "without the boundary of its parts in Content-Type",
    'The Content-Disposition header field "name"': "with a part that has no name",
}
"""What Starlette's errors begin with, in the words of this package."""


def _fault(error: Exception) -> str:
    said = str(getattr(error, "message", ""))
    return next((ours for theirs, ours in _FAULTS.items() if said.startswith(theirs)), "that is damaged")


async def _file_of_form(request: Request, content: bytearray) -> tuple[bytes, str | None]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), PIECE):
            yield bytes(content[start : start + PIECE])

    try:
        form = await _InMemory(request.headers, pieces(), max_files=1, max_fields=0).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise UserError(
            f"found a form {_fault(error)}, expected one file and no fields: options go into the query"
        ) from error
    files = [each for each in form.values() if isinstance(each, UploadFile)]
    if len(files) != 1:
        raise UserError("found a form without a file, expected one: curl -F image=@radiograph.png ...")
    try:
        return await files[0].read(), files[0].filename
    finally:
        await form.close()

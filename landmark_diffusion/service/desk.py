"""The desk between requests and the model: so many are worked on at once, some wait, the others are sent away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from landmark_diffusion.core.say import LOGGER
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.writer import Writer
from landmark_diffusion.hardware.memory import is_out_of_memory
from landmark_diffusion.service.asked import Asked
from landmark_diffusion.service.forms import Answer, make_answer
from landmark_diffusion.service.limits import Limits
from landmark_diffusion.service.reading import Readers
from landmark_diffusion.web.refusal import Refusal

Views = Mapping[str, Detector]
"""One model's detectors by what they do with an image's orientation; they share its weights."""
LONGEST_RETRY = 60
_THREADS = "ldx-serve"


class Unwanted(Exception):
    """Nobody waits for the answer any more."""


class Desk:
    """Finds landmarks for requests.

    Args:
        views: for each of ``limits.workers`` a model of its own.
        forms: what answers can be, by name.
        limits: see ``Limits``.
        threads: of torch in each worker; None: as it is.

    It starts processes and makes a private folder for temporary files: ``close`` ends and removes them.
    """

    def __init__(
        self, views: Sequence[Views], forms: Mapping[str, type[Writer]], limits: Limits, threads: int | None = None
    ) -> None:
        self.limits, self.forms = limits, forms
        self.folder = Path(tempfile.mkdtemp(prefix="ldx-serve-"))
        self.readers = Readers(self.folder, limits)
        self._free: queue.SimpleQueue[Views] = queue.SimpleQueue()
        for each in views:
            self._free.put(each)
        start = (lambda: None) if threads is None else (lambda: torch.set_num_threads(threads))
        self._pool = ThreadPoolExecutor(limits.at_work, _THREADS, initializer=start)
        self._lock = threading.Lock()
        self._places, self._seconds, self.answered = 0, 1.0, 0
        LOGGER.addFilter(_not_of_requests)

    @property
    def places(self) -> int:
        """Requests that are worked on or wait."""
        return self._places

    @property
    def full(self) -> bool:
        """Whether the next request would be sent away."""
        return self._places >= self.limits.at_work + self.limits.queue

    async def answer(self, content: bytes | bytearray, asked: Asked, gone: Callable[[], Awaitable[object]]) -> Answer:
        """Find the landmarks of an image's file; ``gone`` returns once the client does not wait any more.

        Raises Refusal where there is no place or no time, UserError (DataError naming the image) for an image that
        cannot be used, Unwanted where the client is gone.
        """
        self._take_place(asked.name)
        ended = threading.Event()
        work = self._pool.submit(self._work, content, asked, ended)
        work.add_done_callback(self._leave_place)
        leaving = asyncio.ensure_future(gone())
        result = asyncio.wrap_future(work)
        try:
            await asyncio.wait((leaving, result), timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            if leaving.done():
                raise Unwanted
            raise self._busy(f"{asked.name}: was not finished within {self.limits.timeout:g} s")
        finally:
            ended.set()  # what has not begun is left, what has is finished without its answer being sent
            leaving.cancel()
            result.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await leaving

    def close(self) -> None:
        """Refuse what waits, end the processes, remove what is temporary."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.readers.close()
        self._pool.shutdown(wait=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        LOGGER.removeFilter(_not_of_requests)

    def _work(self, content: bytes | bytearray, asked: Asked, ended: threading.Event) -> Answer:
        """Do all of a request, in a thread of the pool."""

        def wanted() -> None:
            if ended.is_set():
                raise Unwanted

        wanted()
        radiograph = self.readers.read(content, asked.name, wanted)
        views = self._free.get()
        try:
            wanted()
            begun = time.monotonic()
            detector = views[asked.orientation]
            (found,) = detector.detect([radiograph], [asked.name], [asked.short_name], asked.spacing)
            answer = make_answer(self.forms[asked.to], found, content, self.folder)
            self._seconds += 0.2 * (time.monotonic() - begun - self._seconds)
            self.answered += 1
            return answer
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise Refusal(
                    503, "memory", f"{asked.name}: the server's memory does not suffice for it now"
                ) from error
            raise
        finally:
            self._free.put(views)

    def _take_place(self, name: str) -> None:
        with self._lock:
            if self.full:
                raise self._busy(f"{name}: found {self._places} requests before it, which is all that can wait")
            self._places += 1

    def _leave_place(self, work: Future[Answer]) -> None:
        with self._lock:
            self._places -= 1

    def _busy(self, message: str) -> Refusal:
        seconds = self._places * self._seconds / self.limits.workers
        after = max(1, min(LONGEST_RETRY, math.ceil(seconds / 2)))
        return Refusal(503, "busy", f"{message}; ask again in {after} s", {"retry-after": str(after)})


def _not_of_requests(record: logging.LogRecord) -> bool:
    """Leave out what forms say of each image: nobody asked the service's own output for it."""
    return not (record.threadName or "").startswith(_THREADS)

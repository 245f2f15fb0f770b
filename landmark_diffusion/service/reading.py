"""The service's side of the processes that decode images: started, asked, and ended where one hangs or crashes."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.service.frames import BrokenFrame, read_frame, write_frame
from landmark_diffusion.service.limits import Limits

START_SECONDS = 60.0
MOST_READ = 1000
"""Images after which a process is replaced: what decoders may leak does not grow for ever."""
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV", "HOME")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX")


class Reader:
    """One process that decodes images, one at a time; a new one takes its place where it ended.

    Args:
        root: private folder of the service.
        number: of this reader, which names its folder in there.
        limits: on pixels, bytes and time.
    """

    def __init__(self, root: Path, number: int, limits: Limits) -> None:
        self._root, self._folder, self._limits = root, root / f"reader-{number}", limits
        self._process: subprocess.Popen[bytes] | None = None
        self._ready, self._count = False, 0
        self._closed = False
        self._start()

    def read(self, content: bytes | bytearray, name: str) -> Radiograph:
        """Decode a file's content; raises DataError, naming ``name``, where that is no image that is read.

        That includes one whose decoding takes longer than the limit, or crashes. Raises RuntimeError where the
        process cannot be started.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._wait_until_ready()
        seconds = self._limits.decode_timeout
        try:
            with self._killed_after(seconds) as late:
                write_frame(self._stdin, {"seconds": seconds + 5}, content)
                head, grey = read_frame(self._stdout, self._limits.max_pixels)
                found = _radiograph(head, grey, name)
        except (BrokenFrame, OSError) as error:
            status = self._end()
            self._start()
            raise DataError(_lost(late.is_set(), seconds, status), name) from error
        self._count += 1
        if self._count >= MOST_READ:
            self._end()
            self._start()
        return found

    def close(self) -> None:
        """End the process for good, also while an image is being decoded, which is refused then."""
        self._closed = True
        if (process := self._process) is not None:
            _kill(process)
            process.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def _stdin(self) -> BinaryIO:
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    @property
    def _stdout(self) -> BinaryIO:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout  # type: ignore[return-value]

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("the service is being stopped")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        program = [sys.executable, "-P", "-m", "landmark_diffusion.service.reader"]
        options = (self._folder, self._root, self._limits.max_pixels, self._limits.max_bytes, os.getpid())
        self._process = subprocess.Popen(
            [*program, *map(str, options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(os.environ, self._folder), bufsize=-1,
            start_new_session=True,
        )  # fmt: skip
        self._ready, self._count = False, 0

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            with self._killed_after(START_SECONDS):
                read_frame(self._stdout, 0)
        except (BrokenFrame, OSError) as error:
            status = self._end()
            raise RuntimeError(f"the process that decodes images does not start (status {status})") from error
        self._ready = True

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[threading.Event]:
        """Kill the process where the block takes longer, which ends the block's reading; the event tells so."""
        late, process = threading.Event(), self._process
        assert process is not None

        def kill() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()  # so that it kills none that comes later

    def _end(self) -> int:
        """End the process, where it has not ended by itself, and what it started; returns its status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # one that crashes has a status that tells more than that of being killed
        _kill(process)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        shutil.rmtree(self._folder, ignore_errors=True)
        return process.wait()


class Readers:
    """Some of them; who asks gets the next that is free."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._all = [Reader(root, number, limits) for number in range(limits.readers)]
        self._free: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for each in self._all:
            self._free.put(each)

    def read(self, content: bytes | bytearray, name: str, wanted: Callable[[], object] = lambda: None) -> Radiograph:
        """As ``Reader.read``, once one is free; ``wanted`` is asked then, and raises where nobody waits any more."""
        reader = self._free.get()
        try:
            wanted()
            return reader.read(content, name)
        finally:
            self._free.put(reader)

    def pids(self) -> list[int]:
        """Of the processes."""
        return [each.pid for each in self._all]

    def close(self) -> None:
        """End all."""
        for each in self._all:
            each.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not ended yet, and those that it started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _environment(outer: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Variables of such a process: no secrets of the service, its own folder for temporary files, one thread."""
    package = Path(__file__).resolve().parents[2]
    paths = [str(package), *filter(None, [outer.get("PYTHONPATH")])]
    return {
        **{name: outer[name] for name in _KEPT if name in outer},
        **dict.fromkeys(_ONE_THREAD, "1"),
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": str(folder),
    }


def _lost(late: bool, seconds: float, status: int) -> str:
    if late:
        return f"the image was not decoded within {seconds:g} s; export it again, without compression or as PNG"
    return f"the decoder ended on this image (status {status}); copy or export the file again"


def _radiograph(head: dict[str, Any], grey: bytearray, name: str) -> Radiograph:
    """What the process said, which is not trusted either: a decoder may have been taken over."""
    if "error" in head:
        raise DataError(str(head["error"]), name)
    try:
        height, width = (int(side) for side in head["shape"])
        spacing = head["spacing"]
        if min(height, width) < 1 or height * width != len(grey):
            raise ValueError("shape")
        if spacing is not None:
            x, y = (float(each) for each in spacing)
            if not (math.isfinite(x) and math.isfinite(y) and min(x, y) > 0):
                raise ValueError("spacing")
            spacing = (x, y)
        notes = tuple(str(note) for note in head["notes"])
        values = np.frombuffer(grey, np.uint8).reshape(height, width)
        return Radiograph(values, spacing, str(head["spacing_source"]), notes, int(head["bits"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFrame("found an answer that is none") from error

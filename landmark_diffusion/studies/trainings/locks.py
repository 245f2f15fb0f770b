"""A lock that ends with the process that holds it, for what two processes must not do at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusive(path: Path, what: str, patience: float = 60.0) -> Iterator[None]:
    """Hold the lock on the file ``path`` (made where absent); wait up to ``patience`` seconds for another process.

    The system gives the lock back when its holder ends, however it ends. Where the file system knows no locks this
    does nothing: it is the second line of defence behind claims and atomic files.
    Raises UserError, naming ``what`` is held, when the other process does not let go; WriteError where the file cannot
    be made.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        deadline = time.monotonic() + patience
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise UserError(f"{path}: another process still holds {what}; end it, or wait until it has ended")
            time.sleep(0.05)
        yield


def _locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True

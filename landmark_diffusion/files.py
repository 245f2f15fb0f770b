"""Files that are whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; rename it to ``path`` if the block succeeds.

    The temporary name keeps the suffix, since matplotlib and ``numpy.save`` choose the format by it. Missing parent
    folders are made. If the block raises (Ctrl-C included), the temporary file is removed and ``path`` is as it was.
    Readers, and other processes that write the same path, see the old file or the new one, never a part.
    Raises FileNotFoundError if the block wrote nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name stays short, because path.name may already be as long as the file system allows.
    temporary = path.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex[:12]}{path.suffix}"
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8 with line ends as given, whole or not at all."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _flush(path: Path) -> None:
    """Force a file's bytes, or a folder's list of names, to the disk before going on."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders, and orders renames itself
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files that are whole or absent: written beside their place, flushed to disk (where it matters), then renamed."""

from __future__ import annotations

import errno
import os
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landmark_diffusion.core.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(UserError, OSError):
    """A file or folder that cannot be written: a message for the user, and an OSError for who has more to say of it."""

    def __init__(self, message: str, cause: OSError | None = None) -> None:
        super().__init__(message)
        if cause is not None:
            self.errno, self.strerror = cause.errno, cause.strerror

    def __str__(self) -> str:
        return str(self.args[0])


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Raise WriteError that names ``path`` and says what to do where the block cannot write it."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        room = "make room on that disk, or write to another one" if error.errno in _FULL else "name another place"
        raise WriteError(f"{path}: the file cannot be written ({error.strerror or error}); {room}", error) from error


@contextmanager
def atomic_path(path: str | Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; rename it to ``path`` if the block succeeds.

    The temporary name keeps the suffix, since matplotlib and ``numpy.save`` choose the format by it. Missing parent
    folders are made. If the block raises (Ctrl-C included), the temporary file is removed and ``path`` is as it was.
    Readers, and other processes that write the same path, see the old file or the new one, never a part.
    ``flush=False`` leaves it to the system when the bytes reach the disk: several times as fast, and after a power cut
    the file may be there without them. Raises WriteError where there is no room or no permission, FileNotFoundError if
    the block wrote nothing.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # The name stays short, because path.name may already be as long as the file system allows.
    temporary = path.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex[:12]}{path.suffix}"
    try:
        yield temporary
        if flush:
            _flush(temporary)
        os.replace(temporary, path)
        if flush:
            _flush(path.parent)
    except OSError as error:
        if error.errno == errno.ENOENT or error.filename not in (None, str(temporary)):
            raise  # not about this file: the block may read others
        with writing(path):
            raise
    finally:
        with suppress(OSError):  # no permission, for one: what went wrong first is what counts
            temporary.unlink()


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8 with line ends as given, whole or not at all."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_bytes(path: str | Path, data: bytes, flush: bool = True) -> None:
    """Write ``data`` to ``path``, whole or not at all; ``flush`` as for ``atomic_path``."""
    with atomic_path(path, flush) as temporary:
        temporary.write_bytes(data)


def create_text(path: Path, text: str) -> bool:
    """Make a file with its content at once; False, and nothing is changed, where it is there already.

    Of several processes that do so at the same time one makes it. Raises OSError where it cannot be written.
    """
    partial = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
    try:
        partial.write_text(text, encoding="utf-8")
        try:
            os.link(partial, path)  # unlike a rename it fails where another process was first
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            return _create_in_place(path, text)
        return True
    finally:
        partial.unlink(missing_ok=True)


def _create_in_place(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)  # an empty one would be taken for a whole one
        raise
    return True


def _flush(path: Path) -> None:
    """Force a file's bytes, or a folder's list of names, to the disk before going on."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders, and orders renames itself
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_existing(path: Path, overwrite: bool, other: str = "name") -> None:
    """Raise UserError, advising another ``other``, where something lies that may not be replaced, or a folder."""
    if path.is_dir() or (path.exists() and not overwrite):
        raise UserError(f"{path} exists already and was left as it is; give another {other}, or --overwrite")


def is_whole(path: str | Path) -> bool:
    """Tell whether a checkpoint file is there to its end: a file cut short has lost its table of contents."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False

"""The same image under two names: by the files' content, or by the decoded pixels."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

_BLOCK = 4096


def same_files(paths: Mapping[str, Path]) -> list[list[str]]:
    """Return the ids of images whose files hold the same bytes, two or more each, in the order given.

    A file is read only where another has its size: first a block of it, in full where another begins alike. One that
    cannot be read is left out.
    """
    groups = _grouped(paths, paths, lambda path: os.stat(path).st_size)
    begins = (group for alike in groups for group in _grouped(alike, paths, _block))
    return [group for alike in begins for group in _grouped(alike, paths, _digest)]


class SeenPixels:
    """Images that were decoded, and which of them are the same picture."""

    def __init__(self) -> None:
        self._ids: dict[bytes, list[str]] = defaultdict(list)

    def add(self, image_id: str, image: np.ndarray) -> None:
        """Note a decoded image (H, W)."""
        digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(image).tobytes())
        self._ids[digest.digest()].append(image_id)

    def same(self) -> list[list[str]]:
        """Return the ids of images with the same pixels, two or more each."""
        return [ids for ids in self._ids.values() if len(ids) > 1]


def _grouped(ids: Iterable[str], paths: Mapping[str, Path], key: Callable[[Path], Hashable]) -> list[list[str]]:
    found: dict[Hashable, list[str]] = defaultdict(list)
    for image in ids:
        with suppress(OSError):
            found[key(paths[image])].append(image)
    return [group for group in found.values() if len(group) > 1]


def _block(path: Path) -> bytes:
    """A block from the middle: the beginning is a header that very many files share."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        os.lseek(file, max(0, os.fstat(file).st_size // 2 - _BLOCK // 2), os.SEEK_SET)
        return hashlib.blake2b(os.read(file, _BLOCK), digest_size=16).digest()
    finally:
        os.close(file)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()

"""Image headers, remembered by path, size and time, so that a second start on thousands of images is quick."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.data.cache import HEADERS, default_folder
from landmark_diffusion.data.readers.image_io import read_header

_VERSION = 1


def read_headers(paths: Iterable[Path], root: Path) -> tuple[dict[Path, tuple[int, int]], list[DataError]]:
    """Return the (width, height) of each readable image, and a DataError for each other one.

    What was read is kept in one file for each ``root`` in the cache folder; an image whose size in bytes or time of
    change differs is read again, and a faulty one each time. Without a writable cache folder nothing is kept.
    """
    store = default_folder() / HEADERS / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()}.json"
    known = _load(store)
    sizes: dict[Path, tuple[int, int]] = {}
    faults: list[DataError] = []
    fresh: dict[str, list[int]] = {}
    for path in paths:
        key = str(path.absolute())
        try:
            stat = path.stat()
            entry = known.get(key)
            if entry is None or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
                entry = fresh[key] = [stat.st_size, stat.st_mtime_ns, *read_header(path)]
            sizes[path] = (entry[2], entry[3])
        except DataError as error:
            faults.append(error)
        except OSError as error:
            faults.append(DataError(f"the image cannot be read ({error.strerror})", path))
    if fresh:
        with suppress(OSError):  # it only saves time
            atomic_write_text(store, json.dumps({"version": _VERSION, "headers": known | fresh}))
    return sizes, faults


def _load(store: Path) -> dict[str, list[int]]:
    """Entries of an earlier start; none if the file is absent, of another version or damaged."""
    try:
        content = json.loads(store.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            return {}
        return {
            path: entry
            for path, entry in content["headers"].items()
            if isinstance(entry, list)
            and len(entry) == 4
            and all(type(value) is int for value in entry)
            and all(0 < side < 2**31 for side in entry[2:])
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}

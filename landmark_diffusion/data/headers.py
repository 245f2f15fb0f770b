"""Image headers, remembered by path, size and time, so that a second start on thousands of images is quick."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.data.cache import HEADERS, default_folder
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.radiograph import RadiographHeader, read_radiograph_header

_VERSION = 2
_SALT = re.compile(r"[0-9a-f]{32}")
_NOBODY = re.compile(
    r"[\W_0x]*|anon\w*|unknown|none|null|na|nan|n/?a|no ?(id|name)|patient|removed|de-?identified|test"
)
"""Words that anonymising programs leave in the place of a Patient ID, folded: images that have one may be anybody's."""


class Header(NamedTuple):
    """What is remembered of an image file: (width, height) px, mm per pixel (x, y), whence, and whose image it is.

    ``patient`` tells images of one patient from others' (DICOM's Patient ID), without saying who that is: a digest
    under a key of the cache folder, other ones on each machine; empty where the file says nothing.
    """

    size: tuple[int, int]
    spacing: tuple[float, float] | None = None
    spacing_source: str = UNKNOWN_SPACING
    patient: str = ""
    dicom: bool = False


def read_headers(paths: Iterable[Path], root: Path) -> tuple[dict[Path, Header], list[DataError]]:
    """Return the header of each readable image, and a DataError for each other one.

    What was read is kept in one file for each ``root`` in the cache folder; an image whose size in bytes or time of
    change differs is read again, and a faulty one each time. Without a writable cache folder nothing is kept.
    """
    store = default_folder() / HEADERS / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()}.json"
    salt, known = _load(store)
    found: dict[Path, Header] = {}
    faults: list[DataError] = []
    fresh: dict[str, list[Any]] = {}
    for path in paths:
        key = str(path.absolute())
        try:
            stat = path.stat()
            entry = known.get(key)
            if entry is None or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
                entry = fresh[key] = [stat.st_size, stat.st_mtime_ns, *_entry(read_radiograph_header(path), salt)]
            found[path] = _header(entry)
        except DataError as error:
            faults.append(error)
        except OSError as error:
            faults.append(DataError(f"the image cannot be read ({error.strerror})", path))
    if fresh:
        with suppress(OSError):  # it only saves time
            atomic_write_text(store, json.dumps({"version": _VERSION, "salt": salt, "headers": known | fresh}))
    return found, faults


def _entry(header: RadiographHeader, salt: str) -> list[Any]:
    """What is kept behind a file's size and time: width and height, and more only where a file says more."""
    if not header.dicom:
        return [*header.size]
    return [*header.size, *(header.spacing or (0, 0)), header.spacing_source, _digest(header.patient, salt)]


def _header(entry: list[Any]) -> Header:
    width, height, *more = entry[2:]
    if not more:
        return Header((width, height))
    x, y, source, patient = more
    return Header((width, height), (x, y) if x and y else None, source, patient, dicom=True)


def _digest(patient: tuple[str, str], salt: str) -> str:
    """A patient's id and its issuer under the key ``salt``: it cannot be compared with the ids of another list."""
    if _NOBODY.fullmatch(patient[0].casefold()):
        return ""
    return hashlib.blake2b("\0".join(patient).encode(), key=bytes.fromhex(salt), digest_size=16).hexdigest()


def _load(store: Path) -> tuple[str, dict[str, list[Any]]]:
    """Key and entries of an earlier start; a new key and none if the file is absent, of another version or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        content = json.loads(store.read_text(encoding="utf-8"))
        if content["version"] == _VERSION and _SALT.fullmatch(content["salt"]):
            return content["salt"], {path: entry for path, entry in content["headers"].items() if _is_entry(entry)}
    return secrets.token_hex(16), {}


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, list) or len(entry) not in (4, 8) or any(type(value) is not int for value in entry[:4]):
        return False
    if not all(0 < side < 2**31 for side in entry[2:4]):
        return False
    spacing, texts = entry[4:6], entry[6:]
    return all(isinstance(each, str) for each in texts) and all(
        isinstance(each, int | float) and type(each) is not bool and 0 <= each < math.inf for each in spacing
    )

"""Names of results: short, safe in every file system, no name for two, and the same in whatever order files come."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\s\ud800-\udfff]+')
"""What some file system refuses, a shell takes apart, or is no text (the last: bytes of a name that are no UTF-8)."""

_LONGEST = 80


def short_names(paths: Iterable[Path]) -> list[str]:
    """Give each path a name that is safe in file names and not that of another, whatever the order of the paths.

    It is the file's own without .png, .dcm and the like, which the end of a UID is not. Where several are the same, as
    many folders go in front as tell them apart: a/s/1.dcm and b/s/1.dcm are a_s_1 and b_s_1. In one folder the suffix
    does: 1_png and 1_dcm. What is still the same, or was cut since it is long, ends with a hash of the path as given.
    """
    paths = [Path(os.path.normpath(path)) for path in paths]
    names = [""] * len(paths)
    for group in _alike([_safe(_stem(path)) for path in paths]):
        for place, name in zip(group, _apart([paths[place] for place in group]), strict=True):
            names[place] = name
    for group in _alike(names):
        if len(group) > 1:
            for place in group:
                names[place] = f"{names[place]}_{_hash(paths[place])}"
    taken: dict[str, int] = {}
    numbered = {place: _free(names[place], taken) for place in sorted(range(len(paths)), key=lambda n: str(paths[n]))}
    return [numbered[place] for place in range(len(paths))]


def _apart(paths: Sequence[Path]) -> list[str]:
    """Names of files whose own are the same: folders in front, and suffixes where a folder has several."""
    if len(paths) == 1:
        return [_cut(_stem(paths[0]), paths[0])]
    folders = [path.parent.parts for path in paths]
    depth, different = 0, len(set(folders))
    while len({_last(each, depth) for each in folders}) < different:
        depth += 1
    in_folder = Counter(folders)
    names = []
    for path, parts in zip(paths, folders, strict=True):
        front = [part for part in _last(parts, depth) if part not in ("..", path.anchor)]
        stem = _stem(path)
        suffix = path.name.removeprefix(stem).lstrip(".") if in_folder[parts] > 1 else ""
        names.append(_cut("_".join(filter(None, [*front, stem, suffix])), path))
    return names


def _last(parts: tuple[str, ...], count: int) -> tuple[str, ...]:
    return parts[max(0, len(parts) - count) :]


def _stem(path: Path) -> str:
    """The name without a suffix that a radiograph has; a UID such as 1.2.840.10008 ends in none."""
    from landmark_diffusion.data.readers.dicom import has_no_suffix

    return path.name if has_no_suffix(path) else path.stem


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Places of the names that some file system takes for one: it may not tell A from a, nor two spellings of ü."""
    groups = defaultdict(list)
    for place, name in enumerate(names):
        groups[_folded(name)].append(place)
    return list(groups.values())


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _cut(text: str, path: Path) -> str:
    """A safe name of bounded length; of a long one the end, which is the file's own."""
    name = _safe(text)
    return name if len(name) <= _LONGEST else f"{name[-_LONGEST + 9 :].lstrip('._-')}_{_hash(path)}"


def _hash(path: Path) -> str:
    return hashlib.sha256(path.as_posix().encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _free(name: str, taken: dict[str, int]) -> str:
    """A name that is not taken; ``taken`` maps names to the number to try after, so that 100,000 alike take seconds."""
    free, number = name, taken.get(_folded(name), 1)
    while _folded(free) in taken:
        number += 1
        free = f"{name}_{number}"
    taken[_folded(name)] = number
    taken.setdefault(_folded(free), 1)
    return free


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("._-") or "image"

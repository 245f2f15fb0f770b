"""Which files ``ldx detect`` looks at: files, folders and patterns, each once, with short names of their own."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from landmark_diffusion.errors import UserError

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\s\ud800-\udfff]+')
"""What some file system refuses, a shell takes apart, or is no text (the last: bytes of a name that are no UTF-8)."""

_LONGEST = 80


def find_images(asked: Sequence[str], recursive: bool = False, results: Path | None = None) -> list[Path]:
    """List the files behind names of files, folders and glob patterns, in the order asked for, each once.

    A file that is named itself is listed whatever it is, also where it does not exist: it is missed by name later. A
    folder gives its radiographs, sorted by name, but for what lies in the folder of ``results``, where pictures of an
    earlier run would be taken for radiographs. Raises UserError for a folder or a pattern without any.
    """
    from landmark_diffusion.data.radiograph import RADIOGRAPH_SUFFIXES, list_radiographs

    found: list[Path] = []
    for name in asked:
        path = Path(name)
        if not name:
            raise UserError("found an empty name among the images, expected a file, a folder or a pattern")
        if os.path.isdir(path):  # not Path.is_dir, which raises for some names
            inside = [each for each in list_radiographs(path, recursive) if not _lies_in(results, each)]
            if not inside:
                deeper = "" if recursive else "; --recursive looks into its sub-folders"
                raise UserError(f"{name}: found no radiograph in the folder ({', '.join(RADIOGRAPH_SUFFIXES)}){deeper}")
            found += inside
        elif glob.has_magic(name) and not os.path.exists(path):
            matching = sorted(each for each in map(Path, glob.glob(name, recursive=True)) if not os.path.isdir(each))
            if not matching:
                raise UserError(f"{name}: no file matches this pattern")
            found += matching
        else:
            found.append(path)
    once: dict[str, Path] = {}
    for path in found:
        once.setdefault(os.path.abspath(path), path)
    return list(once.values())


def short_names(paths: Iterable[Path]) -> list[str]:
    """Give each path a name that is safe in file names and not that of another: the stem, else with its folders.

    001.png alone is 001; a/001.png and b/001.png are a_001 and b_001; what is still the same is numbered.
    """
    paths = list(paths)
    names = [_safe(path.stem) for path in paths]
    repeated = _repeated(names)
    names = [
        _safe("_".join([*path.parts[-2:-1], path.stem])) if name.lower() in repeated else name
        for path, name in zip(paths, names, strict=True)
    ]
    taken: dict[str, int] = {}
    return [_free(name, taken) for name in names]


def _lies_in(folder: Path | None, path: Path) -> bool:
    return folder is not None and os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))


def _repeated(names: list[str]) -> set[str]:
    counts = Counter(name.lower() for name in names)  # some file systems do not tell A from a
    return {name for name, count in counts.items() if count > 1}


def _free(name: str, taken: dict[str, int]) -> str:
    """A name that is not taken; ``taken`` maps names to the number to try after, so that 100,000 alike take seconds."""
    free, number = name, taken.get(name.lower(), 1)
    while free.lower() in taken:
        number += 1
        free = f"{name}_{number}"
    taken[name.lower()] = number
    taken.setdefault(free.lower(), 1)
    return free


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("._-")[:_LONGEST] or "image"

"""Which files ``ldx detect`` looks at: files, folders and patterns, each once."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import counted


def find_images(
    asked: Sequence[str],
    recursive: bool = False,
    results: Path | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> list[Path]:
    """List the files behind names of files, folders and glob patterns, in the order asked for, each once.

    A file that is named itself is listed whatever it is, also where it does not exist: it is missed by name later. A
    folder gives its radiographs, sorted by name, but for what lies in the folder of ``results``, where pictures of an
    earlier run would be taken for radiographs. ``tell`` hears of images of other kinds that folders hold, and of files
    that were named more than once. Raises UserError for a folder that is not there, and for a folder or a pattern
    without any.
    """
    from landmark_diffusion.data.readers.image_io import other_kinds, other_kinds_note
    from landmark_diffusion.data.readers.radiograph import RADIOGRAPH_SUFFIXES, list_radiographs

    found: list[Path] = []
    others: list[Path] = []
    for name in asked:
        path = Path(name)
        if not name:
            raise UserError("found an empty name among the images, expected a file, a folder or a pattern")
        if os.path.isdir(path):  # not Path.is_dir, which raises for some names
            inside = [each for each in list_radiographs(path, recursive) if not _lies_in(results, each)]
            passed = other_kinds(path, recursive, RADIOGRAPH_SUFFIXES)
            if not inside:
                deeper = "" if recursive else "; --recursive looks into its sub-folders"
                more = "".join(f"; {each}" for each in other_kinds_note(passed))
                expected = ", ".join(RADIOGRAPH_SUFFIXES)
                raise UserError(f"{name}: found no radiograph in the folder ({expected}){more}{deeper}")
            found += inside
            others += passed
        elif name.endswith(("/", os.sep)):
            raise UserError(f"{name}: the folder does not exist (current folder: {Path.cwd()})")
        elif glob.has_magic(name) and not os.path.exists(path):
            matching = sorted(each for each in map(Path, glob.glob(name, recursive=True)) if not os.path.isdir(each))
            if not matching:
                raise UserError(f"{name}: no file matches this pattern")
            found += matching
        else:
            found.append(path)
    once: dict[str, Path] = {}
    again: dict[str, Path] = {}
    for path in found:
        place = os.path.abspath(path)
        (again if place in once else once).setdefault(place, path)
    for line in (*other_kinds_note(others), *_named_again(list(again.values()))):
        tell(line)
    return list(once.values())


def _named_again(paths: Sequence[Path]) -> list[str]:
    if not paths:
        return []
    names = ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else "")
    verb = "is named more than once and is" if len(paths) == 1 else "are named more than once and are"
    return [f"{counted(len(paths), 'file')} {verb} looked at once: {names}"]


def _lies_in(folder: Path | None, path: Path) -> bool:
    return folder is not None and os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))

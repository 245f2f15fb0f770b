"""Which files ``ldx detect`` looks at: files, folders and patterns, each once."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from landmark_diffusion.core.errors import UserError


def find_images(asked: Sequence[str], recursive: bool = False, results: Path | None = None) -> list[Path]:
    """List the files behind names of files, folders and glob patterns, in the order asked for, each once.

    A file that is named itself is listed whatever it is, also where it does not exist: it is missed by name later. A
    folder gives its radiographs, sorted by name, but for what lies in the folder of ``results``, where pictures of an
    earlier run would be taken for radiographs. Raises UserError for a folder or a pattern without any.
    """
    from landmark_diffusion.data.readers.radiograph import RADIOGRAPH_SUFFIXES, list_radiographs

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


def _lies_in(folder: Path | None, path: Path) -> bool:
    return folder is not None and os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))

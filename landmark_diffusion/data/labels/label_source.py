"""A file or folder that may hold labels, opened once for all forms that look at it; and the images beside it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from xml.parsers import expat

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.safe_xml import BLOCK, feed
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.core.untrusted import parse_json, read_limited
from landmark_diffusion.data.readers.radiograph import list_radiographs, read_radiograph_header

_HEAD = 2**16
MOST_FILES = 1_000_000
"""Of a folder and those within: more is no set of labelled images, but a disk."""


_LEVELS, _MOST_BELOW = 2, 1000
"""How deep, and in how many folders, images are looked for where nobody named theirs: YOLO's lie in images/train."""


class LabelSource:
    """A file or folder that may hold labels.

    Nothing is read before it is asked for, and each thing once. Raises DataError where there is none.

    Args:
        path: the file or folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_folder = os.path.isdir(self.path)  # not Path.is_dir, which raises for some names
        if not os.path.exists(self.path):
            raise DataError("there is no file and no folder of this name", self.path)
        if not self.is_folder and not os.path.isfile(self.path):
            raise DataError("found a pipe or device, expected a file or folder with labels", self.path)

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB of a file; empty for a folder, and where it cannot be read."""
        if self.is_folder:
            return b""
        try:
            with self.path.open("rb") as file:
                return file.read(_HEAD)
        except OSError:
            return b""

    @property
    def beginning(self) -> str:
        """The head as text without marks and blanks in front, as far as it is UTF-8."""
        return self.head.decode("utf-8", "ignore").removeprefix("\ufeff").lstrip()

    @cached_property
    def content(self) -> bytes:
        """All bytes of a file; raises DataError for one that cannot be read or is too large."""
        return read_limited(self.path)

    @cached_property
    def json(self) -> Any:
        """The values of a JSON file; raises DataError for damage and excess."""
        return parse_json(self.content, self.path)

    @property
    def looked_at(self) -> Any:
        """The values of a JSON file for who only looks; None for what is no such file, or damaged."""
        if not self.beginning.startswith(("{", "[")):
            return None
        try:
            return self.json
        except DataError:
            return None

    def xml(self, handler: Any) -> None:
        """Feed an XML file to a ``core.safe_xml.Handler``; raises DataError for damage, definitions and excess."""

        def refuse(what: str) -> DataError:
            return DataError(f"the file {what}; export it again", self.path)

        try:
            with self.path.open("rb") as file:
                feed(iter(lambda: file.read(BLOCK), b""), handler, refuse, None)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            raise DataError(f"the file is no whole XML ({why})", self.path, error.lineno) from None
        except (OSError, ValueError) as error:  # ValueError: an encoding that expat cannot take
            raise DataError(f"the file cannot be read ({one_line(error)})", self.path) from None

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Files of a folder and those within, sorted, without hidden ones; raises DataError for too many."""
        found = []
        for folder, within, names in os.walk(self.path):
            within[:] = sorted(name for name in within if not name.startswith("."))
            found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
            if len(found) > MOST_FILES:
                raise DataError(f"the folder holds more than {MOST_FILES} files, expected one with labels", self.path)
        return tuple(found)

    def named(self, *endings: str) -> list[Path]:
        """Files of the folder whose names end so, in lower case."""
        return [path for path in self.files if path.name.lower().endswith(endings)]

    def relative(self, path: Path) -> str:
        """Name of a file within the folder, with ``/``."""
        return path.relative_to(self.path).as_posix()


class ImageFolder:
    """Images by their names in labels: in a folder and those within.

    Args:
        folder: where they lie; None where nobody said, and nothing is found then.
        naming: whether images are called by their places in it; else (where nobody named the folder) only a missing
            ending is added to their names, and they are looked for in it and two levels below.
        option: by which a user may name it and has not, for messages; empty where there is none, or it was given.
    """

    def __init__(self, folder: Path | None = None, naming: bool = True, option: str = "") -> None:
        self.folder, self.naming, self.option = folder, naming, option
        if folder is not None and not os.path.isdir(folder):
            raise DataError("--images: there is no folder of this name", folder)

    @cached_property
    def _by_name(self) -> Mapping[str, list[Path]]:
        """Files by their own name and by that without its suffix."""
        found: dict[str, list[Path]] = {}
        for path in self._files():
            for name in {path.name, path.stem}:
                found.setdefault(name, []).append(path)
        return found

    def _files(self) -> list[Path]:
        """Images of the folder and all within; where nobody named it, of two levels below it alone."""
        if self.folder is None:
            return []
        if self.naming:
            return list_radiographs(self.folder, recursive=True)
        places = [self.folder]
        for _ in range(_LEVELS):
            below = (each for place in places for each in _folders(place) if each not in places)
            places += list(islice(below, _MOST_BELOW - len(places)))
        return [path for place in places for path in list_radiographs(place)]

    def find(self, name: str) -> Path | None:
        """Return the file that a name means: the one at that place, else the only one of that name anywhere within."""
        found = self.candidates(name)
        return found[0] if len(found) == 1 else None

    def candidates(self, name: str) -> list[Path]:
        """Return the files that a name can mean: the one at that place, else all of that name anywhere within."""
        if self.folder is None:
            return []
        path = self.folder / name
        if os.path.isfile(path):
            return [path]
        alike = self._by_name.get(posixpath.basename(name), [])
        return [each for each in alike if each.with_suffix("") == path] or alike

    @property
    def cure(self) -> str:
        """What to do where images are not found, as the end of a message: empty where their folder was named."""
        return f", or name the folder of the images by {self.option}" if self.option else ""

    def name_of(self, name: str) -> str:
        """Name the file that ``name`` means; ``name`` itself where none is found."""
        path = self.find(name)
        if path is None or self.folder is None:
            return name
        if self.naming:
            return path.relative_to(self.folder).as_posix()
        return name if posixpath.basename(name) == path.name else name + path.suffix

    def facts(self, name: str) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
        """Return size (width, height) and spacing (x, y) of an image by its header, each None where it is not known.

        Raises DataError for a file that is no image.
        """
        path = self.find(name)
        if path is None:
            return None, None
        header = read_radiograph_header(path)
        return header.size, header.spacing


def _folders(place: Path) -> list[Path]:
    """Folders right below another, without hidden ones; none where that may not be looked into."""
    try:
        return sorted(each for each in place.iterdir() if not each.name.startswith(".") and os.path.isdir(each))
    except OSError:
        return []

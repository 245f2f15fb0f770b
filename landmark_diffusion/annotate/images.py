"""The images of a folder: their names here and in the table, and their pixels as the page shows them."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.readers.levels import Levels, read_levels
from landmark_diffusion.data.readers.radiograph import read_radiograph_header
from landmark_diffusion.studies.suggest.pool import PoolImage, folder_images, meant_images

KEPT = 4
"""Images whose pixels are kept: those that a page looks at, and the next."""


@dataclass(frozen=True)
class Picture:
    """An image as the page gets it.

    Attributes:
        levels: values and the grey of each.
        body: gzip of the grey of each value (uint8), a zero byte where their number is odd, and the values row by row,
            uint8, or uint16 with the lower byte first.
    """

    levels: Levels
    body: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.levels.values.shape[1], self.levels.values.shape[0]


class FolderImages:
    """The radiographs of a folder.

    Args:
        root: the folder.
        tell: hears of images of other kinds.

    Raises DataError for a folder that is not there or holds none.
    """

    def __init__(self, root: Path, tell: Callable[[str], object]) -> None:
        self.root = root
        there = folder_images(root, None, tell, "ldx annotate")
        self.images = [each for each in there if _can_be_named(each.name)]
        if left := len(there) - len(self.images):
            tell(f"{counted(left, 'image')} left out: the name is no text (UTF-8), or begins or ends with a blank")
        self.table_names = [each.name for each in self.images]
        """How the table names each, or is to name it."""
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        self._sizes: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._reading: dict[int, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> PoolImage:
        return self.images[place]

    def take_names(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Take the names of a table for the images that they mean.

        Gives those that mean no image here or several, and those that mean one that another name means as well.
        """
        unknown, twice, taken = [], [], set()
        for name, places in meant_images([each.name for each in self.images], names).items():
            if len(places) != 1:
                unknown.append(name)
            elif places[0] in taken:
                twice.append(name)
            else:
                taken.add(places[0])
                self.table_names[places[0]] = name
        return unknown, twice

    def picture(self, place: int) -> Picture:
        """Read an image's pixels; raises DataError for one that cannot be used."""
        with self._lock:
            if place in self._pictures:
                self._pictures.move_to_end(place)
                return self._pictures[place]
            reading = self._reading.setdefault(place, threading.Lock())
        with reading:  # two requests for one image read it once
            with self._lock:
                if place in self._pictures:
                    return self._pictures[place]
            levels = read_levels(Path(self.images[place].file))
            picture = Picture(levels, _encoded(levels))
            with self._lock:
                self._pictures[place] = picture
                self._sizes[place] = picture.size
                while len(self._pictures) > KEPT:
                    self._pictures.popitem(last=False)
            return picture

    def size(self, place: int) -> tuple[int, int]:
        """Width and height of an image; raises DataError for one whose header cannot be read."""
        known = self.known_size(place)
        if known is None:
            known = read_radiograph_header(self.images[place].file).size
            with self._lock:
                self._sizes[place] = known
        return known

    def known_size(self, place: int) -> tuple[int, int] | None:
        """Width and height where they have been read already."""
        with self._lock:
            return self._sizes.get(place)


def _can_be_named(name: str) -> bool:
    """Whether a table can name it: its cells are UTF-8, and are read without blanks at their ends."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return name == name.strip()


def _encoded(levels: Levels) -> bytes:
    values = levels.values if levels.values.dtype == np.uint8 else levels.values.astype("<u2")
    table = levels.table.tobytes() + b"\0" * (len(levels.table) % 2)
    return gzip.compress(table + values.tobytes(), 1, mtime=0)

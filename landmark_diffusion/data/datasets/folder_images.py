"""The image files of the folder dataset: of a table's rows, or of a bare folder."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from landmark_diffusion.data.datasets.folder_table import Table
from landmark_diffusion.data.image_io import IMAGE_SUFFIXES, list_images
from landmark_diffusion.errors import DataError


def bare_images(root: Path) -> dict[str, Path]:
    """Return the images of a folder without a table, by the path within the folder where they are.

    Those are the images in ``root``; if there is none, those in ``root/images`` and the folders within; if there is no
    such folder either, those in all folders within ``root``. Hidden folders (thumbnails of a file manager) are passed
    over. Raises DataError if there is none.
    """
    for place, recursive in ((root, False), (root / "images", True), (root, True)):
        names = {path.relative_to(place): path for path in list_images(place, recursive)}
        found = {name.as_posix(): path for name, path in names.items() if not _hidden(name)}
        if found:
            return found
    raise DataError(f"no image found here or in the folders within; expected {', '.join(IMAGE_SUFFIXES)}", root)


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


class FileIndex:
    """Image files of some folders by name and by stem: one listing each, however many rows ask."""

    def __init__(self, places: list[Path]) -> None:
        self.places = places
        self.by_name: dict[str, Path] = {}
        self.by_stem: dict[str, list[Path]] = {}
        for path in images_of(places):
            if path.name not in self.by_name:
                self.by_name[path.name] = path
                self.by_stem.setdefault(path.stem, []).append(path)

    def find(self, name: str) -> list[Path]:
        """Return the files that a name in the table can mean: none, one, or several of the same stem."""
        if name in self.by_name:
            return [self.by_name[name]]
        if name in self.by_stem:
            return self.by_stem[name]
        found = (place / f"{name}{suffix}" for place in self.places for suffix in ("", *IMAGE_SUFFIXES))
        there = (path for path in found if os.path.isfile(path))  # not Path.is_file, which raises for some names
        return list(islice(there, 1))


def images_of(places: list[Path]) -> list[Path]:
    """Image files of some folders, not of those within."""
    return [path for place in places for path in list_images(place)]


def find_images(table: Table, index: FileIndex) -> tuple[dict[str, Path], list[DataError]]:
    """Return the file of each row by its name, and faults for rows without one and for files meant by two rows."""
    images: dict[str, Path] = {}
    faults: list[DataError] = []
    lines: dict[Path, int] = {}
    for name, row in table.rows.items():
        found = index.find(name)
        if not found:
            where = ", ".join(str(place) for place in index.places if place.is_dir())
            faults.append(DataError(f"the image {name!r} is not there; looked in {where}", table.path, row.line))
        elif len(found) > 1:
            names = ", ".join(path.name for path in found)
            faults.append(DataError(f"the image {name!r} can mean {names}; add the suffix", table.path, row.line))
        elif found[0] in lines:
            faults.append(
                DataError(f"{name!r} is the same file as the image in line {lines[found[0]]}", table.path, row.line)
            )
        else:
            images[name], lines[found[0]] = found[0], row.line
    return images, faults

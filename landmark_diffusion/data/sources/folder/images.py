"""The image files of the folder dataset: of a table's rows, or of a bare folder."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels.label_source import ImageFolder
from landmark_diffusion.data.readers.dicom import DICOM_SUFFIXES, has_no_suffix
from landmark_diffusion.data.readers.image_io import OTHER_SUFFIXES, other_kinds, other_kinds_note
from landmark_diffusion.data.readers.radiograph import RADIOGRAPH_SUFFIXES, list_radiographs
from landmark_diffusion.data.sources.folder.faults import joined
from landmark_diffusion.data.sources.folder.table import LabelRow, LabelTable

_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_SAME = {".jpeg": ".jpg", ".tiff": ".tif", ".dicom": ".dcm"}


def bare_images(root: Path) -> dict[str, Path]:
    """Return the images of a folder without a table, by the path within the folder where they are.

    Those are the images in ``root``; if there is none, those in ``root/images`` and the folders within; if there is no
    such folder either, those in all folders within ``root``. Hidden folders (thumbnails of a file manager) are passed
    over. Raises DataError if there is none.
    """
    for place, recursive in ((root, False), (root / "images", True), (root, True)):
        names = {path.relative_to(place): path for path in list_radiographs(place, recursive)}
        found = {name.as_posix(): path for name, path in names.items() if not _hidden(name)}
        if found:
            return found
    others = "".join(f"; {each}" for each in other_kinds_note(other_kinds(root, True, RADIOGRAPH_SUFFIXES)))
    expected = ", ".join(RADIOGRAPH_SUFFIXES)
    raise DataError(f"no image found here or in the folders within; expected {expected}{others}", root)


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def images_of(places: list[Path]) -> list[Path]:
    """Image files of some folders, not of those within."""
    return [path for place in places for path in list_radiographs(place)]


class FileIndex:
    """Image files of some folders by name and by stem: one listing each, however many rows ask."""

    def __init__(self, places: list[Path]) -> None:
        self.places = places
        self.by_name: dict[str, Path] = {}
        self.by_stem: dict[str, list[Path]] = {}
        for path in images_of(places):
            if path.name not in self.by_name:
                self.by_name[path.name] = path
                self.by_stem.setdefault(path.name if has_no_suffix(path) else path.stem, []).append(path)
        self._alike: dict[str, dict[str, list[Path]]] = {}
        self._below: list[ImageFolder] | None = None  # listed where a name asks for it

    def find(self, name: str) -> list[Path]:
        """Return the files that a name in the table can mean: none, one, or several of the same stem."""
        if name in self.by_name:
            return [self.by_name[name]]
        if name in self.by_stem:
            return self.by_stem[name]
        found = (place / f"{name}{suffix}" for place in self.places for suffix in ("", *RADIOGRAPH_SUFFIXES))
        there = (path for path in found if os.path.isfile(path))  # not Path.is_file, which raises for some names
        return list(islice(there, 1))

    def alike(self, name: str) -> list[Path]:
        """Return the files whose stems differ from the name's in case, leading zeros or Unicode form alone.

        In the folder that the name tells, with either slash, or in any of the places.
        """
        folder, _, last = name.replace("\\", "/").rpartition("/")
        if folder not in self._alike:
            known = self._alike[folder] = {}
            within = [place / folder for place in self.places if os.path.isdir(place / folder)]
            for path in dict.fromkeys(images_of(within)) if folder else self.by_name.values():
                known.setdefault(loose(path.name), []).append(path)
        return self._alike[folder].get(loose(last), [])

    def below(self, name: str) -> list[Path]:
        """Return the files of a name's last part below the places, as deep as `ldx data convert` looks.

        None where the folder that the name tells is there.
        """
        folder, _, last = name.replace("\\", "/").rpartition("/")
        if folder and any(os.path.isdir(place / folder) for place in self.places):
            return []
        if self._below is None:
            self._below = [ImageFolder(place, naming=False) for place in self.places if os.path.isdir(place)]
        found = (path for within in self._below for path in within.candidates(last))
        return list({os.path.realpath(path): path for path in found}.values())

    def moved(self, name: str) -> list[Path]:
        """Return the files of a name's last part where the folder that it tells is not there: the table was moved."""
        folder, _, last = name.replace("\\", "/").rpartition("/")
        if not folder or any(os.path.isdir(place / folder) for place in self.places):
            return []
        found = (place / last for place in self.places)
        return [path for path in dict.fromkeys(found) if os.path.isfile(path)]


def loose(name: str) -> str:
    """A file's name without its folder, ending, case, leading zeros and Unicode form: what two spellings share."""
    stem = _without_ending(name.replace("\\", "/").rpartition("/")[2])
    return _LEADING_ZEROS.sub("", unicodedata.normalize("NFC", stem).casefold())


def _without_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and stem and f".{ending.lower()}" in (*RADIOGRAPH_SUFFIXES, *OTHER_SUFFIXES) else name


def differences(name: str, file: str) -> list[str]:
    """In what a name in the table differs from a file's: words such as ``case``, ``the ending``, ``leading zeros``."""
    last = name.replace("\\", "/").rpartition("/")[2]
    words = ["the slash"] if "\\" in name else []
    name_stem, file_stem = _without_ending(last), _without_ending(file)
    name_end, file_end = last[len(name_stem) :], file[len(file_stem) :]
    if name_end and name_end.lower() != file_end.lower():
        words.append("the ending")
    composed = [unicodedata.normalize("NFC", stem) for stem in (name_stem, file_stem)]
    if composed != [name_stem, file_stem] and name_stem != file_stem:
        words.append("the Unicode form")
    plain = [_LEADING_ZEROS.sub("", stem) for stem in composed]
    if plain[0].casefold() == plain[1].casefold() and composed[0].casefold() != composed[1].casefold():
        words.append("leading zeros")
    if plain[0] != plain[1] or (name_end.lower() == file_end.lower() and name_end not in ("", file_end)):
        words.append("case")
    return words


@dataclass
class ImageMatch:
    """Which file each row of a table means."""

    images: dict[str, Path]
    faults: list[DataError]
    notes: list[str]
    near: set[Path]
    """Files that a fault names as the nearest, so that they need no fault of their own."""


def find_images(table: LabelTable, index: FileIndex) -> ImageMatch:
    """Find the file of each row: by its exact name, else the one file that differs from it in form or folder alone.

    A name differs in form by case, leading zeros, Unicode form, the kind of slash, or .jpg for .jpeg and .tif for
    .tiff; in its folder where that is not there, as in a table that was made elsewhere, or where it tells none and the
    file lies in a folder below. The file is taken where it alone is like that and no other row means it. Faults are
    gathered: one for all rows that miss their file in the same way.
    """
    match = ImageMatch({}, [], [], set())
    lines: dict[Path, LabelRow] = {}
    left: list[LabelRow] = []
    for name, row in table.rows.items():
        found = index.find(name)
        if not found and "\\" in name:
            found = index.find(name.replace("\\", "/"))
        if not found:
            left.append(row)
        elif len(found) > 1:
            names = ", ".join(path.name for path in found)
            match.faults.append(table.fault(f"the image {name!r} can mean {names}; add the suffix", row))
        elif found[0] in lines:
            same = f"{name!r} is the same file as the image {lines[found[0]].said}"
            match.faults.append(table.fault(same, row))
        else:
            match.images[name], lines[found[0]] = found[0], row
    _match_alike(left, lines, table, index, match)
    return match


def _match_alike(
    left: list[LabelRow], lines: dict[Path, LabelRow], table: LabelTable, index: FileIndex, match: ImageMatch
) -> None:
    """Match what has no file of its exact name, and gather the faults of the rest by their kind."""
    wanted: dict[Path, list[LabelRow]] = {}
    moved = {row.image: index.moved(row.image) for row in left}
    candidates = {row.image: moved[row.image] or index.alike(row.image) for row in left}
    for name in (name for name, paths in candidates.items() if not paths):
        moved[name] = candidates[name] = index.below(name)
    for row in left:
        for path in candidates[row.image]:
            wanted.setdefault(path, []).append(row)
    taken: dict[str, list[tuple[LabelRow, Path]]] = {}
    missing: dict[str, list[tuple[LabelRow, str]]] = {}
    for row in left:
        paths = candidates[row.image]
        words = ["the folder"] if moved[row.image] else differences(row.image, paths[0].name) if paths else []
        how = " and ".join(words)
        if len(paths) == 1 and paths[0] not in lines and len(wanted[paths[0]]) == 1 and _same_kind(row.image, paths[0]):
            match.images[row.image] = paths[0]
            taken.setdefault(how, []).append((row, paths[0]))
            continue
        match.near.update(paths)
        if len(paths) > 1:
            names = ", ".join(str(path) if moved[row.image] else path.name for path in paths[:4])
            kind, near = "many", f"can mean {names}"
        elif paths and paths[0] in lines:
            kind, near = (
                "taken",
                f"could be {paths[0].name}, but that is the image {lines[paths[0]].said.replace('in line', 'of line')}",
            )
        elif paths and len(wanted[paths[0]]) > 1:
            other = next(each for each in wanted[paths[0]] if each is not row)
            kind, near = (
                "claimed",
                f"could be {paths[0].name}, but so could {other.image!r}"
                + (f" in line {other.line}" if other.line else ""),
            )
        elif paths:
            kind, near = f"differs {how}", f"is not there; the nearest file {paths[0].name} differs in {how}"
        else:
            kind, near = "", ""
        missing.setdefault(kind, []).append((row, near))
    for how, pairs in taken.items():
        row, path = pairs[0]
        match.notes.append(
            f"{counted(len(pairs), 'name')} matched although the file differs in {how}: {row.image!r} is "
            f"{(_within(path, index) if moved[row.image] else path.name)!r}" + (", ..." if len(pairs) > 1 else "")
        )
    for rows in missing.values():
        match.faults.append(_missing(rows, table, index))


def _within(path: Path, index: FileIndex) -> str:
    """A file's path in the last of the places that holds it."""
    holding = [place for place in index.places if path.is_relative_to(place)]
    return path.relative_to(max(holding, key=lambda each: len(each.parts))).as_posix() if holding else str(path)


def _same_kind(name: str, path: Path) -> bool:
    """Whether a name has no ending, or the file's; .jpg is .jpeg, .tif is .tiff, and .dcm may stand for no suffix."""
    last = name.replace("\\", "/").rpartition("/")[2]
    ending = last[len(_without_ending(last)) :].lower()
    if ending in DICOM_SUFFIXES and has_no_suffix(path):
        return True
    return not ending or _SAME.get(ending, ending) == _SAME.get(path.suffix.lower(), path.suffix.lower())


def _missing(rows: list[tuple[LabelRow, str]], table: LabelTable, index: FileIndex) -> DataError:
    """One fault for all rows that miss their file in the same way; the first one is told in full."""
    row, near = rows[0]
    where = ", ".join(str(place) for place in index.places if place.is_dir())
    if not near:
        close = _closest(row.image, index)
        near = f"is not there; looked in {where}" + (f"; the nearest file is {close}" if close else "")
    return joined([table.fault(f"the image {each.image!r} {near}", each) for each, _ in rows])


def _closest(name: str, index: FileIndex) -> str | None:
    """The file that is spelt nearest: a few names alone are compared, since each takes its time."""
    last = name.replace("\\", "/").rpartition("/")[2]
    if "/" in name.replace("\\", "/"):
        elsewhere = next((file for file in index.by_name if loose(file) == loose(last)), None)
        if elsewhere is not None:
            return f"{elsewhere}, in another folder than the name says"
    close = get_close_matches(_without_ending(last)[:100], islice(index.by_stem, 2000), n=1, cutoff=0.8)
    return index.by_stem[close[0]][0].name if close else None

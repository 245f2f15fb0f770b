"""The images among which some are chosen: those of a folder or a data set, and which of them have labels already."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted, one_line
from landmark_diffusion.data.checks.samples import root_folder
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.image_io import other_kinds, other_kinds_note
from landmark_diffusion.data.readers.radiograph import (
    RADIOGRAPH_SUFFIXES,
    Radiograph,
    list_radiographs,
    read_radiograph,
)
from landmark_diffusion.data.source import Stage
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.sources.folder.columns import IMAGE_COLUMNS, fold, read_columns
from landmark_diffusion.data.sources.folder.images import loose
from landmark_diffusion.data.sources.folder.text import Cells, read_cells
from landmark_diffusion.data.sources.folder.tool_labels import of_tool, read_tool_labels, tool_of

TABLES, WORKBOOKS = (".csv", ".tsv"), (".xlsx", ".xlsm")
MOST = 4000
"""Images that are looked at: the distances of all to all have to fit in the memory."""


@dataclass(frozen=True)
class PoolImage:
    """One image that may be chosen.

    Attributes:
        name: as tables and ``data.train_images`` name it.
        file: where it lies; the name again where it is made on the spot.
        read: gives its pixels; raises UserError for an image that cannot be used.
    """

    name: str
    file: str
    read: Callable[[], Radiograph]


def folder_images(
    root: Path, results: Path | None, tell: Callable[[str], object], verb: str = "ldx suggest"
) -> list[PoolImage]:
    """List the radiographs of a folder, of any kind that ``ldx detect`` reads, by their path within it.

    Those in ``root``; if there is none, those in ``root/images`` and the folders within; else those in all folders
    within. Hidden folders and ``results`` are passed over. ``tell`` hears of images of other kinds, and of those in
    folders within that are left out. Raises DataError for a folder that is not there or holds none.
    """
    root = root_folder(root, verb)
    for place, recursive in ((root, False), (root / "images", True), (root, True)):
        if not place.is_dir():
            continue
        found = [each for each in list_radiographs(place, recursive) if not _passed_over(each, place, results)]
        if found:
            for line in other_kinds_note(other_kinds(place, recursive, RADIOGRAPH_SUFFIXES)):
                tell(line)
            for line in _left_out(root, place, results) if place != root or not recursive else []:
                tell(line)
            names = [path.relative_to(place).as_posix() for path in found]
            return [PoolImage(name, str(path), _reader(path)) for name, path in zip(names, found, strict=True)]
    raise DataError(f"no radiograph found here or in the folders within ({', '.join(RADIOGRAPH_SUFFIXES)})", root)


def _left_out(root: Path, place: Path, results: Path | None) -> list[str]:
    """Say how many images lie in folders of ``root`` that are not looked at, where those of ``place`` are."""
    inside = sorted((each for each in root.iterdir() if each != place and not each.name.startswith(".")), key=str)
    counts = {}
    for folder in inside:
        if os.path.isdir(folder) and not folder.is_symlink():
            images = list_radiographs(folder, recursive=True)
            counts[folder.name] = sum(not _passed_over(each, folder, results) for each in images)
    names = [f"{one_line(name)}/" for name, count in counts.items() if count]
    if not names:
        return []
    total = sum(counts.values())
    more = ", ..." * (len(names) > 3)
    return [
        f"{counted(total, 'image')} in sub-folders {'is' if total == 1 else 'are'} not looked at "
        f"({', '.join(names[:3])}{more}); for those name the sub-folder"
    ]


def _passed_over(path: Path, place: Path, results: Path | None) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
    return hidden or (results is not None and results.resolve() in path.resolve().parents)


def _reader(path: Path) -> Callable[[], Radiograph]:
    return lambda: read_radiograph(path)


def dataset_images(name: str, root: str | None, split: str | None, part: Stage) -> list[PoolImage]:
    """List the images of a part of a data set by their ids, whether they have labels or not.

    Raises UserError for a data set that cannot be used, or whose part is empty.
    """
    options: dict[str, Any] = {} if split is None else {"split": split}
    source = build_dataset(name, root, **options)
    samples = source.samples(part)
    if not samples:
        raise UserError(f"the {part} part of {name} is empty; name another --part or --data.split")

    def reader(place: int) -> Callable[[], Radiograph]:
        sample = samples[place]
        return lambda: Radiograph(source.load_image(sample), sample.spacing, UNKNOWN_SPACING, (), 8)

    return [
        PoolImage(each.image_id, str(each.image_path or each.image_id), reader(place))
        for place, each in enumerate(samples)
    ]


def own_table(root: Path) -> Path | None:
    """Find the one table beside a folder's images, a workbook where there is no other; None without.

    Raises DataError where there are several.
    """
    files = sorted(each for each in root.iterdir() if not each.name.startswith((".", "~")) and each.is_file())
    kinds = ([each for each in files if each.suffix.lower() in kind] for kind in (TABLES, WORKBOOKS))
    tables = next((each for each in kinds if each), [])
    if len(tables) > 1:
        names = ", ".join(each.name for each in tables[:5])
        raise DataError(
            f"{len(tables)} tables in this folder ({names}); name the one that says which images have labels by "
            "--labelled FILE, or give --labelled none",
            root,
        )
    return tables[0] if tables else None


def own_labels(root: Path) -> Path | None:
    """Find what says which images of a folder have labels: ``own_table``, else labels of a tool; None without.

    Raises DataError where there are several.
    """
    return own_table(root) or of_tool(root, sorted(root.iterdir()))


def labelled_names(table: Path) -> list[str]:
    """Names of the images that a table, or a tool's labels, give points of; all where it has no columns for any.

    Raises DataError for a file that is no table, or has no column with the image.
    """
    if (tool := tool_of(table, None)) is not None:
        return list(read_tool_labels(table.parent, table, tool).rows)
    cells = read_cells(table)
    folded = [fold(each) for each in cells.header]
    image = next((folded.index(fold(each)) for each in IMAGE_COLUMNS if fold(each) in folded), None)
    if image is None:
        raise cells.fault(f"no column with the image; name it {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}")
    points = _point_columns(cells)
    rows = [row for _, row in cells.records if len(row) > image and row[image]]
    marked = [row for row in rows if not points or any(row[place] for place in points if place < len(row))]
    return list(dict.fromkeys(row[image] for row in marked))


def _point_columns(cells: Cells) -> list[int]:
    """Columns with coordinates; none where it is no table of landmarks."""
    try:
        columns = read_columns(cells, "split", None)
    except DataError:
        return []
    return [columns.x, columns.y] if columns.long else [place for pair in columns.pairs for place in (pair.x, pair.y)]


def match_names(images: Sequence[str], labelled: Sequence[str]) -> tuple[set[int], list[str]]:
    """Find the images that labelled names mean: places, and the names that mean none; as ``meant_images``."""
    found = meant_images(images, labelled)
    return {place for places in found.values() for place in places}, [name for name in labelled if not found[name]]


def meant_images(images: Sequence[str], labelled: Sequence[str]) -> dict[str, list[int]]:
    """Find the places of the images that each labelled name means; none where it means none.

    A name means the image of the same name, else all of the same file name, else of the same stem, else the one that
    differs from it in case, leading zeros, ending or Unicode form alone.
    """
    lasts = [_last(each) for each in images]
    ways: tuple[Callable[[str], str], ...] = (str, _last, lambda name: Path(_last(name)).stem)
    indices = [_index([way(each) for each in images]) for way in ways]
    alike, counts = _index(list(map(loose, lasts))), Counter(map(loose, lasts))
    found: dict[str, list[int]] = {}
    for name in labelled:
        places = next((index[way(name)] for index, way in zip(indices, ways, strict=True) if way(name) in index), [])
        places = places or indices[2].get(_last(name), [])  # a name without ending that has a dot within
        key = loose(_last(name))
        found[name] = places or (alike[key] if counts[key] == 1 else [])
    return found


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _index(keys: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return found


def drawn(images: Sequence[PoolImage], labelled: set[int], seed: int, most: int = MOST) -> list[int]:
    """Places of the images that are looked at: all, or of too many a draw that holds those with labels, in order."""
    if len(images) <= most:
        return list(range(len(images)))
    others = [place for place in range(len(images)) if place not in labelled]
    room = max(most - len(labelled), most // 2)
    taken = np.random.default_rng(seed).permutation(others)[:room]
    return sorted([*labelled, *map(int, taken)])

"""The column of a table that divides the images into train, val and test, and the patients that it may tear apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.sources.folder.columns import Columns
from landmark_diffusion.data.sources.folder.text import Cells, Record

STAGE_NAMES: Mapping[str, Literal["train", "val", "test"]] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Values that a split column may have, in lower case."""

_WORDS = {"split", "splits", "fold", "folds", "partition", "subset", "cv"}
_PART = re.compile(r"(is|in)?_?(train|training|test|testing|val|valid|validation|holdout)_?(set)?", re.IGNORECASE)


def find_split(cells: Cells, columns: Columns, records: Sequence[Record]) -> tuple[int | None, DataError | None]:
    """Return the place of the one column, not named ``split``, that divides the images, or why none can be taken.

    A column does so where each cell is a word of ``STAGE_NAMES`` and two parts are there; one that is named like a
    split, or of which half of the cells are such words, only looks like one: an error, as are two that disagree.
    """
    used = columns.used()
    free = [place for place, name in enumerate(columns.header) if name and place not in used]
    several: dict[int, list[str]] = {}
    for place in free:
        kinds = {row[place].lower() for _, row in records} - {""}
        if len(kinds) > 1 and (kinds & STAGE_NAMES.keys() or _named_like_split(columns.header[place])):
            several[place] = [row[place].lower() for _, row in records]
    whole = [place for place, column in several.items() if _is_split(column)]
    names = columns.header
    if len(whole) > 1 and any(_parts(several[place]) != _parts(several[whole[0]]) for place in whole[1:]):
        found = " and ".join(repr(names[place]) for place in whole)
        return None, cells.fault(
            f"the columns {found} divide the images in different ways; name the one that counts by "
            "data.dataset_options.split_column"
        )
    if whole:
        return whole[0], None
    for place, column in several.items():
        if _looks_like_split(names[place], column):
            found = ", ".join(map(repr, sorted(set(column))[:4]))
            return None, cells.fault(
                f"the column {names[place]!r} looks like a split, but holds {found}; expected train, val (valid, "
                "validation) or test in each row. Mend or rename it, or divide at random by --data.split seeded"
            )
    return None, None


def _parts(column: Iterable[str]) -> list[str]:
    return [STAGE_NAMES[value] for value in column]


def _is_split(column: Sequence[str]) -> bool:
    return all(value in STAGE_NAMES for value in column) and len(set(_parts(column))) > 1


def _named_like_split(name: str) -> bool:
    words = set(re.split(r"[\s_\-.]+", name.lower()))
    return bool(words & _WORDS or _PART.fullmatch(name))


def _looks_like_split(name: str, column: Sequence[str]) -> bool:
    filled = [value for value in column if value]
    return _named_like_split(name) or 2 * sum(value in STAGE_NAMES for value in filled) >= len(filled)


def too_few_patients(count: int, images: int, fractions: Sequence[float], source: str, advice: str) -> str | None:
    """Say that a column (``source``) has fewer patients than parts to fill; None where there are enough, or below ten
    images."""
    parts = sum(share > 0 for share in fractions)
    if count >= parts or images < 10:
        return None
    return (
        f"{source} has {counted(count, 'value')} for {images} images; all images of a patient go to one part, so "
        f"{parts} parts cannot be filled; {advice}"
    )


def uneven_parts(
    parts: Mapping[str, Sequence[str]], fractions: Mapping[str, float], source: str, advice: str
) -> str | None:
    """Say that whole patients make parts of quite another size than was asked for: by over 15 % of all images."""
    total = sum(map(len, parts.values()))
    if not any(abs(len(parts[part]) - share * total) > max(3.0, 0.15 * total) for part, share in fractions.items()):
        return None
    shares = ", ".join(f"{part} {len(images)}" for part, images in parts.items())
    return f"the split is uneven ({shares}), since all images with one value of {source} go to one part; {advice}"


def torn_patients(parts: Mapping[str, Sequence[str]], patients: Mapping[str, str]) -> str | None:
    """Say which patients have images in two parts or more of a split; None where none has.

    ``patients`` gives the patient of those images of which it is known.
    """
    places: dict[str, set[str]] = {}
    for part, images in parts.items():
        for image in images:
            if image in patients:
                places.setdefault(patients[image], set()).add(part)
    torn = {patient: found for patient, found in places.items() if len(found) > 1}
    if not torn:
        return None
    patient, found = next(iter(torn.items()))
    where = " and ".join(part for part in parts if part in found)
    others = f" and {len(torn) - 1} others like that" if len(torn) > 1 else ""
    return (
        f"the split tears patients apart: {patient!r} has images in {where}{others}; results on images of patients "
        "that were trained on come out too good"
    )

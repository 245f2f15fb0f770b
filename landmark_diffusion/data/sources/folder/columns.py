"""What each column of a table means, in the spellings that programs and people write; docs/csv.md lists them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.core.suggestions import nearest, question
from landmark_diffusion.data.readers.radiograph import RADIOGRAPH_SUFFIXES
from landmark_diffusion.data.sources.folder.numbers import looks_like_number
from landmark_diffusion.data.sources.folder.text import Cells

IMAGE_COLUMNS = (
    "image", "image_id", "filename", "file_name", "file", "id", "image_name", "image_file", "image_path", "file_path",
    "path", "img",
)  # fmt: skip
"""Names that the column with the image may have; the first one found counts."""

LANDMARK_COLUMNS = ("landmark", "landmark_name", "landmark_id", "point", "point_name", "keypoint")
ANNOTATOR_COLUMNS = ("annotator", "annotator_id", "observer", "rater", "reader")
FLAG_COLUMN, ABSENT = "flag", "absent"
"""What is said of a point of a long table, and the word for one that is not in the image."""
SAID_COLUMNS = (FLAG_COLUMN, "origin", "time", "score")
"""Columns beside the point, each optional, that say something of it."""
PATIENT_COLUMNS = (
    "patient", "patient_id", "patient_no", "patient_name", "subject", "subject_id", "person", "person_id", "group",
    "group_id",
)  # fmt: skip
SPACING_COLUMNS = (
    "spacing", "pixel_spacing", "pixel_size", "px_size", "image_spacing", "mm_per_pixel", "mm_per_px", "mm/pixel",
    "mm/px", "spacing_mm_per_pixel", "spacing_mm_per_px", "spacing_mm/pixel", "spacing_mm/px",
)  # fmt: skip
SIZE_COLUMNS = {"width": ("width", "image_width", "img_width"), "height": ("height", "image_height", "img_height")}

_MM = re.compile(r"[\s_\-]*[(\[](mm|mm\s*/\s*(px|pixel)|mm per (px|pixel))[)\]]$|[\s_\-]+mm$", re.IGNORECASE)
_PX = re.compile(r"[\s_\-]*[(\[](px|pixels?)[)\]]$|[\s_\-]+(px|pixels?)$", re.IGNORECASE)
_OTHER_UNIT = re.compile(
    r"[\s_\-]*[(\[](mm|cm|m|um|\u00b5m|\u03bcm|%|in|inch|inches|norm|normalized|normalised|rel|relative)[)\]]$"
    r"|[\s_\-]+(mm|cm|um|norm|normalized|normalised|rel|relative|pct|percent)$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"([xy])[\s_\-.]?(\d{1,9})", re.ASCII | re.IGNORECASE)
_SUFFIX = re.compile(r"(.+?)[\s_\-.:/]+\(?([xy])\)?|(.+?)[(\[]([xy])[)\]]", re.DOTALL | re.IGNORECASE)
_PREFIX = re.compile(r"([xy])[\s_\-.:/]+(.+)|([xy])[(\[](.+)[)\]]", re.DOTALL | re.IGNORECASE)
_CAPITAL = re.compile(r"(.*[a-z0-9])([XY])", re.DOTALL)
_GLUED = re.compile(r"(.+)([xy])", re.DOTALL | re.IGNORECASE)
_SEPARATORS = re.compile(r"(?<!\d)[\s_\-.]+|[\s_\-.]+(?!\d)")
_X_RAY = re.compile(r"x[\s_\-]?ray", re.IGNORECASE)
_SPACING_LIKE = re.compile(
    r"spacing|resolution|dpi|ppi|(mm|cm|um|\u00b5m)(per|/)(px|pixels?|dots?)|(px|pixels?|dots?)(per|/)(mm|cm|um|inch)"
    r"|(px|pixels?)(size|pitch|width|height|length)|scale|scalefactor|scaling|magnification|mm(per|/)?(px|pixels?)"
)
_OF_POINTS_CSV = frozenset(("spacing_source",))  # ours, of `ldx detect`: points.csv can be corrected and read again


class Pair(NamedTuple):
    """A landmark's name and the places of its two columns."""

    name: str
    x: int
    y: int


@dataclass
class Columns:
    """Places of the columns by their meaning; None where a table has no such column."""

    header: list[str]
    image: int
    long: bool
    pairs: list[Pair] = field(default_factory=list)
    landmark: int = -1
    annotator: int | None = None
    x: int = -1
    y: int = -1
    spacing: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    part: int | None = None
    patient: int | None = None
    flag: int | None = None

    def used(self) -> set[int]:
        """Places of all columns that are read."""
        single = {self.image, self.landmark, self.x, self.y, self.annotator, self.part, self.patient}
        return {place for place in single if place is not None and place >= 0} | {
            *self.spacing, *self.size, *(place for pair in self.pairs for place in (pair.x, pair.y))
        }  # fmt: skip

    def numbers(self) -> list[int]:
        """Places of the columns that hold numbers."""
        points = [self.x, self.y] if self.long else [place for pair in self.pairs for place in (pair.x, pair.y)]
        return [*points, *self.spacing, *self.size]


def read_columns(cells: Cells, split_column: str, patient_column: str | None) -> Columns:
    """Tell what each column means; raises DataError where the header is no table of landmarks, says a thing twice, or
    has a column that looks like a spacing or a coordinate and cannot be read as one."""
    header = cells.header
    keys = [fold(name) for name in header]
    image = _place(IMAGE_COLUMNS, keys)
    if image is None:  # before all else: of a row of values nothing can be said
        raise _no_image_column(cells)
    _refuse_repeated(cells)
    part = next((place for place, name in enumerate(header) if name.lower() == split_column.lower()), None)
    patient = _patient(cells, keys, patient_column)
    spacing, size = _spacing(cells), _size(cells)
    landmark = _place(LANDMARK_COLUMNS, keys)
    x, y = _axis(cells, "x"), _axis(cells, "y")
    columns = Columns(header, image, False, spacing=spacing, size=size, part=part, patient=patient)
    if landmark is not None and x is not None and y is not None:
        columns.long, columns.landmark, columns.x, columns.y = True, landmark, x, y
        columns.annotator = _place(ANNOTATOR_COLUMNS, keys)
        columns.flag = _place((FLAG_COLUMN,), keys)
        _refuse_pairs_beside_long(cells, columns)
    else:
        columns.pairs = _pairs(cells, columns.used())
    _refuse_spacing_like(cells, columns)
    return columns


def fold(name: str) -> str:
    """A column's or landmark's name without what people write differently: case, Unicode form, and separators.

    A separator between two digits stays: 1_1 is not 11.
    """
    return _SEPARATORS.sub("", unicodedata.normalize("NFC", name).casefold())


def _place(names: Sequence[str], keys: Sequence[str]) -> int | None:
    """Place of the first of ``names`` that is there."""
    return next((keys.index(fold(name)) for name in names if fold(name) in keys), None)


def _refuse_repeated(cells: Cells) -> None:
    lower = [name.lower() for name in cells.header]
    for name in lower:
        if name and lower.count(name) > 1:
            raise cells.fault(f"the column {name!r} is there twice")


def _no_image_column(cells: Cells) -> DataError:
    """The header that is no header: missing, further down, or with another name for the image."""
    header = cells.header
    expected = "expected a header line with 'image' and x1,y1,... or name_x,name_y,... (wide), or landmark,x,y (long)"
    rest = [cell for cell in header[1:] if cell]
    names_image = any(cell.lower().endswith(RADIOGRAPH_SUFFIXES) for cell in header)
    if names_image or (rest and sum(map(looks_like_number, rest)) > len(rest) / 2):
        return cells.fault(f"the header line is missing: found {shown(header)}; {expected}")
    for lower, row in cells.records[:20]:
        if _place(IMAGE_COLUMNS, [fold(cell) for cell in row]) is not None:
            return cells.fault(f"the header seems to stand in line {lower}; remove what is above it")
    if len(header) == 1:
        expected = f"cells separated by commas, semicolons or tabs; {expected}"
    named = f"name it {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}"
    return cells.fault(f"no column for the image: found {shown(header)}, {expected}; {named}")


def _patient(cells: Cells, keys: list[str], wanted: str | None) -> int | None:
    if wanted is None:
        return _place(PATIENT_COLUMNS, keys)
    if fold(wanted) not in keys and wanted == "none":
        return None
    if fold(wanted) not in keys:
        raise cells.fault(f"patient_column: no column {wanted!r}.{nearest_column(wanted, cells.header)}")
    return keys.index(fold(wanted))


_SPACING_KEYS = frozenset(map(fold, SPACING_COLUMNS))


def _spacing(cells: Cells) -> tuple[int, ...]:
    """Place of the spacing, or of the one along x and the one along y."""
    header = cells.header
    found: dict[str, list[int]] = {"": [], "x": [], "y": []}
    for place, name in enumerate(header):
        key = fold(_MM.sub("", name))
        for axis, kind in (("", key), (key[-1:], key[:-1]), (key[:1], key[1:])):
            if kind in _SPACING_KEYS and axis in ("", "x", "y"):
                found[axis].append(place)
                break
    for places in found.values():
        if len(places) > 1:
            raise _twice(cells, places[0], places[1], "the spacing")
    both, x, y = (places[0] if places else None for places in found.values())
    along = _both_or_none(cells, (x, y), ("spacing_x", "spacing_y"))
    if both is not None and along:
        raise _twice(cells, both, along[0], "the spacing")
    return along if both is None else (both,)


def _both_or_none(cells: Cells, places: tuple[int | None, int | None], names: tuple[str, str]) -> tuple[int, ...]:
    """Places of two columns that belong together; none where neither is there."""
    for have, missing, name in ((*places, names[1]), (*places[::-1], names[0])):
        if have is not None and missing is None:
            raise cells.fault(f"found the column {cells.header[have]!r} without {name!r}")
    return tuple(place for place in places if place is not None)


def _twice(cells: Cells, first: int, second: int, what: str) -> DataError:
    names = f"{cells.header[first]!r} and {cells.header[second]!r}"
    return cells.fault(f"the columns {names} both say {what}; remove one of them")


def _size(cells: Cells) -> tuple[int, ...]:
    keys = [fold(_PX.sub("", name)) for name in cells.header]
    width, height = (_place(SIZE_COLUMNS[side], keys) for side in ("width", "height"))
    return _both_or_none(cells, (width, height), ("width", "height"))


def _axis(cells: Cells, axis: str) -> int | None:
    """Place of a column ``x`` or ``y`` alone, with or without the unit px."""
    found = [place for place, name in enumerate(cells.header) if _PX.sub("", name).lower() == axis]
    if len(found) > 1:
        raise _twice(cells, found[0], found[1], axis)
    return found[0] if found else None


@dataclass
class _Axes:
    """The columns of one landmark by axis, and how sure the spelling is."""

    name: str
    places: dict[str, int] = field(default_factory=dict)


def _pairs(cells: Cells, taken: set[int]) -> list[Pair]:
    """Return each landmark with its two columns, numbered ones by number, else in the header's order."""
    header = cells.header
    numbered: dict[str, _Axes] = {}
    named: dict[str, _Axes] = {}
    glued = _glued_pairs(header, taken)
    for place, name in enumerate(header):
        if place in taken:
            continue
        bare = _PX.sub("", name)
        _refuse_lone_axis(cells, name)
        if match := _NUMBERED.fullmatch(bare):
            number = str(int(match[2]))
            _add(cells, numbered.setdefault(number, _Axes(number)), match[1].lower(), place)
        elif (found := glued.get(place) or _named(bare)) is not None:
            _add(cells, named.setdefault(fold(found[0]), _Axes(found[0])), found[1], place)
    if numbered and named:
        first, second = (header[next(iter(next(iter(kind.values())).places.values()))] for kind in (numbered, named))
        raise cells.fault(
            f"found both numbered columns ({first!r}) and named ones ({second!r}), expected one kind: rename or remove "
            "the others"
        )
    found_axes = [numbered[key] for key in sorted(numbered, key=int)] if numbered else list(named.values())
    for axes in found_axes:
        if len(axes.places) != 2:
            place = next(iter(axes.places.values()))
            raise cells.fault(f"the column {header[place]!r} has no partner for the other axis")
    if not found_axes:
        raise cells.fault(
            f"no landmark columns: found {shown(header)}, expected x1,y1,x2,y2,... or name_x,name_y,... (wide), "
            "or landmark,x,y (long)"
        )
    return [Pair(axes.name, axes.places["x"], axes.places["y"]) for axes in found_axes]


def _named(name: str) -> tuple[str, str] | None:
    """Landmark and axis of ``nasion_x``, ``nasion x``, ``nasion (x)``, ``x_nasion`` and ``nasionX``; None for else."""
    if _X_RAY.match(name):
        return None
    if match := _SUFFIX.fullmatch(name):
        landmark, axis = (match[1], match[2]) if match[1] else (match[3], match[4])
    elif match := _PREFIX.fullmatch(name):
        landmark, axis = (match[2], match[1]) if match[2] else (match[4], match[3])
        if landmark.lower() in ("min", "max"):  # the corners of a box
            return None
    elif match := _CAPITAL.fullmatch(name):
        landmark, axis = match[1], match[2]
    else:
        return None
    landmark = landmark.strip(" _-.:/")
    return (landmark, axis.lower()) if landmark else None


def _glued_pairs(header: Sequence[str], taken: set[int]) -> dict[int, tuple[str, str]]:
    """Landmark and axis of ``nasionx`` where ``nasiony`` is there too: alone it may be any word (``sex``)."""
    free = [place for place in range(len(header)) if place not in taken]
    ends: dict[tuple[str, str], int] = {}
    for place in free:
        bare = _PX.sub("", header[place])
        if (match := _GLUED.fullmatch(bare)) and not _NUMBERED.fullmatch(bare) and _named(bare) is None:
            ends[match[1].lower(), match[2].lower()] = place
    return {
        place: (_PX.sub("", header[place])[:-1], axis)
        for (stem, axis), place in ends.items()
        if (stem, "x" if axis == "y" else "y") in ends
    }


def _refuse_lone_axis(cells: Cells, name: str) -> None:
    """Refuse, in the wide form, x or y without a landmark, and a coordinate in mm, percent or shares of the image."""
    bare = _OTHER_UNIT.sub("", name)
    if bare != name and (_NUMBERED.fullmatch(bare) or _named(bare) or bare.lower() in ("x", "y")):
        raise cells.fault(
            f"the column {name!r} looks like a coordinate in another unit; expected pixels of the image: convert it, "
            "or rename the column where it is something else"
        )
    if _PX.sub("", name).lower() in ("x", "y"):
        raise cells.fault(
            f"the column {name!r} names no landmark; expected x1,y1,x2,y2,... or name_x,name_y,... (wide), or a column "
            "'landmark' beside x and y (long)"
        )


def _refuse_pairs_beside_long(cells: Cells, columns: Columns) -> None:
    """Refuse x1 or nasion_x beside landmark, x and y; x_mm and y_mm, which say the same again, are only not used."""
    used = columns.used()
    for place, name in enumerate(columns.header):
        bare = _OTHER_UNIT.sub("", _PX.sub("", name))
        if place not in used and (_NUMBERED.fullmatch(bare) or _named(bare)):
            raise cells.fault(
                f"the column {name!r} looks like a coordinate beside the columns {columns.header[columns.landmark]!r}, "
                "x and y; write its points as rows, or rename or remove the column"
            )


def _add(cells: Cells, axes: _Axes, axis: str, place: int) -> None:
    """Note the column of one axis; x1, x01 and x_1 are the same one, of which all but the last would be lost."""
    if axis in axes.places:
        first, second = cells.header[axes.places[axis]], cells.header[place]
        raise cells.fault(f"the columns {first!r} and {second!r} are the same coordinate")
    axes.places[axis] = place


def _refuse_spacing_like(cells: Cells, columns: Columns) -> None:
    """Refuse a spacing under a name, or in a unit, that is not read: the errors would be in px, or wrong in mm."""
    used = columns.used()
    for place, name in enumerate(columns.header):
        key = re.sub(r"[()\[\]]", "", fold(name))
        words = re.split(r"[\s_\-.()\[\]]+", name.lower())
        like = _SPACING_LIKE.fullmatch(key) or {"spacing", "resolution", "dpi", "ppi"} & set(words)
        if place not in used and like and name.lower() not in _OF_POINTS_CSV:
            raise cells.fault(
                f"the column {name!r} looks like a spacing, which is read from 'spacing', or 'spacing_x' and "
                "'spacing_y', in mm a pixel; convert or rename it, or remove the column"
            )


def unused_columns(columns: Columns, records: Iterable[tuple[int, list[str]]]) -> list[str]:
    """Names of the columns that hold something and are not read; one without a name by its place."""
    used = columns.used()
    named = [place for place, name in enumerate(columns.header) if name and place not in used]
    nameless = {place for place, name in enumerate(columns.header) if not name}
    filled = {place for _, cells in records for place in nameless if cells[place]} if nameless else set()
    places = sorted({*named, *filled})
    return [_printable(columns.header[place]) or f"(column {place + 1}, without a name)" for place in places]


def shown(names: Sequence[str]) -> str:
    """The first names of a header."""
    texts = [_printable(name) for name in names[:8]]
    return ", ".join(texts) + (f", ... ({len(names)} columns)" if len(names) > 8 else "")


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


def nearest_column(name: str, columns: Iterable[str]) -> str:
    """Return `` Did you mean A?`` for a column that is not there, or the columns' names."""
    columns = list(columns)
    return question([repr(each) for each in nearest(name, columns, 1)]) or f" Columns: {shown(columns)}."

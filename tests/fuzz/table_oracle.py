"""What a folder's CSV says, by the rules of docs/csv.md: an independent reader for the fuzzer of FolderDataset."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.harness import number, on_image

IMAGES = [
    "image", "imageid", "filename", "file", "id", "imagename", "imagefile", "imagepath", "filepath", "path", "img",
]  # fmt: skip
LANDMARKS = ["landmark", "landmarkname", "landmarkid", "point", "pointname", "keypoint"]
ANNOTATORS = ["annotator", "annotatorid", "observer", "rater", "reader"]
PATIENTS = [
    "patient", "patientid", "patientno", "patientname", "subject", "subjectid", "person", "personid", "group",
    "groupid",
]  # fmt: skip
SPACINGS = [
    "spacing", "pixelspacing", "pixelsize", "pxsize", "imagespacing", "mmperpixel", "mmperpx", "mm/pixel", "mm/px",
    "spacingmmperpixel", "spacingmmperpx", "spacingmm/pixel", "spacingmm/px",
]  # fmt: skip
MISSING = ("", "na", "n/a", "#n/a", "nan", "none", "null", "-", "--", "\u2013", "\u2014")
PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
         "test": "test", "testing": "test"}  # fmt: skip
Point = tuple[float, float]


class Wrong(Exception):
    """The table cannot be meant as it stands."""


@dataclass
class Said:
    """What a row says of one image; ``points`` by (annotator, landmark), without those that are missing."""

    points: dict[tuple[str, str], Point]
    spacing: Point | None
    part: str | None
    patient: str


def read(data: bytes, sizes: dict[str, tuple[int, int]]) -> tuple[dict[str, Said], list[str]]:
    """Read a table about files of these ``sizes``: what it says of each, and unused columns; raises Wrong."""
    header, rows = _rows(data)
    roles = _Roles(header, rows)
    value = _number_reader([row[place] for row in rows for place in roles.numbers])
    found: dict[str, Said] = {}
    files = _files([row[roles.image] for row in rows], sizes)
    for cells in rows:
        file = files[cells[roles.image]]
        said = roles.about(cells, sizes[file], value)
        known = found.setdefault(file, said)
        _need(roles.long or known is said)  # one row an image
        _need((known.spacing, known.part, known.patient) == (said.spacing, said.part, said.patient))
        for who, name, x, y in roles.marks(cells):
            _need((who, name) not in known.points and who != "" and name != "")
            known.points[who, name] = _point(cells[x], cells[y], sizes[file], value)
    if roles.long:
        _refuse_alike(found)
    for said in found.values():
        said.points = {key: point for key, point in said.points.items() if point == point}
        _need(len(said.points) > 0)
    _need(len({said.spacing is None for said in found.values()}) == 1)
    return found, roles.unused


_NOWHERE = (float("nan"), float("nan"))


def _need(condition: bool) -> None:
    if not condition:
        raise Wrong


def _text(data: bytes) -> str:
    """UTF-8, UTF-16 by its mark or its zero bytes, or Windows-1252 where nothing is UTF-8 beyond ASCII."""
    _need(not data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF", b"\x1f\x8b")))
    zeros = [byte == 0 for byte in data[:4]]
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = data.decode("utf-16")
        elif len(data) % 2 == 0 and len(data) > 3 and zeros in ([0, 1, 0, 1], [0, 1, 1, 1]):
            text = data.decode("utf-16-le")
        elif len(data) % 2 == 0 and len(data) > 3 and zeros in ([1, 0, 1, 0], [1, 0, 1, 1]):
            text = data.decode("utf-16-be")
        else:
            text = _eight_bits(data)
    except UnicodeDecodeError:
        raise Wrong from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    _need(not re.match(r"(?i)\s*<(!doctype|html|\?xml|table|head|meta|style)", text))
    return text


def _eight_bits(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        _need(all(ord(letter) < 128 for letter in data.decode("utf-8", errors="ignore")))
        return data.decode("cp1252")


def _rows(data: bytes) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of its length; raises Wrong where a row has more or fewer cells that say something."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", _text(data))
    while lines and not lines[0].strip():
        del lines[0]
    _need(bool(lines))
    separator = max(",", ";", "\t", "|", key=lines[0].count)
    first = lines[0].strip(" \n").removeprefix('"')
    if first[:4].lower() == "sep=" and len(first) > 4 and not first[5:].removeprefix('"').strip(first[4]):
        _need(first[4] in ",;\t|")
        separator = first[4]
        del lines[0]
    try:
        cut = [[cell.strip() for cell in line] for line in csv.reader(lines, delimiter=separator, strict=True)]
    except csv.Error:
        raise Wrong from None
    rows = [row for row in cut if any(row)]
    _need(len(rows) > 1)
    width = len(rows[0])
    _need(all(len(row) >= width and not any(row[width:]) for row in rows))
    return rows[0], [row[:width] for row in rows[1:]]


def bare(name: str) -> str:
    """A name without case, Unicode form, and separators other than those between two digits."""
    letters = unicodedata.normalize("NFC", name).casefold()
    groups = re.split(r"([\s_\-.]+)", letters)
    kept = groups[0]
    for gap, word in zip(groups[1::2], groups[2::2], strict=True):
        between_digits = re.search(r"\d\Z", kept) and re.match(r"\d", word)
        kept += (gap if between_digits else "") + word
    return kept


class _Roles:
    """Which columns a table has."""

    def __init__(self, header: list[str], rows: list[list[str]]) -> None:
        self.header = header
        _need(max(Counter(name.lower() for name in header if name).values(), default=1) == 1)
        self.keys = [bare(name) for name in header]
        image = self._one_of(IMAGES)
        _need(image is not None)
        assert image is not None
        self.image, self.patient = image, self._one_of(PATIENTS)
        self.split = next((place for place, name in enumerate(header) if name.lower() == "split"), None)
        self.spacing = self._spacing()
        unitless = [bare(_without_px(name)) for name in header]
        width, height = (
            next((unitless.index(n) for n in (side, f"image{side}", f"img{side}") if n in unitless), None)
            for side in ("width", "height")
        )
        _need((width is None) == (height is None))
        self.size = [] if width is None or height is None else [width, height]
        landmark = self._one_of(LANDMARKS)
        axes = [[place for place, name in enumerate(header) if _without_px(name).lower() == a] for a in "xy"]
        _need(max(map(len, axes)) < 2)
        self.long = landmark is not None and all(axes)
        taken = {self.image, self.patient, self.split, *self.spacing, *self.size}
        self.pairs: dict[str, tuple[int, int]] = {}
        if self.long:
            self.landmark, self.annotator = landmark, self._one_of(ANNOTATORS)
            self.x, self.y = axes[0][0], axes[1][0]
            self.numbers = [self.x, self.y, *self.spacing, *self.size]
            taken |= {landmark, self.annotator, self.x, self.y}
            _need(not any(_like_point(name) for place, name in enumerate(header) if place not in taken))
        else:
            self.pairs = _pairs(header, taken)
            self.numbers = [*(place for pair in self.pairs.values() for place in pair), *self.spacing, *self.size]
            taken |= {place for pair in self.pairs.values() for place in pair}
        left = [place for place, name in enumerate(header) if name and place not in taken]
        _need(not any(_like_spacing(header[place]) for place in left))
        if self.split is None:
            self.split = _split(header, rows, left)
        self.unused = [header[place] for place in left if place != self.split]

    def _one_of(self, names: list[str]) -> int | None:
        return next((self.keys.index(name) for name in names if name in self.keys), None)

    def _spacing(self) -> list[int]:
        found: dict[str, list[int]] = {"": [], "x": [], "y": []}
        for place, name in enumerate(self.header):
            key = bare(re.sub(r"(?i)[\s_\-]*[(\[]mm(\s*/\s*| per )?(?(1)(px|pixel))[)\]]$|[\s_\-]+mm$", "", name))
            for axis in found:
                if key in {kind + axis for kind in SPACINGS} | {axis + kind for kind in SPACINGS}:
                    found[axis].append(place)
        both, x, y = found.values()
        _need((len(both), len(x), len(y)) in ((0, 0, 0), (1, 0, 0), (0, 1, 1)))
        return both + x + y

    def marks(self, cells: list[str]) -> list[tuple[str, str, int, int]]:
        """Annotator, landmark and columns of each point of a row."""
        if not self.long:
            return [("annotator", name, x, y) for name, (x, y) in self.pairs.items()]
        assert self.landmark is not None
        who = "annotator" if self.annotator is None else cells[self.annotator]
        return [(who, cells[self.landmark], self.x, self.y)]

    def about(self, cells: list[str], size: tuple[int, int], value: Callable[[str], float | None]) -> Said:
        """What a row says of the image."""
        about = [cells[place] for place in self.spacing]
        sides = [cells[place] for place in self.size]
        for group in (about, sides):
            _need(len({text.lower() in MISSING for text in group}) < 2)
        spacing = [value(text) for text in about if text.lower() not in MISSING]
        side = [value(text) for text in sides if text.lower() not in MISSING]
        _need(all(each is not None and each > 0 for each in (*spacing, *side)))
        _need(not side or tuple(side) == size)
        part = None
        if self.split is not None:
            _need(cells[self.split].lower() in PARTS)
            part = PARTS[cells[self.split].lower()]
        patient = "" if self.patient is None else cells[self.patient]
        both = (spacing * 2)[:2] if spacing else None
        return Said({}, both and (both[0], both[1]), part, "" if patient.lower() in MISSING else patient)  # type: ignore


def _without_px(name: str) -> str:
    return re.sub(r"(?i)[\s_\-]*[(\[](px|pixels?)[)\]]$|[\s_\-]+(px|pixels?)$", "", name)


_UNITS = "mm|cm|um|norm|normali[sz]ed|rel|relative"


def _without_unit(name: str) -> str:
    bracket = rf"[\s_\-]*[(\[]({_UNITS}|m|\u00b5m|\u03bcm|%|in|inch|inches)[)\]]"
    return re.sub(rf"(?i)({bracket}|[\s_\-]+({_UNITS}|pct|percent))$", "", name)


def _axis(name: str) -> tuple[str, str, bool] | None:
    """Landmark, axis, and whether it is numbered; None where a column's name is no coordinate's."""
    if match := re.fullmatch(r"(?i)([xy])[\s_\-.]?([0-9]{1,9})", name):
        return str(int(match[2])), match[1].lower(), True
    if re.match(r"(?i)x[\s_\-]?ray", name):
        return None
    for pattern in (
        r"(?is)(?P<n>.+?)[\s_\-.:/]+\(?(?P<a>[xy])\)?", r"(?is)(?P<n>.+?)[(\[](?P<a>[xy])[)\]]",
        r"(?is)(?P<a>[xy])[\s_\-.:/]+(?P<n>.+)", r"(?is)(?P<a>[xy])[(\[](?P<n>.+)[)\]]",
        r"(?s)(?P<n>.*[a-z0-9])(?P<a>[XY])",
    ):  # fmt: skip
        if match := re.fullmatch(pattern, name):
            landmark = match["n"].strip(" _-.:/")
            if landmark.lower() in ("min", "max") and match["a"] == name[0]:
                return None
            return (landmark, match["a"].lower(), False) if landmark else None
    return None


def _like_point(name: str) -> bool:
    return _axis(_without_unit(_without_px(name))) is not None


def _pairs(header: list[str], taken: set[int | None]) -> dict[str, tuple[int, int]]:
    """Columns of each landmark: all numbered or all named, each axis once."""
    free = {place: _without_px(name) for place, name in enumerate(header) if place not in taken}
    for place in free:
        plain = _without_unit(header[place])
        _need(plain == header[place] or not (_axis(plain) or plain.lower() in ("x", "y")))
        _need(free[place].lower() not in ("x", "y"))
    said = {place: _axis(name) for place, name in free.items()}
    glued = {free[p].lower(): p for p, axis in said.items() if axis is None and len(free[p]) > 1}
    for name, place in glued.items():
        if name[-1] in "xy" and name[:-1] + "yx"["xy".index(name[-1])] in glued:
            said[place] = (free[place][:-1], name[-1], False)
    found: dict[tuple[bool, str], dict[str, int]] = {}
    names: dict[tuple[bool, str], str] = {}
    for place, axis in said.items():
        if axis is not None:
            key = (axis[2], axis[0] if axis[2] else bare(axis[0]))
            names.setdefault(key, axis[0])
            _need(axis[1] not in found.setdefault(key, {}))
            found[key][axis[1]] = place
    _need(len({kind for kind, _ in found}) == 1 and all(len(axes) == 2 for axes in found.values()))
    return {names[key]: (axes["x"], axes["y"]) for key, axes in found.items()}


def _like_spacing(name: str) -> bool:
    key = bare(name).translate({ord(each): None for each in "()[]"})
    words = re.split(r"[\s_\-.()\[\]]+", name.lower())
    if name.lower() == "spacing_source":
        return False
    per = re.fullmatch(r"(mm|cm|um|\u00b5m)(per|/)?(px|pixels?|dots?)|(px|pixels?|dots?)(per|/)(mm|cm|um|inch)", key)
    side = re.fullmatch(r"(px|pixels?)(size|pitch|width|height|length)", key)
    per_unit = per is not None and ("per" in key or "/" in key or key in ("mmpx", "mmpixel", "mmpixels"))
    whole = ("spacing", "resolution", "dpi", "ppi", "scale", "scalefactor", "scaling", "magnification")
    return per_unit or side is not None or key in whole or any(word in whole[:4] for word in words)


def _split(header: list[str], rows: list[list[str]], left: list[int]) -> int | None:
    """The one column that divides the images; raises Wrong where one only looks like that, or two disagree."""
    whole, doubtful = [], False
    for place in left:
        cells = [row[place].lower() for row in rows]
        filled = [cell for cell in cells if cell]
        known = [cell for cell in filled if cell in PARTS]
        words = re.split(r"[\s_\-.]+", header[place].lower())
        named = bool({"split", "splits", "fold", "folds", "partition", "subset", "cv"} & {*words}) or re.fullmatch(
            r"(?i)(is|in)?_?(train|training|test|testing|val|valid|validation|holdout)_?(set)?", header[place]
        )
        if len({*filled}) < 2:
            continue
        if len(known) == len(cells) and len({PARTS[cell] for cell in cells}) > 1:
            whole.append((place, [PARTS[cell] for cell in cells]))
        elif named or (known and 2 * len(known) >= len(filled)):
            doubtful = True
    _need(all(parts == whole[0][1] for _, parts in whole))
    _need(bool(whole) or not doubtful)
    return whole[0][0] if whole else None


def _number_reader(cells: list[str]) -> Callable[[str], float | None]:
    """How numbers are read: with one decimal mark for all of them; raises Wrong where that is not certain."""
    sign, power = "[+-]?", "([eE][+-]?[0-9]+)?"
    comma = [cell for cell in cells if re.fullmatch(rf"{sign}([0-9]+,[0-9]*|,[0-9]+){power}", cell)]
    comma_thousands = [cell for cell in cells if re.fullmatch(rf"{sign}[0-9]{{1,3}}(\.[0-9]{{3}})+,[0-9]+", cell)]
    point = [cell for cell in cells if re.fullmatch(rf"{sign}([0-9]+\.[0-9]*|\.[0-9]+){power}", cell)]
    thousands = rf"{sign}[0-9]{{1,3}}(,[0-9]{{3}})+\.[0-9]+|{sign}[0-9]{{1,3}}(,[0-9]{{3}}){{2,}}"
    point += [cell for cell in cells if re.fullmatch(thousands, cell)]
    by_comma = bool(comma or comma_thousands)
    _need(not by_comma or not point)
    certain = [cell for cell in comma if not re.fullmatch(rf"{sign}[1-9][0-9]{{0,2}},[0-9]{{3}}", cell)]
    _need(not by_comma or bool(certain or comma_thousands))

    def value(text: str) -> float | None:
        text = re.sub(r"(?<=[0-9])[ \u00a0\u202f'](?=[0-9]{3}(?![0-9]))", "", text)
        if by_comma:
            if re.fullmatch(rf"{sign}[0-9]{{1,3}}(\.[0-9]{{3}})+,[0-9]+", text):
                text = text.replace(".", "")
            return number(text.replace(",", ".", 1))
        return number(text.replace(",", "") if re.fullmatch(thousands, text) else text)

    return value


def _files(names: list[str], sizes: dict[str, tuple[int, int]]) -> dict[str, str]:
    """The file that each name means: exactly or by its stem, else the one that differs in form alone."""
    found: dict[str, str] = {}
    left = []
    for name in dict.fromkeys(names):
        _need(name != "")
        exact = [file for file in sizes if file == name] or [file for file in sizes if file.rsplit(".", 1)[0] == name]
        _need(len(exact) < 2)
        if exact:
            found[name] = exact[0]
        else:
            left.append(name)
    for name in left:
        alike = [file for file in sizes if _loose(file)[0] == _loose(name)[0]]
        _need(len(alike) == 1 and _loose(name)[1] in ("", _loose(alike[0])[1]))
        found[name] = alike[0]
    _need(len({*found.values()}) == len(found))
    return found


def _loose(name: str) -> tuple[str, str]:
    """A name without case, leading zeros and Unicode form, and its ending."""
    _need("/" not in name and "\\" not in name)  # no folder within the folder here
    stem, dot, ending = name.rpartition(".")
    endings = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "dcm", "dicom", "jp2", "gif", "webp", "nii", "mha", "pgm"]
    if not (dot and stem and ending.lower() in (*endings, "ppm")):
        stem, ending = name, ""
    plain = re.sub(r"\d+", lambda run: re.sub(r"^0+(?=\d)", "", run[0]), unicodedata.normalize("NFC", stem).casefold())
    return plain, {"jpeg": "jpg", "tiff": "tif"}.get(ending.lower(), ending.lower())


def _refuse_alike(found: dict[str, Said]) -> None:
    """Two spellings of one landmark or annotator that never stand side by side."""
    marks = {(file, who, name) for file, said in found.items() for who, name in said.points}
    for at in (1, 2):
        first: dict[str, str] = {}
        for name in dict.fromkeys(mark[at] for file in found for mark in _ordered(found, file)):
            other = first.setdefault(bare(name), name)
            side_by_side = any((*m[:at], other, *m[at + 1 :]) in marks for m in marks if m[at] == name)
            _need(other == name or side_by_side)


def _ordered(found: dict[str, Said], file: str) -> list[tuple[str, str, str]]:
    return [(file, who, name) for who, name in found[file].points]


def _point(x_text: str, y_text: str, size: tuple[int, int], value: Callable[[str], float | None]) -> Point:
    if x_text.lower() in MISSING and y_text.lower() in MISSING:
        return _NOWHERE
    x, y = value(x_text), value(y_text)
    if x is None or y is None or not on_image(x, y, size):
        raise Wrong
    return x, y

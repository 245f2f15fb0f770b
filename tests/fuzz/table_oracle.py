"""What a folder's CSV says, by the few rules of the README: an independent reader for the fuzzer of FolderDataset."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from tests.fuzz.harness import number, on_image, text_of

IMAGE_COLUMNS = ("image", "image_id", "filename", "file_name", "file", "id")
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
    part: str


def read(data: bytes, sizes: dict[str, tuple[int, int]]) -> dict[str, Said]:
    """Read a table about files of these ``sizes`` into what it says of each file; raises Wrong."""
    header, rows = _rows(data)
    columns = {name.lower(): index for index, name in enumerate(header) if name}
    _need(len(columns) == sum(name != "" for name in header) and any(name in columns for name in IMAGE_COLUMNS))
    _need(len({"width", "height"} & columns.keys()) != 1)
    _need({"spacing", "spacing_x", "spacing_y"} & columns.keys() in ({*()}, {"spacing"}, {"spacing_x", "spacing_y"}))
    image = columns[next(name for name in IMAGE_COLUMNS if name in columns)]
    long = {"landmark", "x", "y"} <= columns.keys()
    pairs = {} if long else _pairs(header, {image, *(columns.get(n, -1) for n in ("split", *_ABOUT_THE_IMAGE))})
    found: dict[str, Said] = {}
    names: dict[str, str] = {}
    for cells in rows:
        _need(len(cells) == len(header))
        file = _file(cells[image], sizes)
        said = _of_image(cells, columns, sizes[file])
        known = found.setdefault(file, said)
        _need(long or known is said)  # one row an image
        _need(names.setdefault(file, cells[image]) == cells[image])
        _need((known.spacing, known.part) == (said.spacing, said.part))
        if long:
            who = cells[columns["annotator"]] if "annotator" in columns else "annotator"
            _need(who != "" and cells[columns["landmark"]] != "")
            pairs = {cells[columns["landmark"]]: (columns["x"], columns["y"])}
        else:
            who = "annotator"
        for name, (x, y) in pairs.items():
            _need((who, name) not in known.points)
            known.points[who, name] = _point(cells[x], cells[y], sizes[file])
    for said in found.values():
        said.points = {key: point for key, point in said.points.items() if point == point}
        _need(len(said.points) > 0)
    _need(found.keys() == sizes.keys() and len({said.spacing is None for said in found.values()}) == 1)
    return found


_ABOUT_THE_IMAGE = ("spacing", "spacing_x", "spacing_y", "width", "height")
_NOWHERE = (float("nan"), float("nan"))


def _need(condition: bool) -> None:
    if not condition:
        raise Wrong


def _rows(data: bytes) -> tuple[list[str], list[list[str]]]:
    text = text_of(data)
    _need(text is not None and text.strip() != "")
    assert text is not None
    first = next(line for line in text.split("\n") if line.strip())
    separator = max(",", ";", "\t", key=first.count)
    try:
        lines = list(csv.reader(re.findall(r"[^\n]*\n|[^\n]+", text), delimiter=separator, strict=True))
    except csv.Error:
        raise Wrong from None
    rows = [stripped for stripped in ([cell.strip() for cell in line] for line in lines) if any(stripped)]
    _need(len(rows) > 1)
    return rows[0], rows[1:]


def _pairs(header: list[str], taken: set[int]) -> dict[str, tuple[int, int]]:
    """Columns of each landmark: all numbered or all named, each axis once."""
    found: dict[tuple[bool, str], dict[str, int]] = {}
    for index, name in enumerate(header):
        numbered, named = re.fullmatch(r"(?i)([xy])_?([0-9]{1,9})", name), re.fullmatch(r"(?is)(.+)_([xy])", name)
        if index not in taken and (numbered or named):
            key, axis = (numbered[2].lstrip("0") or "0", numbered[1]) if numbered else (named[1], named[2])  # type: ignore
            _need(axis.lower() not in found.setdefault((bool(numbered), key), {}))
            found[bool(numbered), key][axis.lower()] = index
    _need(len({kind for kind, _ in found}) == 1 and all(len(axes) == 2 for axes in found.values()))
    return {key: (axes["x"], axes["y"]) for (_, key), axes in found.items()}


def _file(name: str, sizes: dict[str, tuple[int, int]]) -> str:
    """The one image that a name in the table means, with or without suffix."""
    stems = [file for file in sizes if file.rsplit(".", 1)[0] == name]
    _need(name in sizes or len(stems) == 1)
    return name if name in sizes else stems[0]


def _of_image(cells: list[str], columns: dict[str, int], size: tuple[int, int]) -> Said:
    texts = {name: cells[columns[name]] for name in _ABOUT_THE_IMAGE if name in columns and cells[columns[name]]}
    values = {name: number(text) for name, text in texts.items()}
    _need(all(value is not None and value > 0 for value in values.values()))
    _need(("width" in values) == ("height" in values) and ("spacing_x" in values) == ("spacing_y" in values))
    _need("width" not in values or (values["width"], values["height"]) == size)
    x, y = (values.get("spacing", values.get(name)) for name in ("spacing_x", "spacing_y"))
    part = cells[columns["split"]].lower() if "split" in columns else "train"
    _need(part in PARTS)
    return Said({}, None if x is None or y is None else (x, y), PARTS[part])


def _point(x_text: str, y_text: str, size: tuple[int, int]) -> Point:
    if x_text == y_text == "":
        return _NOWHERE
    x, y = number(x_text), number(y_text)
    if x is None or y is None or not on_image(x, y, size):
        raise Wrong
    return x, y

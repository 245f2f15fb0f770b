"""VIA 2 (VGG Image Annotator): one JSON or CSV of images with regions, of which those that are points are landmarks.

VIA keeps the browser's offset of a click on the canvas, a whole number that is 0 all over the first pixel, times the
zoom, rounded. So a value counts pixels, and a pixel's centre lies at integers as here. It reads fractions too, and
keeps them until a point is moved.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.labels.building import LabelBuilder, coordinate, image_name, text
from landmark_diffusion.data.labels.label_format import Holds, LabelFormat
from landmark_diffusion.data.labels.label_set import ABSENT, Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

COLUMNS = (
    "filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes",
    "region_attributes",
)  # fmt: skip
NAME, FLAG, NOT_THERE = "landmark", "flag", "absent"
"""Attributes that are written: a point's landmark and flag, and the landmarks that are not in an image."""
NAMES = (NAME, "landmark_name", "keypoint", "name", "label", "point", "id", "class", "type")
"""Attributes that are taken for the landmark where a point has several, the first of these that all have."""
_VERSION = "2.0.10"
_METADATA, _ORDER, _ATTRIBUTES = "_via_img_metadata", "_via_image_id_list", "_via_attributes"
_NO_SIZE = -1  # bytes of a file that VIA fetches itself


@dataclass
class _Region:
    """One region: where it stands, its shape, and what is said of it."""

    where: str
    line: int | None
    shape: Mapping[str, Any]
    said: Mapping[str, Any]


@dataclass
class _Entry:
    """One image of the file."""

    where: str
    line: int | None
    name: Any
    said: Mapping[str, Any]
    regions: list[_Region] = field(default_factory=list)


class ViaFormat(LabelFormat):
    """A project, or what VIA exports of one as JSON or CSV; a project is written."""

    name, title, suffix = "via", "VIA", ".json"
    holds: ClassVar[frozenset[Holds]] = frozenset(
        ("hidden", "unsure", "absent", "unmarked images", "unmarked landmarks", "annotators without marks")
    )

    def recognises(self, source: LabelSource) -> bool:
        """A JSON object with VIA's element, or of images with regions; a CSV with VIA's header."""
        if source.is_folder:
            return False
        if _is_header(source.beginning.partition("\n")[0]):
            return True
        found = source.looked_at
        return isinstance(found, dict) and (isinstance(found.get(_METADATA), dict) or _are_images(found))

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read all points; other regions are counted."""
        builder = LabelBuilder(source.path)
        if source.beginning.startswith("{"):
            entries, declared = list(_json_entries(source, builder)), _declared(source.json)
        else:
            entries, declared = list(_csv_entries(source, builder)), {}
        return _read(builder, entries, declared, images)

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the project."""
        return {"": (json.dumps(project(labels, target.stem, images), allow_nan=False, indent=1) + "\n").encode()}


class ViaCsvFormat(ViaFormat):
    """The same as CSV, a row a region; VIA imports it into a project."""

    name, title, suffix = "via-csv", "VIA's CSV", ".csv"
    holds: ClassVar[frozenset[Holds]] = ViaFormat.holds - {"unmarked landmarks"}

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the table."""
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in _images(labels, images).values():
            regions = entry["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
            for number, region in enumerate(regions):
                parts = (entry["file_attributes"], region["shape_attributes"], region["region_attributes"])
                said, shape, attributes = (json.dumps(part, allow_nan=False) for part in parts)
                count = len(entry["regions"])
                writer.writerow([entry["filename"], entry["size"], said, count, number, shape, attributes])
        return {"": content.getvalue().encode()}


def _is_header(line: str) -> bool:
    return line.strip().removeprefix("#").replace('"', "").split(",") == list(COLUMNS)


def _are_images(found: Mapping[str, Any]) -> bool:
    first = next(iter(found.values()), None)
    return isinstance(first, dict) and {"filename", "size", "regions"} <= first.keys()


def _json_entries(source: LabelSource, builder: LabelBuilder) -> Iterator[_Entry]:
    """Images in the project's order; in VIA 1 regions are an object of numbers, and attributes are lists of none."""
    document = source.json
    found = document.get(_METADATA, document)
    if not isinstance(found, dict):
        raise builder.fault(f"{_METADATA}: expected an object of images")
    listed = document.get(_ORDER)
    order = [key for key in listed if isinstance(key, str) and key in found] if isinstance(listed, list) else []
    for key in dict.fromkeys([*order, *found]):
        entry = found[key]
        if not isinstance(entry, dict) or "filename" not in entry:
            raise builder.fault(f"{key[:100]!r}: expected an object with filename and regions")
        regions = entry.get("regions") or []
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        made = _Entry(f"{key[:100]!r}", None, entry["filename"], _object(entry.get("file_attributes")))
        for number, region in enumerate(regions if isinstance(regions, list) else []):
            where = f"{key[:100]!r}, regions[{number}]"
            if not isinstance(region, dict):
                raise builder.fault(f"{where}: found {one_line(repr(region)):.60}, expected an object")
            said = _object(region.get("region_attributes"))
            made.regions.append(_Region(where, None, _object(region.get("shape_attributes")), said))
        yield made


def _csv_entries(source: LabelSource, builder: LabelBuilder) -> Iterator[_Entry]:
    try:
        lines = source.content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise builder.fault(f"the file is not UTF-8 text (byte {error.start})") from None
    rows = csv.reader(lines)
    made: dict[tuple[str, str], _Entry] = {}
    try:
        for row in rows:
            line = rows.line_num
            if not row or (line == 1 and _is_header(",".join(row))):
                continue
            if len(row) != len(COLUMNS):
                raise builder.fault(f"found {len(row)} cells, expected {len(COLUMNS)} as in the header", line=line)
            said, shape, attributes = (_cell(builder, row[at], line, COLUMNS[at]) for at in (2, 5, 6))
            entry = made.setdefault((row[0], row[1]), _Entry(row[0], line, row[0], said))
            if shape:
                entry.regions.append(_Region(row[0], line, shape, attributes))
    except csv.Error as error:
        raise builder.fault(f"the row cannot be read ({one_line(error)})", line=rows.line_num) from None
    yield from made.values()


def _cell(builder: LabelBuilder, cell: str, line: int, column: str) -> Mapping[str, Any]:
    try:
        return _object(json.loads(cell or "{}"))
    except (ValueError, RecursionError):
        raise builder.fault(f"{column}: found {one_line(cell):.60}, expected JSON", line=line) from None


def _object(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _declared(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of each attribute of regions that a project lists."""
    region = _object(_object(document.get(_ATTRIBUTES)).get("region"))
    return {name: _object(_object(attribute).get("options")) for name, attribute in region.items()}


def _read(
    builder: LabelBuilder, entries: Sequence[_Entry], declared: Mapping[str, Any], images: ImageFolder
) -> LabelSet:
    key = _name_attribute(builder, entries)
    for entry in entries:
        where, line = entry.where, entry.line
        try:
            image = builder.image(images.name_of(image_name(entry.name, "filename")))
            image.source = f"{builder.path}:{line}" if line else ""
            for region in entry.regions:
                where, line = region.where, region.line
                kind = region.shape.get("name")
                if kind != "point":
                    builder.left_out[text(kind, "name of the shape", empty=True)[:40] or "shape"] += 1
                    continue
                number = str(sum(each.placed for each in image.marks.values()) + 1)
                landmark = number if key is None else _value(region.said.get(key))
                builder.mark(image, "", text(landmark, f"{key}: the landmark").strip(), _mark(region, key))
            for name in _checked(entry.said.get(NOT_THERE)):
                builder.mark(image, "", text(name, NOT_THERE), ABSENT)
        except DataError:
            raise
        except UserError as error:
            raise builder.fault(str(error) if line else f"{where}: {error}", line=line) from None
    known = {landmark for image in builder.images() for _, landmark in image.marks}
    options = [name for name in declared.get(key or NAME, ()) if name.strip()]
    return builder.build(options if options and known <= set(options) else None)


def _name_attribute(builder: LabelBuilder, entries: Sequence[_Entry]) -> str | None:
    """Tell which attribute names the landmarks; None where points have none, and are told by their order.

    Raises DataError where several may, or where points without a name are not equally many in all images.
    """
    points = [[each for each in entry.regions if each.shape.get("name") == "point"] for entry in entries]
    named = Counter(key for each in points for region in each for key, value in region.said.items() if _value(value))
    named.pop(FLAG, None)
    if not named:
        counts = {len(each) for each in points} - {0}
        if len(counts) > 1:
            shown = ", ".join(map(str, sorted(counts)))
            raise builder.fault(
                f"the points have no attribute that names their landmark, and images have {shown} of them, so that "
                f"their order does not tell it; give them an attribute {NAME!r} in VIA"
            )
        if counts:
            builder.notes.append("the points have no names: landmarks are numbered in the order of the regions")
        return None
    if len(named) == 1:
        return next(iter(named))
    total = sum(map(len, points))
    known = [key for key in NAMES for found in named if found.lower() == key and named[found] == total]
    if not known:
        shown = ", ".join(map(repr, list(named)[:5]))
        raise builder.fault(f"several attributes may name the landmarks ({shown}); call the one that does {NAME!r}")
    return next(found for found in named if found.lower() == known[0])


def _value(found: Any) -> str:
    """An attribute's text: of a text, of a choice, or of the one that is ticked."""
    ticked = _checked(found)
    return ticked[0] if len(ticked) == 1 else found if isinstance(found, str) else ""


def _checked(found: Any) -> list[str]:
    return [name for name, value in found.items() if value is True] if isinstance(found, dict) else []


def _mark(region: _Region, key: str | None) -> Mark:
    x, y = (coordinate(region.shape.get(axis), axis) for axis in ("cx", "cy"))
    word = _value(region.said.get(FLAG)) if key != FLAG else ""
    return Mark(x, y, Flag(word) if word in (Flag.HIDDEN, Flag.UNSURE) else Flag.VISIBLE)


def project(labels: LabelSet, name: str, images: ImageFolder) -> dict[str, Any]:
    """Give labels of one annotator as a project of VIA; the images are told apart by name and size of the file."""
    found = _images(labels, images)
    flags = {str(each): str(each) for each in (Flag.VISIBLE, Flag.HIDDEN, Flag.UNSURE)}
    choices = {each: each for each in labels.landmark_names}
    return {
        "_via_settings": {
            "ui": {
                "annotation_editor_height": 25, "annotation_editor_fontsize": 0.8, "leftsidebar_width": 18,
                "image_grid": {
                    "img_height": 80, "rshape_fill": "none", "rshape_fill_opacity": 0.3, "rshape_stroke": "yellow",
                    "rshape_stroke_width": 2, "show_region_shape": True, "show_image_policy": "all",
                },
                "image": {
                    "region_label": NAME, "region_color": NAME, "region_label_font": "10px Sans",
                    "on_image_annotation_editor_placement": "NEAR_REGION",
                },
            },
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
            "project": {"name": name},
        },
        _METADATA: found,
        _ATTRIBUTES: {
            "region": {
                NAME: {"type": "dropdown", "description": "", "options": choices, "default_options": {}},
                FLAG: {"type": "radio", "description": "", "options": flags, "default_options": {}},
            },
            "file": {NOT_THERE: {"type": "checkbox", "description": "", "options": choices, "default_options": {}}},
        },
        "_via_data_format_version": _VERSION,
        _ORDER: list(found),
    }  # fmt: skip


def _images(labels: LabelSet, images: ImageFolder) -> dict[str, dict[str, Any]]:
    """Images by VIA's key: the name with the bytes of the file behind it."""
    entries = {}
    for image in labels.images:
        path = images.find(image.name)
        size = _NO_SIZE if path is None else os.path.getsize(path)
        absent = {landmark: True for (_, landmark), mark in image.marks.items() if not mark.placed}
        entries[f"{image.name}{size}"] = {
            "filename": image.name, "size": size, "regions": list(_regions(image)),
            "file_attributes": {NOT_THERE: absent} if absent else {},
        }  # fmt: skip
    return entries


def _regions(image: LabelledImage) -> Iterator[dict[str, Any]]:
    for (_, landmark), mark in image.marks.items():
        if mark.placed:
            yield {
                "shape_attributes": {"name": "point", "cx": mark.x, "cy": mark.y},
                "region_attributes": {NAME: landmark, FLAG: str(mark.flag)},
            }

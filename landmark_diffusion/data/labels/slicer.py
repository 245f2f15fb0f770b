"""3D Slicer: a file of Markups (NAME.mrk.json) for each image, whose point lists hold the landmarks, in mm of space.

Slicer's space goes through the centres of pixels: that of the first one lies at the image's origin. Which mm a pixel
has is the image's geometry as Slicer loads it (``readers/image_plane.py``). Files are LPS or RAS, as they say. The
list's place in a Detection (``detection/writers/slicer.py``) is built here too.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels.building import LabelBuilder, finite, image_name, merged_order, spacing_of, text
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import ABSENT, Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource
from landmark_diffusion.data.readers.image_plane import ImagePlane, read_plane

MARKUPS, VOLUME = ".mrk.json", ".nrrd"
SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
"""Identifies the format, Slicer checks it. (The file itself moved with Slicer's branch from master to main.)"""
UPRIGHT = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]
"""Orientation of a control point in LPS that is the identity in Slicer's own RAS, as Slicer writes it."""
POINTS = "Fiducial"
OWN = "image"
"""An element of our own beside the lists, which Slicer passes over and does not keep: the image and its geometry."""
_UNITS = {"mm": 1.0, "um": 0.001}
_LOOKED_AT = 5
_WITH_DPI = (".jpg", ".jpeg", ".tif", ".tiff")
"""Images whose dpi Slicer takes for their mm (``readers/image_plane.py``)."""


class ControlPoint(NamedTuple):
    """A point of a list: its landmark, (3,) mm in LPS or None where it has no place, and what is said of it."""

    label: str
    position: np.ndarray | None
    description: str = ""


def document(
    name: str, points: Iterable[ControlPoint], description: str, image: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Give one point list as Slicer's Markups, schema 1.0.3, with what is known of its ``image`` (``about``)."""
    markup = {
        "type": POINTS,
        "name": name,
        "description": description,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "controlPoints": [_control_point(number, point) for number, point in enumerate(points, 1)],
        "display": {
            "visibility": True, "opacity": 1.0, "pointLabelsVisibility": True, "propertiesLabelVisibility": False,
            "textScale": 2.5, "glyphType": "Cross2D", "glyphScale": 2.0, "useGlyphScale": True,
        },
    }  # fmt: skip
    return {"@schema": SCHEMA, **({} if image is None else {OWN: image}), "markups": [markup]}


def about(name: str, plane: ImagePlane, spacing: tuple[float, float] | None) -> dict[str, Any]:
    """Say of which image a list is, how its pixels lie, and the spacing that is known of it, for who reads the list."""
    return {
        "name": name,
        "origin": plane.origin.tolist(),
        "steps": plane.steps.T.tolist(),
        **({} if spacing is None else {"spacing": list(spacing)}),
    }


def _control_point(number: int, point: ControlPoint) -> dict[str, Any]:
    position = None if point.position is None else [float(each) for each in point.position]
    return {
        "id": str(number),
        "label": point.label,
        "description": point.description,
        "associatedNodeID": "",
        **({} if position is None else {"position": position}),
        "orientation": UPRIGHT,
        "selected": True,
        "locked": False,
        "visibility": True,
        # Slicer itself also knows "missing", which the published schema does not allow.
        "positionStatus": "undefined" if position is None else "defined",
    }


class SlicerFormat(LabelFormat):
    """A folder with a file for each image, in the sub-folders of the images."""

    name, title, suffix = "slicer", "3D Slicer", ""
    holds = frozenset(
        ("hidden", "unsure", "absent", "spacing", "unmarked images", "unmarked landmarks", "annotators without marks")
    )

    def recognises(self, source: LabelSource) -> bool:
        """A JSON object with a list of markups, or a folder of such."""
        if source.is_folder:
            return any(self.recognises(LabelSource(path)) for path in source.named(MARKUPS)[:_LOOKED_AT])
        return '"markups"' in source.beginning and _is_markups(source.looked_at)

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read one file, or all that a folder and those within hold; lines, curves and other markups are counted."""
        builder = LabelBuilder(source.path)
        folder = source if source.is_folder else LabelSource(source.path.parent)
        off, orders, without, by_dpi = 0, list[tuple[str, ...]](), list[_File](), list[_File]()
        for path in source.named(MARKUPS) if source.is_folder else [source.path]:
            file = LabelSource(path)
            builder.at = path
            if not _is_markups(file.json):
                raise builder.fault("expected an object with a list `markups`", path)
            try:
                reading = _File(builder, path, folder.relative(path), file.json, images)
                if reading.plane is None:
                    without.append(reading)
                    continue
                off += reading.read(reading.plane)
            except DataError:
                raise
            except UserError as error:
                raise builder.fault(str(error), path) from None
            reading.image.source = str(path)
            by_dpi += [reading] * (reading.dpi is not None)
            orders.append(tuple(reading.landmarks))
        builder.at = None
        if without:
            raise _no_image(builder, without, images)
        _keep_dpi(builder, by_dpi)
        if off:
            builder.notes.append(
                f"off the plane of their image, and taken at the nearest place in it: {off} of the points"
            )
        return builder.build(merged_order(dict.fromkeys(orders)))

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give a file for each image; points lie where Slicer shows the image file, or 1 mm a pixel without one."""
        made: dict[str, bytes] = {}
        for image in labels.images:
            name = posixpath.splitext(image.name)[0] + MARKUPS
            if name in made:
                raise UserError(f"3D Slicer: images that differ in their endings have one file {name!r}: {image.name}")
            path = images.find(image.name)
            plane = ImagePlane.of((1.0, 1.0)) if path is None else read_plane(path)
            points = _control_points(labels, image, plane)
            content = document(posixpath.basename(name), points, "", about(image.name, plane, image.spacing))
            made[name] = (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
        return made


def _is_markups(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("markups"), list)


def _control_points(labels: LabelSet, image: LabelledImage, plane: ImagePlane) -> Iterator[ControlPoint]:
    """All landmarks in order; a word for what is said of one stands in its description, which Slicer keeps."""
    (annotator,) = labels.annotator_names
    for landmark in labels.landmark_names:
        mark = image.marks.get((annotator, landmark))
        if mark is None or not mark.placed:
            yield ControlPoint(landmark, None, "" if mark is None else str(mark.flag))
        else:
            said = "" if mark.flag is Flag.VISIBLE else str(mark.flag)
            yield ControlPoint(landmark, plane.to_space(np.array([mark.x, mark.y])), said)


class _File:
    """One file of markups as it is read."""

    def __init__(
        self, builder: LabelBuilder, path: Path, relative: str, content: Mapping[str, Any], images: ImageFolder
    ) -> None:
        self.builder, self.content = builder, content
        own = content.get(OWN) if isinstance(content.get(OWN), dict) else None
        stem = relative[: -len(MARKUPS)] if relative.lower().endswith(MARKUPS) else posixpath.splitext(relative)[0]
        self.path, self.name = path, image_name(stem if own is None else own.get("name"), "image")
        name = images.name_of(self.name)
        self.image = builder.image(name, None, None if own is None else spacing_of(own.get("spacing")))
        self.dpi: tuple[float, float] | None = None
        """Mm a pixel along x and y where the dpi of the image's file say them, and nothing else does."""
        self.plane = self._plane(own, path, images.find(name))
        self.landmarks: dict[str, None] = {}

    def _plane(self, own: Mapping[str, Any] | None, path: Path, image: Path | None) -> ImagePlane | None:
        """How the pixels lie: as the file says, a volume beside it, or the image; None where there is none of these."""
        if own is not None:
            steps = own.get("steps")
            pair = steps if isinstance(steps, list) and len(steps) == 2 else [None, None]
            return ImagePlane(
                _triple(own.get("origin"), "image: origin"),
                np.stack([_triple(step, "image: steps") for step in pair], -1),
            )
        volume = path.with_name(path.name[: -len(MARKUPS)] + VOLUME) if path.name.lower().endswith(MARKUPS) else path
        if volume != path and volume.is_file():
            return read_plane(volume)
        if image is None or image == path:
            return None
        plane = read_plane(image)
        width, height = (round(float(each), 9) for each in np.linalg.norm(plane.steps, axis=0))
        if image.suffix.lower() in _WITH_DPI and (width, height) != (1.0, 1.0):
            self.dpi = width, height
        return plane

    def read(self, plane: ImagePlane) -> int:
        """Add the points of all lists; gives how many lie off the image's plane, by a pixel or more."""
        off = 0
        for place, markup in enumerate(self.content["markups"]):
            where = f"markups[{place}]"
            if not isinstance(markup, dict):
                raise UserError(f"{where}: expected an object")
            if markup.get("type") != POINTS:
                self.builder.left_out[text(markup.get("type"), f"{where}.type")[:40]] += 1
                continue
            factor = _factor(markup, where)
            points = markup.get("controlPoints") or []
            if not isinstance(points, list):
                raise UserError(f"{where}.controlPoints: expected a list")
            for number, point in enumerate(points):
                if not isinstance(point, dict):
                    raise UserError(f"{where}.controlPoints[{number}]: expected an object")
                off += self._point(point, plane, factor, f"{where}.controlPoints[{number}]")
        return off

    def _point(self, point: Mapping[str, Any], plane: ImagePlane, factor: np.ndarray, where: str) -> bool:
        landmark = text(point.get("label"), f"{where}.label").strip()
        said, status = point.get("description"), point.get("positionStatus", "defined")
        self.landmarks.setdefault(landmark)
        if status == "missing" or (status == "undefined" and said == Flag.ABSENT):
            self.builder.mark(self.image, "", landmark, ABSENT)
            return False
        if status != "defined" or point.get("position") is None:
            return False
        place = _triple(point["position"], f"{where} ({landmark!r})") * factor
        pixels, distance = plane.to_pixels(place)
        flag = Flag(said) if said in (Flag.HIDDEN, Flag.UNSURE) else Flag.VISIBLE
        self.builder.mark(self.image, "", landmark, Mark(float(pixels[0]), float(pixels[1]), flag))
        return bool(distance > np.linalg.norm(plane.steps, axis=0).min())


def _no_image(builder: LabelBuilder, lists: Sequence[_File], images: ImageFolder) -> DataError:
    """Lists whose image is not found, or is one of several: nothing tells where their mm lie in it."""
    first = lists[0]
    several = ", ".join(path.name for path in images.candidates(first.name)[:3])
    found = f"can be that of {several} in several folders" if several else f"is of no image in {images.folder}"
    more = f" (and of {counted(len(lists) - 1, 'more list')})" if len(lists) > 1 else ""
    return builder.fault(
        f"the list {first.name!r}{more} {found}, so that nothing tells which pixel its mm mean; call it as its image "
        f"(that of xray.jpg is xray{MARKUPS}, in the same sub-folder){images.cure}",
        first.path,
    )


def _keep_dpi(builder: LabelBuilder, files: Sequence[_File]) -> None:
    """Say that mm became pixels by the dpi of image files; keep them as spacing where that gives all images one."""
    if not files:
        return
    sides = sorted({side for file in files if file.dpi for side in file.dpi})
    said = f"{sides[0]:.4g}" + (f" to {sides[-1]:.4g}" if f"{sides[0]:.4g}" != f"{sides[-1]:.4g}" else "")
    what = f"mm became pixels by the dpi of {counted(len(files), 'image file')}, as Slicer has it: {said} mm a pixel"
    if len(files) < len(builder.images()):
        builder.notes.append(f"{what}; it is not kept as spacing, since the other images have none")
        return
    for file in files:
        file.image.spacing = file.image.spacing or file.dpi
    builder.notes.append(f"{what}; it is kept as their spacing: check that the dpi are those of the radiograph")


def _factor(markup: Mapping[str, Any], where: str) -> np.ndarray:
    """What a list's coordinates are multiplied by for mm in LPS, (3,)."""
    system, units = markup.get("coordinateSystem", "LPS"), markup.get("coordinateUnits", "mm")
    units = units[0] if isinstance(units, list) and units else units
    if system not in ("LPS", "RAS"):
        raise UserError(f"{where}.coordinateSystem: found {system!r:.40}, expected LPS or RAS")
    if not isinstance(units, str) or units not in _UNITS:
        raise UserError(f"{where}.coordinateUnits: found {units!r:.40}, expected mm or um")
    return np.array([1.0, 1.0, 1.0] if system == "LPS" else [-1.0, -1.0, 1.0]) * _UNITS[units]


def _triple(found: Any, what: str) -> np.ndarray:
    values: Sequence[Any] = found if isinstance(found, list) and len(found) == 3 else [None]
    if len(values) != 3:
        raise UserError(f"{what}: found {found!r:.60}, expected three numbers")
    return np.array([finite(value, what) for value in values])

"""LabelMe: a JSON for each image, beside it, with shapes of which those of type "point" are landmarks.

Its canvas draws the image from (0, 0) to (width, height) and keeps the cursor's place on it, so (0, 0) is the corner of
the first pixel, whose centre is (0.5, 0.5). Elements that it does not know it keeps as they are, in a shape and in the
file.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels.building import LabelBuilder, coordinate, finite, image_name, side, spacing_of, text
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import ABSENT, ORIGINS, Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

CENTRE = 0.5
"""Where the centre of the first pixel lies."""
VERSION = "5.5.0"
NAMES_FILE = "labels.txt"
"""All landmarks in order, a line each, as ``labelme --labels`` takes them."""
_SAYS_ABSENT = " absent"
"""Behind a landmark's name, what an image's flag is called that says so."""
_LOOKED_AT = 5


class LabelMeFormat(LabelFormat):
    """A folder of files, in the sub-folders of their images."""

    name, title, suffix = "labelme", "LabelMe", ""
    holds = frozenset(
        ("hidden", "unsure", "absent", "size", "spacing", "time", "origin", "score", "unmarked images",
         "unmarked landmarks", "annotators without marks")
    )  # fmt: skip

    def recognises(self, source: LabelSource) -> bool:
        """A JSON object with shapes and imagePath, or a folder where one of the first is such."""
        if source.is_folder:
            return any(self.recognises(LabelSource(path)) for path in source.named(".json")[:_LOOKED_AT])
        return _is_labelme(source.looked_at)

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read one file, or all that a folder and those within hold; other JSON files are counted."""
        builder = LabelBuilder(source.path)
        folder = source if source.is_folder else LabelSource(source.path.parent)
        paths = source.named(".json") if source.is_folder else [source.path]
        absent: list[tuple[LabelledImage, str]] = []
        for path in paths:
            found = LabelSource(path).json
            if not _is_labelme(found):
                builder.left_out["other JSON file"] += 1
                continue
            builder.at = path
            try:
                image, flags = _read_image(builder, found, posixpath.dirname(folder.relative(path)), images)
            except DataError:
                raise
            except UserError as error:
                raise builder.fault(str(error), path) from None
            image.source = str(path)
            absent += [(image, name) for name in flags]
        builder.at = None
        names = _listed(folder.path / NAMES_FILE)
        known = {landmark for image in builder.images() for _, landmark in image.marks} | set(names)
        for image, flag in absent:
            name = flag.removesuffix(_SAYS_ABSENT)
            if name in known and flag.endswith(_SAYS_ABSENT):
                builder.mark(image, "", name, ABSENT)
            else:
                builder.left_out["flag of an image"] += 1
        unlisted = not names or any(name not in names for name in known)
        return builder.build(None if unlisted else names)

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give a file for each image, and ``NAMES_FILE``."""
        made: dict[str, bytes] = {NAMES_FILE: ("\n".join(labels.landmark_names) + "\n").encode()}
        for image in labels.images:
            name = posixpath.splitext(image.name)[0] + ".json"
            if name in made:
                raise UserError(
                    f"LabelMe keeps one file {name!r} for images that differ in their endings: {image.name}"
                )
            content = labelme_document(image, _path_to(image, target / name, images))
            made[name] = (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
        return made


def _is_labelme(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("shapes"), list) and "imagePath" in found


def _listed(path: Path) -> list[str]:
    """Names of a file for ``labelme --labels``, without those that stand for no shape."""
    if not os.path.isfile(path):
        return []
    lines = LabelSource(path).content.decode("utf-8-sig", "replace").splitlines()
    return [line.strip() for line in lines if line.strip() and line.strip() not in ("__ignore__", "_background_")]


def _read_image(
    builder: LabelBuilder, found: Mapping[str, Any], folder: str, images: ImageFolder
) -> tuple[LabelledImage, list[str]]:
    """Add one image and its points; gives also the image's flags that are set."""
    name = text(found["imagePath"], "imagePath").replace("\\", "/")
    name = images.name_of(image_name(posixpath.join(folder, name), "imagePath"))
    stated = found.get("imageWidth") is not None and found.get("imageHeight") is not None
    size = (side(found["imageWidth"], "imageWidth"), side(found["imageHeight"], "imageHeight")) if stated else None
    image = builder.image(name, size, spacing_of(found.get("spacing")))
    for number, shape in enumerate(found["shapes"]):
        kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else ""
        if kind != "point":
            builder.left_out[text(kind, f"shapes[{number}].shape_type", empty=True) or "shape"] += 1
            continue
        landmark, mark = _read_point(shape, f"shapes[{number}]")
        builder.mark(image, "", landmark, mark)
    flags = found.get("flags") or {}
    if not isinstance(flags, dict):
        raise UserError("flags: expected an object")
    return image, [flag for flag, value in flags.items() if value is True]


def _read_point(shape: Mapping[str, Any], what: str) -> tuple[str, Mark]:
    landmark = text(shape.get("label"), f"{what}.label").strip()
    points = shape.get("points")
    if not (isinstance(points, list) and len(points) == 1 and isinstance(points[0], list) and len(points[0]) == 2):
        raise UserError(f"{what}: found points {points!r:.60}, expected one pair [[x, y]] for {landmark!r}")
    x, y = (coordinate(value, f"{what} ({landmark!r})") - CENTRE for value in points[0])
    flags = shape.get("flags") or {}
    hidden = isinstance(flags, dict) and next((each for each in Flag if flags.get(each) is True), None)
    flag = hidden if hidden in (Flag.HIDDEN, Flag.UNSURE) else Flag.VISIBLE
    score, time = shape.get("score"), shape.get("time")
    origin = next((each for each in ORIGINS if shape.get("origin") == each), None)
    return landmark, Mark(
        x, y, flag, origin, text(time, f"{what}.time") if time else "",
        None if score is None else finite(score, f"{what}.score"),
    )  # fmt: skip


def _path_to(image: LabelledImage, file: Path, images: ImageFolder) -> str:
    """The image as LabelMe finds it from its file: where it is known to lie, else beside."""
    path = images.find(image.name)
    if path is None:
        return posixpath.basename(image.name)
    try:
        return Path(os.path.relpath(path.absolute(), file.absolute().parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.absolute().as_posix()


def labelme_document(image: LabelledImage, path: str) -> dict[str, Any]:
    """Give one image's labels, of one annotator, as LabelMe's document; ``path`` leads from it to the image."""
    absent = {f"{landmark}{_SAYS_ABSENT}": True for (_, landmark), mark in image.marks.items() if not mark.placed}
    width, height = image.size or (None, None)
    spacing = {} if image.spacing is None else {"spacing": list(image.spacing)}
    return {
        "version": VERSION, "flags": absent, "shapes": list(_shapes(image)), "imagePath": path, "imageData": None,
        "imageHeight": height, "imageWidth": width, **spacing,
    }  # fmt: skip


def _shapes(image: LabelledImage) -> Iterator[dict[str, Any]]:
    for (_, landmark), mark in image.marks.items():
        if not mark.placed:
            continue
        said = {"origin": mark.origin, "time": mark.time or None, "score": mark.score}
        yield {
            "label": landmark, "points": [[mark.x + CENTRE, mark.y + CENTRE]], "group_id": None,
            "description": "", "shape_type": "point",
            "flags": {} if mark.flag is Flag.VISIBLE else {str(mark.flag): True}, "mask": None,
            **{key: value for key, value in said.items() if value is not None},
        }  # fmt: skip

"""COCO keypoints: one JSON with images, categories that name the keypoints, and an annotation an object.

A keypoint is x, y, v with v 0 (not labelled), 1 (labelled, not visible) or 2 (labelled and visible). Its x and y are
those of the pixel: whole numbers from 0 to width - 1, so that a pixel's centre lies at integers as it does here, while
boxes and outlines count from the image's corner. (Detectron2 therefore adds 0.5 to keypoints that it loads, and takes
it away from those that it writes.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.labels.building import (
    TWO_ANNOTATORS,
    LabelBuilder,
    coordinate,
    finite,
    image_name,
    side,
    text,
)
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

CATEGORY = "landmarks"
NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2
_SCORES = "keypoint_scores"
"""An element of our own, which other readers pass over: COCO has one score an object."""


class CocoFormat(LabelFormat):
    """One object an image; its keypoints are the landmarks."""

    name, title, suffix = "coco", "COCO keypoints", ".json"
    holds = frozenset(
        ("hidden", "size", "score", "skeleton", "unmarked images", "unmarked landmarks", "annotators without marks")
    )  # fmt: skip

    def recognises(self, source: LabelSource) -> bool:
        """A JSON object with the lists images and annotations."""
        found = source.looked_at
        lists = ("images", "annotations", "categories")
        return isinstance(found, dict) and all(isinstance(found.get(name), list) for name in lists)

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read the keypoints; objects without, outlines and boxes of their own are left out and counted."""
        return _Reading(source, images).read()

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the one file."""
        return {"": (json.dumps(coco_document(labels), indent=1, allow_nan=False) + "\n").encode()}

    def more_losses(self, labels: LabelSet) -> list[str]:
        """Sizes belong to the format."""
        unknown = sum(image.size is None for image in labels.images)
        asked = "which some tools ask for: name --images"
        return [f"has no size of {counted(unknown, 'image')}, {asked}"] if unknown else []


class _Reading:
    """One file as it is read."""

    def __init__(self, source: LabelSource, images: ImageFolder) -> None:
        self.document = cast(dict[str, Any], source.json)
        if not CocoFormat().recognises(source):
            raise DataError("found no lists images, annotations and categories, expected COCO keypoints", source.path)
        self.builder, self.folder = LabelBuilder(source.path), images
        self.keypoints: dict[Any, list[str]] = {}
        self.images: dict[Any, LabelledImage] = {}

    def read(self) -> LabelSet:
        """Read categories, images and annotations; the first fault is told with its place."""
        for kind, read in (("categories", self._category), ("images", self._image), ("annotations", self._annotation)):
            for number, entry in enumerate(self.document[kind]):
                try:
                    if not isinstance(entry, dict):
                        raise UserError(f"found {type(entry).__name__}, expected an object")
                    read(entry)
                except DataError:
                    raise
                except UserError as error:
                    raise self.builder.fault(f"{kind}[{number}]: {error}") from None
            if kind == "categories" and not self.keypoints:
                raise self.builder.fault("found no category with keypoints, expected their names in one")
        return self.builder.build([name for names in self.keypoints.values() for name in names])

    def _category(self, entry: Mapping[str, Any]) -> None:
        names = entry.get("keypoints")
        if not names:
            return
        if not isinstance(names, list):
            raise UserError("keypoints: expected a list of names")
        names = [text(name, "keypoints").strip() for name in names]
        self.keypoints[_identity(entry, "id")] = names
        skeleton = entry.get("skeleton") or []
        if not isinstance(skeleton, list):
            raise UserError(f"skeleton: found {skeleton!r:.60}, expected a list of pairs")
        for pair in skeleton:
            ends = [side(end, "skeleton") for end in pair] if isinstance(pair, list) else []
            if len(ends) != 2 or max(ends) > len(names):
                raise UserError(f"skeleton: found {pair!r:.60}, expected two numbers of keypoints from 1 on")
            self.builder.skeleton += ((names[ends[0] - 1], names[ends[1] - 1]),)

    def _image(self, entry: Mapping[str, Any]) -> None:
        name = self.folder.name_of(image_name(entry.get("file_name"), "file_name"))
        stated = entry.get("width") is not None and entry.get("height") is not None
        size = (side(entry["width"], "width"), side(entry["height"], "height")) if stated else None
        identity = _identity(entry, "id")
        if identity in self.images:
            raise UserError(f"the id {identity!r} is there twice")
        self.images[identity] = self.builder.image(name, size)

    def _annotation(self, entry: Mapping[str, Any]) -> None:
        image = self.images.get(_identity(entry, "image_id"))
        if image is None:
            raise UserError(f"image_id: found {entry.get('image_id')!r}, which no image has")
        names = self.keypoints.get(_identity(entry, "category_id"))
        values = entry.get("keypoints")
        if entry.get("segmentation"):
            self.builder.left_out["outline"] += 1
        if names is None or not isinstance(values, list) or not any(values):
            self.builder.left_out["object without keypoints"] += 1
            return
        if len(values) != 3 * len(names):
            raise UserError(f"found {len(values)} values of keypoints, expected {3 * len(names)} (x, y, v each)")
        scores = entry.get(_SCORES)
        scored = scores if isinstance(scores, list) and len(scores) == len(names) else [entry.get("score")] * len(names)
        marks = list(_marks(names, values, scored))
        if (taken := next((name for name, _ in marks if any(key[1] == name for key in image.marks)), None)) is not None:
            raise UserError(
                f"{image.name} has several objects with keypoints ({taken!r} is there twice), expected one object an "
                f"image; keep one of them; {TWO_ANNOTATORS}"
            )
        for name, mark in marks:
            self.builder.mark(image, "", name, mark)
        if not _is_extent(entry.get("bbox"), [mark for _, mark in marks]):
            self.builder.left_out["box"] += 1


def _marks(names: list[str], values: list[Any], scores: list[Any]) -> Iterator[tuple[str, Mark]]:
    for number, name in enumerate(names):
        x, y, visibility = values[3 * number : 3 * number + 3]
        if visibility not in (NOT_LABELLED, HIDDEN, VISIBLE):
            raise UserError(f"keypoint {name!r}: found v {visibility!r:.20}, expected 0, 1 or 2")
        if visibility == NOT_LABELLED:
            continue
        flag = Flag.VISIBLE if visibility == VISIBLE else Flag.HIDDEN
        score = None if scores[number] is None else finite(scores[number], "score")
        yield name, Mark(coordinate(x, f"x of {name!r}"), coordinate(y, f"y of {name!r}"), flag, score=score)


def _identity(entry: Mapping[str, Any], key: str) -> int | str:
    found = entry.get(key)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise UserError(f"{key}: found {found!r:.60}, expected a number")
    return found


def _extent(marks: list[Mark]) -> list[float]:
    """The box of an object that is made of points alone: (x, y, width, height)."""
    xs, ys = [mark.x for mark in marks], [mark.y for mark in marks]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _is_extent(box: Any, marks: list[Mark]) -> bool:
    """Whether a box says no more than the points, or is none."""
    if not isinstance(box, list) or len(box) != 4 or not marks or not any(box):
        return True
    return all(
        isinstance(value, int | float) and abs(value - own) <= 1 for value, own in zip(box, _extent(marks), strict=True)
    )


def coco_document(labels: LabelSet) -> dict[str, Any]:
    """Give labels of one annotator as COCO's document; absent points are not labelled there (0, 0, 0)."""
    places = {name: number for number, name in enumerate(labels.landmark_names, 1)}
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(labels.images, 1):
        if marks := {landmark: mark for (_, landmark), mark in image.marks.items() if mark.placed}:
            annotations.append({"id": len(annotations) + 1, "image_id": number} | _object(labels, marks))
    category = {
        "id": 1, "name": CATEGORY, "supercategory": "", "keypoints": list(labels.landmark_names),
        "skeleton": [[places[first], places[second]] for first, second in labels.skeleton],
    }  # fmt: skip
    return {
        "info": {"description": "landmarks; x and y of a pixel's centre are whole numbers"},
        "licenses": [],
        "images": [{"id": number} | _image_entry(image) for number, image in enumerate(labels.images, 1)],
        "categories": [category],
        "annotations": annotations,
    }


def _image_entry(image: LabelledImage) -> dict[str, Any]:
    sized = {} if image.size is None else {"width": image.size[0], "height": image.size[1]}
    return {"file_name": image.name} | sized


def _object(labels: LabelSet, marks: Mapping[str, Mark]) -> dict[str, Any]:
    values: list[float] = []
    for name in labels.landmark_names:
        mark = marks.get(name)
        values += [0, 0, NOT_LABELLED] if mark is None else [mark.x, mark.y, _visibility(mark)]
    box = _extent(list(marks.values()))
    made = {
        "category_id": 1, "keypoints": values, "num_keypoints": len(marks), "bbox": box, "area": box[2] * box[3],
        "iscrowd": 0,
    }  # fmt: skip
    scores = [marks[name].score if name in marks else None for name in labels.landmark_names]
    known = [score for score in scores if score is not None]
    return made | ({"score": sum(known) / len(known), _SCORES: scores} if known else {})


def _visibility(mark: Mark) -> int:
    return HIDDEN if mark.flag is Flag.HIDDEN else VISIBLE

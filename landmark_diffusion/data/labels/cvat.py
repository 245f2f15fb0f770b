"""CVAT 1.1, "CVAT for images": one XML with an element an image, and in it points or skeletons of points.

CVAT draws the image from (0, 0) to (width, height) of its canvas and keeps the cursor's place on it, so (0, 0) is the
corner of the first pixel, whose centre is (0.5, 0.5). It writes two decimals itself, and reads any number of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels.building import LabelBuilder, coordinate, image_name, side, text
from landmark_diffusion.data.labels.cvat_xml import CENTRE, ORIGINS, cvat_xml, point_labels, skeleton_label
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import ABSENT, Flag, LabelledImage, LabelSet, Mark
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource

LABELS_FILE = ".labels.json"
"""The labels as CVAT's constructor takes them (tab Raw), beside the XML."""
_SHAPES = ("box", "polygon", "polyline", "ellipse", "mask", "cuboid", "tag")


class CvatFormat(LabelFormat):
    """Points of one label a landmark: what every task takes whose labels are the landmarks."""

    name, title, suffix = "cvat", "CVAT", ".xml"
    holds = frozenset(
        ("hidden", "origin", "size", "unmarked images", "unmarked landmarks", "annotators without marks")
    )  # fmt: skip
    in_skeleton = False

    def recognises(self, source: LabelSource) -> bool:
        """XML whose root is annotations."""
        start = source.beginning
        if start.startswith("<?xml"):
            start = start.partition("?>")[2].lstrip()
        return start.startswith("<annotations")

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read points and skeletons of images; other shapes are counted, tracks of videos refused."""
        reading = _Reading(source, images)
        source.xml(reading)
        return reading.build()

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the XML and the labels for the task that it is loaded into."""
        described = skeleton_label(labels) if self.in_skeleton else point_labels(labels)
        return {
            "": cvat_xml(labels, self.in_skeleton).encode(),
            LABELS_FILE: (json.dumps(described, indent=1) + "\n").encode(),
        }


class CvatSkeletonFormat(CvatFormat):
    """One skeleton an image, whose points may be outside: for tasks with a label of that kind."""

    name, title = "cvat-skeleton", "CVAT (skeleton)"
    holds = CvatFormat.holds | {"absent"}
    in_skeleton = True

    def recognises(self, source: LabelSource) -> bool:
        """Its files are read as ``CvatFormat``."""
        return False

    def more_losses(self, labels: LabelSet) -> list[str]:
        """A skeleton in CVAT has all its points."""
        missing = 0
        for image in labels.images:
            missing += (len(labels.landmark_names) - len(image.marks)) * bool(image.marks)
        return [f"has all points of a skeleton: {missing} missing ones are written as outside"] if missing else []


@dataclass
class _Element:
    """One element of an image as it comes."""

    name: str
    attributes: Mapping[str, str]
    inner: list[_Element] = field(default_factory=list)


class _Reading:
    """Takes the elements of a file (``core.safe_xml.Handler``), an image at a time."""

    def __init__(self, source: LabelSource, images: ImageFolder) -> None:
        self.builder, self.folder = LabelBuilder(source.path), images
        self.labels: list[tuple[str, str]] = []  # name, and that of the skeleton that it is part of
        self.path: list[str] = []
        self.words: list[str] = []
        self.open: list[_Element] = []
        self.listed = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if name == "track":
            raise self.builder.fault("found tracks of a video, expected 'CVAT for images 1.1'; export it as that")
        self.path.append(name)
        self.words = []
        if self.path == ["annotations", "meta"]:
            self.listed += 1
        if name == "label" and "meta" in self.path:
            self.labels.append(("", ""))
        if name == "image" or self.open:
            element = _Element(name, dict(attributes))
            if self.open:
                self.open[-1].inner.append(element)
            self.open.append(element)

    def data(self, text: str) -> None:
        """Text within an element."""
        self.words.append(text)

    def end(self, name: str) -> None:
        """An element ends."""
        self.path.pop()
        if self.path[-1:] == ["label"] and self.labels and name in ("name", "parent"):
            said, (own, parent) = "".join(self.words).strip(), self.labels[-1]
            self.labels[-1] = (said, parent) if name == "name" else (own, said)
        self.words = []
        if self.open:
            element = self.open.pop()
            if not self.open:
                self._image(element)

    def build(self) -> LabelSet:
        """Give what was read, landmarks in the order of the file's own list where it has all of them."""
        found = {landmark for image in self.builder.images() for _, landmark in image.marks}
        parents = {parent for _, parent in self.labels if parent}
        listed = [name for name, _ in self.labels if name and name not in parents]
        listed = [name for name in dict.fromkeys(listed)]
        complete = listed and found <= set(listed)
        if complete and parents and not found <= {name for name, parent in self.labels if parent}:
            return self.builder.build(listed)
        if complete and parents:
            listed = [name for name, parent in self.labels if parent]
        return self.builder.build(list(dict.fromkeys(listed)) if complete else None)

    def _image(self, element: _Element) -> None:
        what = f"image {element.attributes.get('id', '')}"
        try:
            said = element.attributes
            name = self.folder.name_of(image_name(said.get("name"), f"{what}: name"))
            size = (_side(said, "width"), _side(said, "height")) if "width" in said and "height" in said else None
            image = self.builder.image(name, size)
            for shape in element.inner:
                self._shape(image, shape)
        except DataError:
            raise
        except UserError as error:
            raise self.builder.fault(f"{what}: {error}") from None

    def _shape(self, image: LabelledImage, shape: _Element) -> None:
        if shape.name == "skeleton":
            for point in shape.inner:
                if point.name == "points":
                    self._points(image, point)
        elif shape.name == "points":
            self._points(image, shape)
        else:
            self.builder.left_out[shape.name if shape.name in _SHAPES else "other element"] += 1

    def _points(self, image: LabelledImage, shape: _Element) -> None:
        said = shape.attributes
        label = text(said.get("label"), "label").strip()
        if said.get("outside") == "1":
            self.builder.mark(image, "", label, ABSENT)
            return
        origin = next((name for name, word in ORIGINS.items() if word == said.get("source")), None)
        flag = Flag.HIDDEN if said.get("occluded") == "1" else Flag.VISIBLE
        pairs = said.get("points", "").split(";")
        for number, pair in enumerate(pairs, 1):
            landmark = label if len(pairs) == 1 else f"{label} {number}"
            x, y = _pair(pair, landmark)
            self.builder.mark(image, "", landmark, Mark(x - CENTRE, y - CENTRE, flag, origin))
        note = "points of one shape were named by its label and their number"
        if len(pairs) > 1 and note not in self.builder.notes:
            self.builder.notes.append(note)


def _pair(words: str, landmark: str) -> tuple[float, float]:
    parts = words.split(",")
    try:
        x, y = map(float, parts)
    except ValueError:
        raise UserError(f"{landmark!r}: found points {words!r:.60}, expected x,y") from None
    return coordinate(x, f"x of {landmark!r}"), coordinate(y, f"y of {landmark!r}")


def _side(said: Mapping[str, str], key: str) -> int:
    word = said[key]
    return side(int(word) if word.isascii() and word.isdigit() and len(word) < 10 else math.nan, key)

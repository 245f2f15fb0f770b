"""What CVAT is given: the XML of images with their points, and the labels of the task that it is loaded into."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import XMLGenerator, quoteattr
from xml.sax.xmlreader import AttributesImpl

from landmark_diffusion.data.labels.label_set import ABSENT, Flag, LabelledImage, LabelSet, Mark, Origin

CENTRE = 0.5
"""Where the centre of the first pixel lies."""
SKELETON = "landmarks"
"""Label of the skeleton."""
ORIGINS: dict[Origin, str] = {"by hand": "manual", "model": "auto", "corrected": "semi-auto"}


def cvat_xml(labels: LabelSet, in_skeleton: bool) -> str:
    """Give the XML of labels of one annotator: points of a label each, or a skeleton an image."""
    text = io.StringIO()
    _write(XMLGenerator(text, "utf-8", short_empty_elements=True), labels, in_skeleton)
    return text.getvalue()


def _write(xml: XMLGenerator, labels: LabelSet, in_skeleton: bool) -> None:
    xml.startDocument()
    with _Tag(xml, "annotations"):
        _leaf(xml, "version", "1.1")
        with _Tag(xml, "meta"), _Tag(xml, "task"):
            _leaf(xml, "size", str(len(labels.images)))
            _leaf(xml, "mode", "annotation")
            with _Tag(xml, "labels"):
                _write_labels(xml, labels, in_skeleton)
        for number, image in enumerate(labels.images):
            sized = {} if image.size is None else {"width": str(image.size[0]), "height": str(image.size[1])}
            with _Tag(xml, "image", id=str(number), name=image.name, **sized):
                if in_skeleton and image.marks:
                    _write_skeleton(xml, labels, image)
                elif not in_skeleton:
                    _write_points(xml, image)
    xml.endDocument()


class _Tag:
    """An element around what is written within the block, on lines of their own."""

    def __init__(self, xml: XMLGenerator, tag: str, **attributes: str) -> None:
        self.xml, self.tag, self.attributes = xml, tag, attributes

    def __enter__(self) -> None:
        self.xml.startElement(self.tag, AttributesImpl(self.attributes))
        self.xml.characters("\n")

    def __exit__(self, *_: object) -> None:
        self.xml.endElement(self.tag)
        self.xml.characters("\n")


def _leaf(xml: XMLGenerator, tag: str, content: str = "", **attributes: str) -> None:
    xml.startElement(tag, AttributesImpl(attributes))
    xml.characters(content)
    xml.endElement(tag)
    xml.characters("\n")


def _write_labels(xml: XMLGenerator, labels: LabelSet, in_skeleton: bool) -> None:
    if in_skeleton:
        with _Tag(xml, "label"):
            _leaf(xml, "name", SKELETON)
            _leaf(xml, "type", "skeleton")
    for name in labels.landmark_names:
        with _Tag(xml, "label"):
            _leaf(xml, "name", name)
            _leaf(xml, "type", "points")
            if in_skeleton:
                _leaf(xml, "parent", SKELETON)


def _write_points(xml: XMLGenerator, image: LabelledImage) -> None:
    for (_, landmark), mark in image.marks.items():
        if mark.placed:
            _leaf(xml, "points", label=landmark, **_said(mark), points=_text(mark), z_order="0")


def _write_skeleton(xml: XMLGenerator, labels: LabelSet, image: LabelledImage) -> None:
    marks = {landmark: mark for (_, landmark), mark in image.marks.items()}
    middle = f"{image.size[0] / 2!r},{image.size[1] / 2!r}" if image.size else "0,0"
    with _Tag(xml, "skeleton", label=SKELETON, source="manual", z_order="0"):
        for landmark in labels.landmark_names:
            mark = marks.get(landmark, ABSENT)
            place = _text(mark) if mark.placed else middle
            outside = "0" if mark.placed else "1"
            _leaf(xml, "points", label=landmark, **_said(mark), outside=outside, points=place)


def _said(mark: Mark) -> dict[str, str]:
    source = {} if mark.origin is None else {"source": ORIGINS[mark.origin]}
    return source | {"occluded": "1" if mark.flag is Flag.HIDDEN else "0"}


def _text(mark: Mark) -> str:
    return f"{mark.x + CENTRE!r},{mark.y + CENTRE!r}"


def point_labels(labels: LabelSet) -> list[dict[str, Any]]:
    """Give a label of kind points for each landmark, as the constructor of labels takes them."""
    return [{"name": name, "type": "points", "attributes": []} for name in labels.landmark_names]


def skeleton_label(labels: LabelSet) -> list[dict[str, Any]]:
    """Give one label of kind skeleton, drawn as the mean of its points in a square of 100 by 100."""
    places = dict(zip(labels.landmark_names, _drawn(labels), strict=True))
    numbers = {name: number for number, name in enumerate(labels.landmark_names, 1)}
    lines = [
        f'<line x1="{places[a][0]}" y1="{places[a][1]}" x2="{places[b][0]}" y2="{places[b][1]}" '
        f'data-type="edge" data-node-from="{numbers[a]}" data-node-to="{numbers[b]}"></line>'
        for a, b in labels.skeleton
    ]
    nodes = [
        f'<circle r="0.75" cx="{x}" cy="{y}" data-type="element node" data-element-id="{numbers[name]}" '
        f'data-node-id="{numbers[name]}" data-label-name={quoteattr(name)}></circle>'
        for name, (x, y) in places.items()
    ]
    points = [{"name": name, "type": "points", "attributes": []} for name in labels.landmark_names]
    made = {"name": SKELETON, "type": "skeleton", "attributes": [], "sublabels": points, "svg": "".join(lines + nodes)}
    return [made]


def _drawn(labels: LabelSet) -> Iterator[tuple[float, float]]:
    """Where each landmark lies on the drawing: at the mean of its share of the image's sides, else on a diagonal."""
    for number, name in enumerate(labels.landmark_names):
        shares = [
            (mark.x / image.size[0], mark.y / image.size[1])
            for image in labels.images
            for (_, landmark), mark in image.marks.items()
            if landmark == name and mark.placed and image.size
        ]
        spot = (number + 1) / (len(labels.landmark_names) + 1)
        x, y = (sum(axis) / len(shares) for axis in zip(*shares, strict=True)) if shares else (spot, spot)
        yield round(5 + 90 * min(max(x, 0), 1), 2), round(5 + 90 * min(max(y, 0), 1), 2)

"""What Label Studio is given: tasks with annotations or predictions, and the labelling interface that shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from landmark_diffusion.data.labels.label_set import SOLE_ANNOTATOR, Flag, LabelledImage, LabelSet, Origin

CENTRE = 0.5
"""Where the centre of the first pixel lies, in pixels from the image's edge."""
NAME = "image_name"
"""Element of a task's data that is ours: what the image is called in the labels."""
IMAGE, POINTS, FLAG, NOT_THERE, MARKED_BY = "image", "landmark", "flag", "absent", "marked_by"
"""Names of the interface's elements; ``annotator`` is one of Label Studio's own in JSON_MIN."""
_LOCAL = "/data/local-files/?d="
ORIGINS: dict[Origin, str] = {"by hand": "manual", "model": "prediction", "corrected": "prediction-changed"}
_POINT_SIZE = 0.3  # percent of the image's width, as it is drawn


def tasks_json(tasks: list[dict[str, Any]]) -> bytes:
    """Give tasks as the file that Label Studio imports."""
    return (json.dumps(tasks, allow_nan=False) + "\n").encode()


def config(landmark_names: tuple[str, ...]) -> str:
    """Give the labelling interface of these landmarks, to be pasted under Settings, Labeling Interface, Code."""
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in landmark_names)
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in landmark_names)
    return f"""<View>
  <Image name="{IMAGE}" value="${IMAGE}" zoom="true" zoomControl="true" brightnessControl="true"
    contrastControl="true"/>
  <KeyPointLabels name="{POINTS}" toName="{IMAGE}" strokeWidth="{_POINT_SIZE}">
{labels}
  </KeyPointLabels>
  <Choices name="{FLAG}" toName="{IMAGE}" perRegion="true">
    <Choice value="{Flag.HIDDEN}"/>
    <Choice value="{Flag.UNSURE}"/>
  </Choices>
  <Header value="not in the image"/>
  <Choices name="{NOT_THERE}" toName="{IMAGE}" choice="multiple">
{choices}
  </Choices>
  <TextArea name="{MARKED_BY}" toName="{IMAGE}" maxSubmissions="1" editable="true" placeholder="annotator"/>
</View>
"""


def task(labels: LabelSet, image: LabelledImage, place: str, model: str | None = None) -> dict[str, Any]:
    """Give one image as a task: with an annotation a person, or with ``model``'s points as its prediction.

    The image's size has to be known. ``place`` is its path from the folder that Label Studio serves, which has to hold
    that of the images: it refuses to serve the folder itself.
    """
    data: dict[str, Any] = {IMAGE: _LOCAL + quote(place), NAME: image.name}
    if image.size is not None:
        data |= {"width": image.size[0], "height": image.size[1]}
    if image.spacing is not None:
        data["spacing"] = list(image.spacing)
    made = {"data": data}
    if model is not None:
        scores = [mark.score for mark in image.marks.values() if mark.score is not None]
        mean = {"score": sum(scores) / len(scores)} if scores else {}
        results = list(_written(image, labels.annotator_names[0]))
        return made | {"predictions": [{"model_version": model, **mean, "result": results}]}
    marking = [name for name in labels.annotator_names if any(by == name for by, _ in image.marks)]
    return made | {"annotations": [{"result": _of_person(image, name)} for name in marking]}


def _of_person(image: LabelledImage, annotator: str) -> list[dict[str, Any]]:
    """Points of a person, who is named unless nobody ever was."""
    named = {"id": "marked_by", "from_name": MARKED_BY, "type": "textarea", "value": {"text": [annotator]}}
    front = [named | {"to_name": IMAGE}] if annotator != SOLE_ANNOTATOR else []
    return front + list(_written(image, annotator))


def _written(image: LabelledImage, annotator: str) -> Iterator[dict[str, Any]]:
    width, height = image.size or (math.nan, math.nan)
    common = {"to_name": IMAGE, "original_width": width, "original_height": height, "image_rotation": 0}
    absent = []
    for number, ((by, landmark), mark) in enumerate(image.marks.items(), 1):
        if by != annotator:
            continue
        if not mark.placed:
            absent.append(landmark)
            continue
        place = {
            "x": (mark.x + CENTRE) / width * 100, "y": (mark.y + CENTRE) / height * 100, "width": _POINT_SIZE
        }  # fmt: skip
        region = {"id": f"point{number}", **common}
        said = {"origin": None if mark.origin is None else ORIGINS[mark.origin], "score": mark.score}
        yield (
            region
            | {"from_name": POINTS, "type": "keypointlabels", "value": place | {"keypointlabels": [landmark]}}
            | {key: value for key, value in said.items() if value is not None}
        )
        if mark.flag is not Flag.VISIBLE:
            yield region | {"from_name": FLAG, "type": "choices", "value": place | {"choices": [str(mark.flag)]}}
    if absent:
        yield {
            "id": "absent",
            "from_name": NOT_THERE,
            "to_name": IMAGE,
            "type": "choices",
            "value": {"choices": absent},
        }

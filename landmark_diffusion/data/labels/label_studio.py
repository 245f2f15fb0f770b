"""Label Studio: one JSON of tasks, each with an image and annotations of several people; also its short form JSON_MIN.

A point is x and y in percent of the image's sides, from corner to corner: its own snapping to a pixel's centre goes to
half a pixel from the edge, so that the centre of the first pixel is at 50 / width percent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels.building import LabelBuilder, coordinate, finite, image_name, side, spacing_of, text
from landmark_diffusion.data.labels.label_format import LabelFormat
from landmark_diffusion.data.labels.label_set import ABSENT, SOLE_ANNOTATOR, Flag, LabelledImage, LabelSet, Mark, Origin
from landmark_diffusion.data.labels.label_source import ImageFolder, LabelSource
from landmark_diffusion.data.labels.label_studio_tasks import (
    CENTRE,
    FLAG,
    IMAGE,
    MARKED_BY,
    NAME,
    NOT_THERE,
    ORIGINS,
    config,
    task,
    tasks_json,
)
from landmark_diffusion.data.readers.radiograph import RADIOGRAPH_SUFFIXES

CONFIG_FILE = ".config.xml"
"""The labelling interface, beside the tasks: without it Label Studio shows no points."""
_DIGITS = 9
"""Decimals of a pixel that are kept: more are of the division by 100 alone."""
_UPLOADED = re.compile(r"[0-9a-f]{8}-", re.ASCII)


class LabelStudioFormat(LabelFormat):
    """Tasks with annotations; the names of those who marked stand in a text field of theirs."""

    name, title, suffix = "label-studio", "Label Studio", ".json"
    holds = frozenset(
        ("annotators", "hidden", "unsure", "absent", "size", "spacing", "origin", "score", "unmarked images",
         "unmarked landmarks")
    )  # fmt: skip
    needs_size = True

    def recognises(self, source: LabelSource) -> bool:
        """A list of tasks, or of annotations in the short form."""
        found = source.looked_at
        first = found[0] if isinstance(found, list) and found else None
        return isinstance(first, dict) and (_is_task(first) or _is_short(first))

    def read(self, source: LabelSource, images: ImageFolder) -> LabelSet:
        """Read all points with a label; other results are counted, skipped annotations left out."""
        return _Reading(source, images).read()

    def files(self, labels: LabelSet, target: Path, images: ImageFolder) -> dict[str, bytes]:
        """Give the tasks and the labelling interface."""
        tasks = [task(labels, image, _served(image.name, images)) for image in labels.images]
        return {"": tasks_json(tasks), CONFIG_FILE: config(labels.landmark_names).encode()}


def _served(name: str, images: ImageFolder) -> str:
    """Path of an image from the folder above that of the images; its name where it is not there."""
    path = images.find(name)
    if path is None or images.folder is None:
        return name
    return f"{images.folder.resolve().name}/{path.relative_to(images.folder).as_posix()}"


def _is_task(entry: Mapping[str, Any]) -> bool:
    kinds = ("annotations", "predictions", "completions")
    return isinstance(entry.get("data"), dict) and any(isinstance(entry.get(kind), list) for kind in kinds)


def _is_short(entry: Mapping[str, Any]) -> bool:
    return "data" not in entry and "annotation_id" in entry and "annotator" in entry


class _Reading:
    """One file as it is read."""

    def __init__(self, source: LabelSource, images: ImageFolder) -> None:
        self.path, self.tasks = source.path, source.json
        if not isinstance(self.tasks, list):
            raise DataError("found no list, expected Label Studio's tasks (export JSON or JSON_MIN)", source.path)
        self.builder, self.folder = LabelBuilder(source.path), images
        annotated = (_annotations(each) for each in self.tasks if isinstance(each, dict))
        self.predictions_count = not any(annotated)  # else they are what somebody else had looked at

    def read(self) -> LabelSet:
        """Read task by task; the first fault is told with its place."""
        for number, entry in enumerate(self.tasks):
            try:
                if isinstance(entry, dict) and _is_task(entry):
                    self._task(entry)
                elif isinstance(entry, dict) and _is_short(entry):
                    self._short(entry)
                else:
                    raise UserError("expected a task with data, and annotations or predictions")
            except DataError:
                raise
            except UserError as error:
                where = f"[{number}] (id {entry.get('id')})" if isinstance(entry, dict) else f"[{number}]"
                raise self.builder.fault(f"{where}: {error}") from None
        names = _configured(self.path.with_name(self.path.stem + CONFIG_FILE))
        found = {landmark for image in self.builder.images() for _, landmark in image.marks}
        return self.builder.build(names if names and found <= set(names) else None)

    def _task(self, entry: Mapping[str, Any]) -> None:
        data = entry["data"]
        image = self.builder.image(self._name(data), _stated_size(data), spacing_of(data.get("spacing")))
        predictions = _objects(entry.get("predictions"))
        if predictions and not self.predictions_count:
            self.builder.left_out["prediction"] += len(predictions)
            predictions = []
        for annotation in _annotations(entry):
            if annotation.get("was_cancelled"):
                self.builder.left_out["skipped annotation"] += 1
            else:
                self._results(image, annotation, _who(annotation.get("completed_by")), None)
        for prediction in predictions:
            model = text(prediction.get("model_version") or SOLE_ANNOTATOR, "model_version")
            self._results(image, prediction, model, "model")

    def _results(
        self, image: LabelledImage, annotation: Mapping[str, Any], annotator: str, origin: Origin | None
    ) -> None:
        results = annotation.get("result")
        if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
            raise UserError("result: expected a list of objects")
        named = next((each for each in results if each.get("from_name") == MARKED_BY), None)
        if named is not None and (name := _first(_value(named).get("text"))):
            annotator = text(name, MARKED_BY)
        self.builder.annotator(annotator)
        flags = {_region(each): _flag(each) for each in results if each.get("type") == "choices"}
        time = _time(annotation)
        for result in results:
            if result.get("type") == "keypointlabels":
                _fit_size(image, result, self.builder)
                made = _origin(result.get("origin")) or origin
                flag = flags.get(_region(result)) or Flag.VISIBLE
                self._point(image, annotator, _value(result), flag, made, time, result.get("score"))
            elif result.get("from_name") == NOT_THERE:
                self._not_there(image, annotator, _value(result).get("choices"))
            elif result is not named and not (result.get("type") == "choices" and flags[_region(result)]):
                self.builder.left_out[text(result.get("type") or "result", "type")] += 1

    def _point(
        self, image: LabelledImage, annotator: str, value: Mapping[str, Any], flag: Flag, origin: Origin | None,
        time: str, score: Any,
    ) -> None:  # fmt: skip
        labels = value.get("keypointlabels")
        if not isinstance(labels, list) or len(labels) != 1:
            raise UserError(f"{image.name}: found the labels {labels!r:.60} at a point, expected one")
        landmark = text(labels[0], "keypointlabels").strip()
        if image.size is None:
            raise UserError(f"{image.name}: found a point without original_width and original_height")
        x, y = (
            round(coordinate(finite(value.get(axis), f"{landmark!r}: {axis}") / 100 * length, axis) - CENTRE, _DIGITS)
            for axis, length in zip("xy", image.size, strict=True)
        )
        known = None if score is None else finite(score, f"{landmark!r}: score")
        self.builder.mark(image, annotator, landmark, Mark(x, y, flag, origin, time, known))

    def _not_there(self, image: LabelledImage, annotator: str, choices: Any) -> None:
        for name in choices if isinstance(choices, list) else [choices]:
            self.builder.mark(image, annotator, text(name, NOT_THERE), ABSENT)

    def _short(self, entry: Mapping[str, Any]) -> None:
        """One annotation of JSON_MIN: each element of the interface by its name, beside the task's data."""
        image = self.builder.image(self._name(entry), _stated_size(entry), spacing_of(entry.get("spacing")), again=True)
        if entry["annotation_id"] is None:  # a task that nobody has annotated
            return
        named = _first(entry.get(MARKED_BY))
        annotator = self.builder.annotator(text(named, MARKED_BY) if named else _who(entry["annotator"]))
        time = _time(entry)
        for name, values in entry.items():
            if name == FLAG:  # without a word on the point that it is about
                self.builder.left_out["flag of a point"] += len(values) if isinstance(values, list) else 1
            if name == NOT_THERE:
                self._not_there(image, annotator, values.get("choices") if isinstance(values, dict) else values)
                continue
            for value in values if isinstance(values, list) else ():
                if isinstance(value, dict) and "keypointlabels" in value:
                    _fit_size(image, value, self.builder)
                    self._point(image, annotator, value, Flag.VISIBLE, None, time, None)
                elif isinstance(value, dict) and (kind := next((key for key in value if key.endswith("labels")), "")):
                    self.builder.left_out[text(kind, "labels")] += 1

    def _name(self, data: Mapping[str, Any]) -> str:
        """Name of the image: of the one element of a task's data that is an image's address."""
        if isinstance(data.get(NAME), str):
            return self.folder.name_of(image_name(data[NAME], NAME))
        texts = {key: value for key, value in data.items() if isinstance(value, str) and value.strip()}
        usual = [texts[key] for key in (IMAGE, "img", "image_url") if key in texts]
        by_suffix = [each for each in texts.values() if _address(each).lower().endswith(RADIOGRAPH_SUFFIXES)]
        if not (usual or by_suffix):
            raise UserError(f"data: found no image among {', '.join(map(repr, list(data)[:6]))}, expected its address")
        return self.folder.name_of(image_name(_address((usual or by_suffix)[0]), "image"))


def _address(found: str) -> str:
    """Path of an image out of its address: of a folder that Label Studio serves, of an upload, a bucket, the web."""
    try:
        parts = urlsplit(found)
    except ValueError:
        return found
    if parts.path.startswith("/data/local-files") and (local := parse_qs(parts.query).get("d")):
        return local[0]
    if not parts.scheme and not found.startswith("/data/"):
        return found
    path = unquote(parts.path)
    last = path.rpartition("/")[2]
    if path.startswith("/data/upload/"):
        return _UPLOADED.sub("", last, count=1)
    return path.lstrip("/") or found


def _annotations(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Annotations of a task, also under the name that early versions gave them, and each entry of the short form."""
    if _is_short(entry):
        return [entry]
    return _objects(entry.get("annotations") or entry.get("completions"))


def _objects(found: Any) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _who(completed_by: Any) -> str:
    """Name of who made an annotation, by e-mail or number as the export has it."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return SOLE_ANNOTATOR if completed_by in (None, "") else text(str(completed_by), "completed_by")


def _value(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found = result.get("value")
    if not isinstance(found, dict):
        raise UserError(f"value: found {found!r:.60}, expected an object")
    return found


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else values


def _region(result: Mapping[str, Any]) -> str:
    """What a point and the choices beside it share."""
    return str(result.get("id"))[:100]


def _flag(result: Mapping[str, Any]) -> Flag | None:
    """What a choice beside a point says of it; None where it is about something else."""
    word = _first(_value(result).get("choices"))
    return next((flag for flag in (Flag.HIDDEN, Flag.UNSURE, Flag.VISIBLE) if flag == word), None)


def _time(entry: Mapping[str, Any]) -> str:
    """When an annotation was saved last; empty where that is no text."""
    found = entry.get("updated_at") or entry.get("created_at")
    return text(found, "updated_at") if isinstance(found, str) and found else ""


def _origin(word: Any) -> Origin | None:
    return next((name for name, theirs in ORIGINS.items() if theirs == word), None)


def _stated_size(data: Mapping[str, Any]) -> tuple[int, int] | None:
    """Size that the task's data say, as those that are written here do."""
    width, height = data.get("width"), data.get("height")
    both = isinstance(width, int) and isinstance(height, int)
    return (side(width, "width"), side(height, "height")) if both else None


def _fit_size(image: LabelledImage, result: Mapping[str, Any], builder: LabelBuilder) -> None:
    """Take the image's size from a point's result; raises UserError where it is turned, or of another size before."""
    if result.get("image_rotation"):
        raise UserError(
            f"{image.name} was turned by {result['image_rotation']} degrees; turn the file and export again"
        )
    if "original_width" in result and "original_height" in result:
        size = (side(result["original_width"], "original_width"), side(result["original_height"], "original_height"))
        builder.image(image.name, size, again=True)


class _Labels:
    """Values of the labels of points in a labelling interface (``core.safe_xml.Handler``)."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.open: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """A label counts where it stands within KeyPointLabels."""
        if name == "Label" and "KeyPointLabels" in self.open and attributes.get("value"):
            self.found.append(attributes["value"])
        self.open.append(name)

    def end(self, name: str) -> None:
        """An element ends."""
        self.open.pop()

    def data(self, text: str) -> None:
        """No text counts."""


def _configured(path: Path) -> list[str]:
    """Landmarks of the labelling interface beside the tasks, in order; none where there is none."""
    if not path.is_file():
        return []
    labels = _Labels()
    LabelSource(path).xml(labels)
    return labels.found

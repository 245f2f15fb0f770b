"""Detections as labels, for the tools that people correct them in: COCO, LabelMe, CVAT and Label Studio.

A point that is not in the image is absent, a doubtful one unsure, where the tool can hold that (docs/formats.md); the
score is the probability that the point is not far off, where the model tells it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.say import say
from landmark_diffusion.data.labels.coco import CocoFormat
from landmark_diffusion.data.labels.cvat import LABELS_FILE, CvatFormat
from landmark_diffusion.data.labels.label_format import LabelFormat, write_beside
from landmark_diffusion.data.labels.label_set import ABSENT, SOLE_ANNOTATOR, Flag, LabelledImage, LabelSet, Mark, Origin
from landmark_diffusion.data.labels.label_source import ImageFolder
from landmark_diffusion.data.labels.label_studio import CONFIG_FILE, LabelStudioFormat
from landmark_diffusion.data.labels.label_studio_tasks import config, task, tasks_json
from landmark_diffusion.data.labels.labelme import NAMES_FILE, LabelMeFormat, labelme_document
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writer import FileAnImage, OneFile


class _LabelsFile(OneFile):
    """One file of a form of labels, and what lies beside it."""

    form: ClassVar[LabelFormat]
    beside: ClassVar[tuple[str, ...]] = ()
    """What follows the file's stem in the names of further files."""

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the file and those beside it."""
        path = self.folder / self.file_name
        return [path, *(path.with_name(path.stem + end) for end in self.beside)]

    @classmethod
    def record(cls, detection: Detection) -> Detection:
        """Keep the detection without its picture."""
        return replace(detection, pixels=None)

    @classmethod
    def write(cls, path: Path, records: Sequence[Detection]) -> None:
        """Write the file, and say what it cannot hold."""
        labels = labels_of(records, cls.form)
        write_beside(path, cls.files(labels, path, records), overwrite=True)  # asked for by `refuse_existing` before
        for sentence in cls.form.losses(labels):
            say(f"{cls.name}: {sentence}")

    @classmethod
    def files(cls, labels: LabelSet, path: Path, records: Sequence[Detection]) -> dict[str, bytes]:
        """Give the files as the form does."""
        return cls.form.files(labels, path, ImageFolder())


class CocoWriter(_LabelsFile):
    """Write ``coco.json``: one object an image, with a score."""

    name, file_name, form = "coco", "coco.json", CocoFormat()


class CvatWriter(_LabelsFile):
    """Write ``cvat.xml``, and the labels for the task that it is loaded into."""

    name, file_name, form, beside = "cvat", "cvat.xml", CvatFormat(), (LABELS_FILE,)


class LabelStudioWriter(_LabelsFile):
    """Write ``label_studio.json``, tasks with predictions, and the labelling interface."""

    name, file_name, form, beside = "label-studio", "label_studio.json", LabelStudioFormat(), (CONFIG_FILE,)

    @classmethod
    def files(cls, labels: LabelSet, path: Path, records: Sequence[Detection]) -> dict[str, bytes]:
        """Give the points as predictions, which somebody takes over or corrects."""
        model = records[0].model or "model"
        folder = Path(_shared([each.path for each in records])).name
        tasks = [task(labels, image, f"{folder}/{image.name}".lstrip("/"), model) for image in labels.images]
        return {"": tasks_json(tasks), CONFIG_FILE: config(labels.landmark_names).encode()}


class LabelMeWriter(FileAnImage):
    """Write ``labelme/NAME.json`` for each image, which leads to the image where it lies, and the list of landmarks."""

    name, subfolder, suffix = "labelme", "labelme", ".json"
    form = LabelMeFormat()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._landmarks: tuple[str, ...] = ()

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List the file of each image and that of the landmarks."""
        return [*super().targets(names), self.folder / self.subfolder / NAMES_FILE]

    def add(self, detection: Detection) -> None:
        """Write one image's file."""
        super().add(detection)
        self._landmarks = detection.landmark_names

    def close(self) -> list[Path]:
        """Write the list, and return the folder."""
        if self._landmarks:
            atomic_write_text(self.folder / self.subfolder / NAMES_FILE, "\n".join(self._landmarks) + "\n")
        return super().close()

    @classmethod
    def save(cls, path: Path, detection: Detection) -> None:
        """Write one detection as ``path``; raises UserError where that cannot be done."""
        image = labelled(detection, Path(detection.path).name, cls.form)
        content = labelme_document(image, _leading_to(detection.path, path))
        atomic_write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def labels_of(detections: Sequence[Detection], form: LabelFormat) -> LabelSet:
    """Give the detections of one call as labels, images by their paths within the folder that they share."""
    names = _names([each.path for each in detections])
    images = [labelled(detection, name, form) for detection, name in zip(detections, names, strict=True)]
    try:
        return LabelSet(detections[0].landmark_names, (SOLE_ANNOTATOR,), tuple(images))
    except UserError:  # a file's name that is no text, or two of one name on different drives
        images = [replace(image, name=each.name) for image, each in zip(images, detections, strict=True)]
        return LabelSet(detections[0].landmark_names, (SOLE_ANNOTATOR,), tuple(images))


def labelled(detection: Detection, name: str, form: LabelFormat) -> LabelledImage:
    """Give one detection as an image's labels, with what the form can hold."""
    marks = {}
    probable = detection.far if detection.far is not None else np.full(len(detection.landmark_names), np.nan)
    origin: Origin | None = "model" if "origin" in form.holds else None
    each = zip(
        detection.landmark_names, detection.points.tolist(), detection.absent, detection.in_doubt, probable, strict=True
    )
    for landmark, (x, y), absent, doubtful, far in each:
        if absent:
            marks[SOLE_ANNOTATOR, landmark] = replace(ABSENT, origin=origin)
        elif np.isfinite([x, y]).all():
            flag = Flag.UNSURE if doubtful else Flag.VISIBLE
            score = None if np.isnan(far) or "score" not in form.holds else float(1 - far)
            marks[SOLE_ANNOTATOR, landmark] = Mark(x, y, flag, origin, score=score)
    spacing = detection.spacing if "spacing" in form.holds else None
    return LabelledImage(name, detection.size, spacing, marks)


def _names(paths: Sequence[str]) -> list[str]:
    """Files by their paths within the folder that all lie in, with ``/``."""
    shared = _shared(paths)
    return [Path(os.path.relpath(path, shared)).as_posix() if shared else Path(path).name for path in paths]


def _shared(paths: Sequence[str]) -> str:
    """The folder that all files lie in, anywhere below; empty where there is none (on different drives of Windows)."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    except ValueError:
        return ""


def _leading_to(image: str, file: Path) -> str:
    """The image's path from the folder of a file."""
    try:
        return Path(os.path.relpath(image, file.parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return Path(os.path.abspath(image)).as_posix()

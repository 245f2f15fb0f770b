"""What is judged: the labels of a data set, and what a model finds in each image and in its eight orientations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.forms import BY_NAME, NEGATIVE
from landmark_diffusion.data.landmark_names import have_names, match_landmarks, spelled
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import LandmarkDataset, Stage
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.detection.reasons import TURNS

_STAGES: tuple[Stage, ...] = ("train", "val", "test")
ORIENTATIONS = tuple(BY_NAME[name] for name in TURNS if name != NEGATIVE)
"""The seven forms besides the upright one in which an image or its labels may lie."""


@dataclass(frozen=True)
class LabelMaterial:
    """Labels of I images by A annotators, and what a model finds, of the N landmarks that both have.

    Attributes:
        ids: (I,) image ids. sources: (I,) where their labels were read. landmarks, annotators: names.
        labels: (I, A, N, 2) original pixels, NaN where missing.
        points: (I, N, 2) the model's, original pixels. covariance: (I, N, 2, 2) squared pixels, None without.
        sizes: (I, 2) width and height in pixels. spacing: (I, 2) length of a pixel in ``unit``.
        unlike: (I,) whether the model calls the image unlike those it knows.
        doubtful: (I, N) bool: points that the model itself doubts; all False where it cannot tell.
        unit: of lengths: mm, px or px256.
    """

    ids: tuple[str, ...]
    sources: tuple[str, ...]
    landmarks: tuple[str, ...]
    annotators: tuple[str, ...]
    labels: np.ndarray
    points: np.ndarray
    covariance: np.ndarray | None
    sizes: np.ndarray
    spacing: np.ndarray
    unlike: np.ndarray
    doubtful: np.ndarray
    unit: str

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TurnedLooks:
    """What the model finds in an image brought back from each of ORIENTATIONS, in pixels of the brought-back image.

    Attributes:
        points: (7, N, 2). covariance: (7, N, 2, 2), None without.
    """

    points: np.ndarray
    covariance: np.ndarray | None


@dataclass(frozen=True)
class Landmarks:
    """Places of the landmarks that model and data share: in the model's order ``model``, in the data's ``data``."""

    model: tuple[int, ...]
    data: tuple[int, ...]
    names: tuple[str, ...]
    note: str = ""


def shared_landmarks(model: Sequence[str], data: Sequence[str]) -> Landmarks:
    """Match a model's landmarks with the data's by name, also where one side has more.

    Raises UserError where they have no name in common, or one side has no names and another number of them.
    """
    if not data:
        raise UserError("data check --model: the data have no labels to judge")
    if len(model) == len(data) and not (have_names(model) and have_names(data)):
        match = match_landmarks(model, data, "the model")
        return Landmarks(tuple(range(len(model))), match.order, tuple(model), match.note)
    places = {spelled(name): place for place, name in enumerate(data)}
    common = [(place, places[spelled(name)]) for place, name in enumerate(model) if spelled(name) in places]
    if not common:
        raise UserError(
            f"data check --model: the model and the data have no landmark in common: it finds {_some(model)}, the data "
            f"have {_some(data)}. Take a model of this anatomy, or give the data its names (--landmark_names)"
        )
    left = [name for place, name in enumerate(data) if place not in {there for _, there in common}]
    note = f"not judged, since the model does not find them: {_some(left)}" if left else ""
    names = tuple(data[there] for _, there in common)
    return Landmarks(tuple(here for here, _ in common), tuple(there for _, there in common), names, note)


def labelled_samples(dataset: LandmarkDataset) -> list[LandmarkSample]:
    """All images of a data set that have a label, each once; raises UserError where none has."""
    samples = {sample.image_id: sample for stage in _STAGES for sample in dataset.samples(stage)}
    labelled = [sample for sample in samples.values() if np.isfinite(sample.annotations).all(-1).any()]
    if not labelled:
        raise UserError(f"data check --model: {dataset.name}: found no labels among {counted(len(samples), 'image')}")
    return labelled


def gather(
    detector: Detector, dataset: LandmarkDataset, batch_size: int = 4, advance: Callable[[str], Any] = lambda name: None
) -> tuple[LabelMaterial, list[LandmarkSample], Landmarks, list[str]]:
    """Look at every labelled image of a data set.

    Returns the material, the samples in its order, the landmarks that are judged, and a line for each image that
    cannot be read and was left out. Raises UserError where nothing can be judged.
    """
    shared = shared_landmarks(detector.facts.landmark_names, dataset.landmark_names)
    samples = labelled_samples(dataset)
    kept: list[LandmarkSample] = []
    found: list[Detection] = []
    faults: list[str] = []
    for start in range(0, len(samples), batch_size):
        batch, greys = [], []
        for sample in samples[start : start + batch_size]:
            try:
                greys.append(dataset.load_image(sample))
                batch.append(sample)
            except DataError as error:
                faults.append(str(error))
            advance(sample.image_id)
        kept += batch
        found += detections(detector, greys)
    if not kept:
        raise UserError(f"data check --model: {dataset.name}: none of {counted(len(samples), 'image')} can be read")
    points, covariance = _of_shared(found, shared)
    spacing = np.array([sample.spacing or (np.nan, np.nan) for sample in kept])
    known = bool(np.isfinite(spacing).all())
    material = LabelMaterial(
        ids=tuple(sample.image_id for sample in kept),
        sources=tuple(sample.source for sample in kept),
        landmarks=shared.names,
        annotators=tuple(dataset.annotator_names),
        labels=_whole(np.stack([sample.annotations[:, list(shared.data)] for sample in kept])),
        points=points,
        covariance=covariance,
        sizes=np.array([sample.size for sample in kept], dtype=np.float64),
        spacing=spacing if known else np.ones((len(kept), 2)),
        unlike=np.array([bool(each.unlike) for each in found]),
        doubtful=np.stack([own_doubt(each)[list(shared.model)] for each in found]),
        unit=dataset.unit if known else "px",
    )
    return material, kept, shared, faults


def look_turned(detector: Detector, image: np.ndarray, shared: Landmarks) -> TurnedLooks:
    """Look at an image (H, W) brought back from each of the ORIENTATIONS."""
    found = detections(detector, [form.undo(image) for form in ORIENTATIONS])
    return TurnedLooks(*_of_shared(found, shared))


def with_own_doubts(material: LabelMaterial, doubtful: np.ndarray) -> LabelMaterial:
    """Call further images (I,) unlike."""
    return replace(material, unlike=material.unlike | doubtful)


def detections(detector: Detector, greys: Sequence[np.ndarray]) -> list[Detection]:
    """Detections without the reasons of those that are unlike, which the orientations answer here."""
    if not greys:
        return []
    names = [""] * len(greys)
    radiographs = [Radiograph(grey, None, UNKNOWN_SPACING, (), 8) for grey in greys]
    return detector.detect(radiographs, names, names, explain=False)


def own_doubt(detection: Detection) -> np.ndarray:
    """Which points (N,) the model has no firm word on: bool, doubtful ones and those of landmarks outside the image."""
    return np.asarray(detection.in_doubt | detection.absent)


def _of_shared(found: Sequence[Detection], shared: Landmarks) -> tuple[np.ndarray, np.ndarray | None]:
    """Points and covariances of the shared landmarks."""
    chosen = list(shared.model)
    covariance = [each.covariance[chosen] for each in found if each.covariance is not None]
    points = np.stack([each.points[chosen] for each in found])
    return points, np.stack(covariance) if len(covariance) == len(found) else None


def _whole(labels: np.ndarray) -> np.ndarray:
    """Make both coordinates of a half-given point NaN."""
    return np.where(np.isfinite(labels).all(-1, keepdims=True), labels, np.nan)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

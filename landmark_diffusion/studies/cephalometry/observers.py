"""Who is compared on the radiographs of ISBI 2015: the doctors of its annotation files, and a model's detections."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.landmark_names import respelled
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Stage
from landmark_diffusion.data.sources.isbi2015 import Isbi2015Dataset
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.studies.cephalometry.agreement import Agreement, agreement
from landmark_diffusion.studies.cephalometry.facing import find_facing
from landmark_diffusion.studies.cephalometry.measures import MEASURES, Facing, measure_points

PARTS: dict[str, tuple[Stage, ...]] = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
"""Name of a part to the stages of the official split: 001-150, 151-300, and both."""
MODEL, MEAN = "model", "mean of both"


@dataclass(frozen=True)
class Observers:
    """Points of several observers on the same I images.

    Attributes:
        image_ids: I numbers as in the files' names, such as "151".
        names: N landmark names.
        points: observer's name to (I, N, 2) original pixels, NaN where missing.
        spacing: mm per pixel (x, y).
        doubts: what is wrong with the data but does not stop the work, one sentence each.
    """

    image_ids: tuple[str, ...]
    names: tuple[str, ...]
    points: dict[str, np.ndarray]
    spacing: tuple[float, float]
    doubts: tuple[str, ...] = ()

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[Agreement]:
        """Compare pairs of observers: one row a measure and one for all, for each pair."""
        facings = [find_facing(mean_of_annotators(each), self.names) or "right" for each in self._by_image()]
        values = {name: self._measure(points, facings) for name, points in self.points.items()}
        return [row for a, b in pairs for row in agreement((a, values[a]), (b, values[b]))]

    def _by_image(self) -> np.ndarray:
        """The doctors' points, (I, A, N, 2): the side a face looks to is a fact of the image, so they settle it."""
        return np.stack([points for name, points in self.points.items() if name not in (MODEL, MEAN)], 1)

    def _measure(self, points: np.ndarray, facings: Sequence[Facing]) -> dict[str, np.ndarray]:
        rows = [
            measure_points(each, self.names, side, self.spacing) for each, side in zip(points, facings, strict=True)
        ]
        return {each.name: np.array([float(row[each.name]) for row in rows]) for each in MEASURES}


def read_doctors(root: str | Path, part: str = "all") -> tuple[list[LandmarkSample], Observers]:
    """Read both doctors' points of a part of ISBI 2015; raises DataError on the first faulty file."""
    dataset = Isbi2015Dataset(root)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = [sample for stage in PARTS[part] for sample in dataset.samples(stage)]
    if not samples:
        raise UserError(f"{root}: found no image of the part {part!r} of the official split")
    annotations = np.stack([sample.annotations for sample in samples])
    points = {name: annotations[:, place] for place, name in enumerate(dataset.annotator_names)}
    spacing = samples[0].spacing
    assert spacing is not None
    ids = tuple(sample.image_id for sample in samples)
    doubts = tuple(dict.fromkeys(str(each.message) for each in caught))
    return samples, Observers(ids, dataset.landmark_names, points, spacing, doubts)


def with_model(doctors: Observers, samples: Sequence[LandmarkSample], detections: Sequence[Detection]) -> Observers:
    """Keep the images that were detected, and add the model and the mean of both doctors as observers.

    Detections belong to images by name, else by the stem of their path. Raises UserError where none belongs to any, or
    one is of another size than its image.
    """
    named = _grouped((each.name, each) for each in detections)
    called = _grouped((Path(each.path).stem, each) for each in detections)
    found: dict[int, Detection] = {}
    for place, sample in enumerate(samples):
        own = named.get(sample.image_id) or called.get(sample.image_id)
        if own:
            found[place] = _belonging(sample, own)
    if not found:
        raise UserError(
            f"none of the {len(detections)} images of the points (the first is {detections[0].name!r}) is one of the "
            f"{len(samples)} annotated ones ({samples[0].image_id} to {samples[-1].image_id})"
            if detections
            else "the points are of no image at all"
        )
    places = list(found)
    kept = {name: points[places] for name, points in doctors.points.items()}
    mean = np.mean(np.stack(list(kept.values())), 0)
    model = np.stack([_ordered(each, doctors.names) for each in found.values()])
    ids = tuple(doctors.image_ids[place] for place in places)
    points = {**kept, MODEL: model, MEAN: mean}
    return Observers(ids, doctors.names, points, doctors.spacing, doctors.doubts)


def pairs(observers: Observers) -> list[tuple[str, str]]:
    """The doctors with each other, and each of them and their mean with the model where there is one."""
    doctors = [name for name in observers.points if name not in (MODEL, MEAN)]
    with_them = [(name, MODEL) for name in (*doctors, MEAN)] if MODEL in observers.points else []
    return [*combinations(doctors, 2), *with_them]


def _grouped(pairs: Iterable[tuple[str, Detection]]) -> dict[str, list[Detection]]:
    """Detections by their key: looking through all of them for each image would take 20 s for 5,000."""
    found: dict[str, list[Detection]] = {}
    for key, detection in pairs:
        found.setdefault(key, []).append(detection)
    return found


def _belonging(sample: LandmarkSample, own: Sequence[Detection]) -> Detection:
    """The one detection of an image; raises UserError where there are several, or it is of another size."""
    if len(own) > 1:
        raise UserError(f"image {sample.image_id} is {len(own)} times among the points; expected once")
    if own[0].size != sample.size:
        raise UserError(
            f"image {sample.image_id}: the points are of an image of {_times(own[0].size)} px, the annotated one has "
            f"{_times(sample.size)}; detect on the annotated images"
        )
    return own[0]


def _ordered(detection: Detection, names: Sequence[str]) -> np.ndarray:
    """Points (N, 2) in the order of ``names``, NaN for those that were not detected or lie outside the image."""
    found = respelled(detection.landmark_names, names)
    known: Mapping[str, np.ndarray] = dict(zip(found, detection.without_absent().points, strict=True))
    return np.stack([known.get(name, np.full(2, np.nan)) for name in names])


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"

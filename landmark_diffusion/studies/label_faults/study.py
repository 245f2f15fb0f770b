"""The whole study: a model looks at every labelled image, labels are judged, and what was found is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.grid import Grid, rounded
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.forms import BY_NAME
from landmark_diffusion.data.source import LandmarkDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.studies.label_faults.contact_sheet import contact_sheet
from landmark_diffusion.studies.label_faults.judging import Judgement, LabelFault, judge_labels
from landmark_diffusion.studies.label_faults.material import (
    ORIENTATIONS,
    LabelMaterial,
    TurnedLooks,
    gather,
    look_turned,
)
from landmark_diffusion.studies.label_faults.offsets import ConstantOffset, constant_offsets
from landmark_diffusion.studies.label_faults.tables import (
    CSV_NAME,
    JSON_NAME,
    SHEET_NAME,
    faults_grid,
    offsets_grid,
    write_tables,
)

FILES = (CSV_NAME, JSON_NAME, SHEET_NAME)
_FEWEST = 20
_NO_MODEL_OF_THESE = 0.5
_ROUGH = 0.15
"""Usual distance of labels and model's points, as a share of the shape's radius, from which the model knows nothing of
these images, and from which it sees gross faults alone."""


@dataclass(frozen=True)
class LabelStudy:
    """What was found in a data set: the ``judgement``, ``offsets``, ``notes``, and images that cannot be read."""

    material: LabelMaterial
    judgement: Judgement
    offsets: list[ConstantOffset]
    notes: tuple[str, ...]
    unread: tuple[str, ...]
    dataset: LandmarkDataset
    pixels: Callable[[int], np.ndarray]
    turned: Callable[[int], TurnedLooks]

    def grids(self) -> list[Grid]:
        """Lay out what a terminal shows."""
        constants = offsets_grid(self.offsets, self.material)
        return [faults_grid(self.judgement, self.material, self.notes), *([constants] if constants else [])]

    def write(self, folder: Path, facts: dict[str, Any], cases: int) -> list[Path]:
        """Write CSV, JSON and, where anything is doubted, the sheet of the worst ``cases``; returns the paths."""
        facts = {**facts, "dataset": self.dataset.name, "notes": list(self.notes), "unread": list(self.unread)}
        paths = write_tables(folder, self.judgement, self.material, self.offsets, facts)
        worst = self.judgement.faults[:cases]
        if worst:
            paths.append(contact_sheet(folder / SHEET_NAME, worst, self.material, self.pixels, self._shown_points))
        return paths

    def _shown_points(self, fault: LabelFault) -> np.ndarray:
        """The model's points in the image as it lies; where the image is turned, those of it brought back."""
        if fault.kind != "image turned":
            points: np.ndarray = self.material.points[fault.image]
            return points
        form = BY_NAME[fault.orientation]
        found = self.turned(fault.image).points[ORIENTATIONS.index(form)]
        return form.apply_points(found, self.material.sizes[fault.image])


def study_labels(
    detector: Detector, dataset: LandmarkDataset, batch_size: int = 4, advance: Callable[[str], Any] = lambda name: None
) -> LabelStudy:
    """Judge all labels of a data set by what a model finds; ``advance`` hears of each image.

    Raises UserError where the model knows other landmarks or nothing of these images, and where there are no labels.
    """
    material, samples, shared, unread = gather(detector, dataset, batch_size, advance)
    known: dict[int, TurnedLooks] = {}

    def pixels(image: int) -> np.ndarray:
        return dataset.load_image(samples[image])

    def turned(image: int) -> TurnedLooks:
        if image not in known:
            known[image] = look_turned(detector, pixels(image), shared)
        return known[image]

    rough = misfit(material)
    if rough > _NO_MODEL_OF_THESE:
        raise UserError(
            f"data check --model: {detector.model} does not know these images: half of its points lie more than "
            f"{100 * rough:.0f} % of the landmarks' own spread from the labels. Is it a model of this view, and do all "
            "images lie as those that it was trained on?"
        )
    judgement = judge_labels(material, turned)
    notes = [note for note in (shared.note, _kind_to_known(detector, dataset)) if note]
    if len(material) < _FEWEST:
        notes.append(
            f"{counted(len(material), 'image')}: few to know what is usual; single points are seen from far off alone"
        )
    if rough > _ROUGH:
        notes.append("the model's points lie far from the labels throughout: it sees gross faults alone here")
    elif np.isfinite(judgement.seen_from):
        notes.append(f"a slip of one point is seen from about {rounded(judgement.seen_from, 1)} {material.unit} on")
    else:
        notes.append("no slip of one point can be seen here, however far: too few images say what is usual")
    offsets = constant_offsets(material, judgement.witnesses)
    return LabelStudy(material, judgement, offsets, tuple(notes), tuple(unread), dataset, pixels, turned)


def misfit(material: LabelMaterial) -> float:
    """Median distance of labels and model's points, as a share of the landmarks' spread (RMS) in an image."""
    labels = mean_of_annotators(material.labels) * material.spacing[:, None]
    known = np.isfinite(labels).all(-1)
    several = known.sum(1) > 1
    if not several.any():
        return 0.0
    distance = np.linalg.norm(labels - material.points * material.spacing[:, None], axis=-1)
    middle = np.nanmean(labels[several], axis=1, keepdims=True)
    radius = np.sqrt(np.median(np.nanmean(np.square(labels[several] - middle).sum(-1), axis=1)))
    return float(np.median(distance[known]) / radius) if radius > 0 else 0.0


def _kind_to_known(detector: Detector, dataset: LandmarkDataset) -> str:
    if detector.facts.data.get("dataset") != dataset.name:
        return ""
    return "labels that the model was trained on are judged too kindly: of their faults it may have learned some"

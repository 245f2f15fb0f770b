"""What a model says of images whose truth is known: the material of a calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.finders.finder import LandmarkEstimate
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.doubt import Doubt

BATCH = 4


@dataclass(frozen=True)
class Collected:
    """One setting's answers on I images, with the truth.

    Attributes:
        answers: in network pixels.
        truth: (I, N, 2) mean of the annotators in network pixels, NaN where nobody marked the point.
        to_unit: (I, 2) what a network pixel measures in ``unit``, in x and y.
        unit: "mm" where the spacing of all images is known, else "px" (of the original image).
    """

    answers: Answers
    truth: np.ndarray
    to_unit: np.ndarray
    unit: str

    @property
    def residuals(self) -> np.ndarray:
        """Truth - point, (I, N, 2) in network pixels."""
        residuals: np.ndarray = self.truth - self.answers.points
        return residuals

    @property
    def errors(self) -> np.ndarray:
        """Radial errors (I, N) in ``unit``."""
        errors: np.ndarray = np.linalg.norm(self.residuals * self.to_unit[:, None], axis=-1)
        return errors

    def in_unit(self, covariance: np.ndarray) -> np.ndarray:
        """Covariances (I, N, 2, 2) in squared network pixels as squared ``unit``."""
        scaled: np.ndarray = covariance * covariance_factors(self.to_unit)
        return scaled

    def widened(self, doubt: Doubt) -> Collected:
        """The same with the covariances that regions are of where ``doubt`` is known."""
        return replace(self, answers=replace(self.answers, covariance=doubt.widened(self.answers)))

    @classmethod
    def join(cls, parts: Sequence[Collected]) -> Collected:
        """Put the images of several parts behind each other, such as those of all folds."""
        answers = Answers.join([part.answers for part in parts])
        truth, to_unit = (np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "to_unit"))
        return cls(answers, truth, to_unit, parts[0].unit)


def collect(
    detectors: Sequence[Detector], data: LandmarkTorchDataset, advance: Callable[[], object], draws: int = 0
) -> list[Collected]:
    """Ask each detector about all images of ``data``, in network pixels; ``advance`` is called after each image.

    ``draws`` asks about each so many times, as the data's recipe changes it each time. Detectors that differ in what
    the spread is read from alone share one run of the method.
    """
    answers: list[list[Answers]] = [[] for _ in detectors]
    truth: list[np.ndarray] = []
    keys = [(draw + 1, place) for draw in range(draws) for place in range(len(data))] or [*range(len(data))]
    for start in range(0, len(keys), BATCH):
        items = [data[key] for key in keys[start : start + BATCH]]
        truth += [item["points"].numpy().astype(np.float64) for item in items]
        for detector, found in zip(detectors, _find_all(detectors, [item["image"] for item in items]), strict=True):
            answers[detectors.index(detector)].append(detector.answers(found))
        for _ in items:
            advance()
    to_unit, unit = _units(data)
    to_unit = np.tile(to_unit, (max(draws, 1), 1))
    return [Collected(Answers.join(parts), np.stack(truth), to_unit, unit) for parts in answers]


def _find_all(detectors: Sequence[Detector], images: list[torch.Tensor]) -> list[dict[str, LandmarkEstimate]]:
    runs: dict[tuple[object, ...], dict[str, LandmarkEstimate]] = {}
    for detector in detectors:
        key = _run_key(detector)
        if key not in runs:
            runs[key] = detector.find(images)
    return [runs[_run_key(detector)] for detector in detectors]


def _run_key(detector: Detector) -> tuple[object, ...]:
    return tuple(value for name, value in sorted(detector.settings.items()) if name != "spread")


def _units(data: LandmarkTorchDataset) -> tuple[np.ndarray, str]:
    scales = np.array([frame.scale for frame in data.frames])
    spacings = [sample.spacing for sample in data.samples]
    if any(spacing is None for spacing in spacings):
        return 1 / scales, "px"
    return np.array(spacings) / scales, data.source.unit

"""What a model says of unlabelled images: how far its points may be off, and what of it disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.statistics import expected_radial_error

if TYPE_CHECKING:
    from landmark_diffusion.detection.detector import Detector


@dataclass(frozen=True)
class Belief:
    """A model's answers on I images with N landmarks; shares are percent of the image's width.

    Attributes:
        points: (I, N, 2) in the pixels of the images as the network saw them (put upright).
        expected: (I, N) error that the model's evidences speak for, in percent of the width.
        spread: (I,) mean spread of the final points in percent of the width.
        moved: (I,) mean distance of the final points from the first guess, likewise; NaN where there is none.
        missed: (I,) mean probability that a landmark's own map tells nothing of it, by the other landmarks; NaN where
            the method cannot tell.
        score: (I,) p-value of the image among those of the calibration; NaN without a calibration that can tell.
    """

    points: np.ndarray
    expected: np.ndarray
    spread: np.ndarray
    moved: np.ndarray
    missed: np.ndarray
    score: np.ndarray

    @property
    def of_images(self) -> np.ndarray:
        """Mean expected error (I,) in percent of the width."""
        mean: np.ndarray = self.expected.mean(1)
        return mean

    @classmethod
    def join(cls, parts: Sequence[Belief]) -> Belief:
        """Put the images of several batches behind each other."""
        names = ("points", "expected", "spread", "moved", "missed", "score")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def upright(detector: Detector, greys: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images (H, W) uint8 as the network is to see them, where the model can tell how they lie."""
    forms = detector.recognise(greys)
    return [grey if form is None else form.used.undo(grey) for grey, form in zip(greys, forms, strict=True)]


def ask(detector: Detector, greys: Sequence[np.ndarray]) -> Belief:
    """Ask a model about images (H, W) uint8 that ``upright`` gave."""
    frames, answers = detector.look(greys)
    points = np.stack([frame.to_original(each) for frame, each in zip(frames, answers.points, strict=True)])
    share = 100 / detector.size[0]
    nothing = np.full(len(points), np.nan)
    known = detector.calibration if detector.calibration is not None and detector.calibration.can_tell else None
    return Belief(
        points,
        share * expected_errors(answers, detector),
        share * _spread(answers.covariance, answers).mean(1),
        nothing if answers.first_points is None else share * _moved(answers).mean(1),
        nothing if answers.missed is None else answers.missed.mean(1),
        nothing if known is None else known.image_p_values(answers),
    )


def expected_errors(answers: Answers, detector: Detector) -> np.ndarray:
    """The error (I, N) in network pixels that the evidences speak for, by the calibration's doubt where there is one.

    Else the root of the sum of squares of the final points' spread, the first guess's, and the way between them.
    """
    doubt = None if detector.calibration is None else detector.calibration.doubt
    if doubt is not None:
        return doubt.predicted(answers)
    parts = [_spread(answers.covariance, answers), _spread(answers.first_covariance, answers)]
    parts += [] if answers.first_points is None else [_moved(answers)]
    expected: np.ndarray = np.sqrt(np.square(parts).sum(0))
    return expected


def _spread(covariance: np.ndarray | None, answers: Answers) -> np.ndarray:
    """Mean error (I, N) by a covariance; 0 where the method has none."""
    return np.zeros(answers.points.shape[:2]) if covariance is None else expected_radial_error(covariance)


def _moved(answers: Answers) -> np.ndarray:
    assert answers.first_points is not None
    moved: np.ndarray = np.linalg.norm(answers.points - answers.first_points, axis=-1)
    return moved


def shape_distances(points: np.ndarray) -> np.ndarray:
    """Distances (I, I) of shapes (I, N, 2) laid on each other by place, size and turning (Procrustes): 0 to 1."""
    centred = (points - points.mean(1, keepdims=True)) @ np.array([1, 1j])
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    likeness = np.abs(unit @ unit.conj().T).clip(0, 1)
    np.fill_diagonal(likeness, 1.0)
    distance: np.ndarray = np.sqrt(1 - likeness**2)
    return distance

"""ImageScore: is a whole image like those that the model was calibrated on?

A few figures of how the model sees an image - how spread its maps are, how far the chain moved the first guess, how
unlike a head the set of points is - are compared with those of the calibration images. Only what is worse than usual
counts. The p-value is conformal: the share of calibration images that are at least as odd (Bates et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import read_arrays
from landmark_diffusion.spread.statistics import expected_radial_error

UNLIKE = 0.01
"""An image with a p-value of at most this is called unlike the training images."""

_RIDGE = 0.1
"""Share of the mean variance that is added to the shape's covariance, which has nearly as many values as images."""

_FOLDS = 10


@dataclass(frozen=True)
class ImageScore:
    """Fitted to I calibration images.

    Attributes:
        shape_mean: (2N,) mean of the points' shape, ``shape_whitener`` (2N, 2N) makes its covariance the identity.
        mean, deviation: (F,) of the figures of ``_figures``, the shape's distance the last of them.
        scores: (I,) the calibration images' scores, sorted.
    """

    shape_mean: np.ndarray
    shape_whitener: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    scores: np.ndarray

    @property
    def can_tell(self) -> bool:
        """Whether there are enough calibration images for a p-value as small as ``UNLIKE``: 99."""
        return can_reach(UNLIKE, len(self.scores))

    @classmethod
    def fit(cls, answers: Answers) -> ImageScore:
        """Fit on what the model says of I images.

        The shape's distance of an image is measured by other images' shapes (in ten parts), as a new image's will be.
        """
        shapes = _shapes(answers.points)
        distance = np.empty(len(shapes))
        for part in range(_FOLDS):
            held = np.arange(len(shapes)) % _FOLDS == part
            if held.any():
                distance[held] = _distance(shapes[held], *_shape_model(shapes[~held]))
        figures = np.column_stack([*_figures(answers), distance])
        mean, deviation = figures.mean(0), figures.std(0) + 1e-9
        scores = np.sort(_score(figures, mean, deviation))
        return cls(*_shape_model(shapes), mean, deviation, scores)

    def p_values(self, answers: Answers) -> np.ndarray:
        """P-values (I,) in (0, 1] of new images."""
        distance = _distance(_shapes(answers.points), self.shape_mean, self.shape_whitener)
        figures = np.column_stack([*_figures(answers), distance])
        scores = _score(figures, self.mean, self.deviation)
        return conformal_p_values(scores, self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        names = ("shape_mean", "shape_whitener", "mean", "deviation", "scores")
        return {name: np.round(getattr(self, name), 6).tolist() for name in names}

    @classmethod
    def from_dict(cls, content: dict[str, Any], count: int) -> ImageScore:
        """Read ``to_dict``'s values for ``count`` landmarks; raises ValueError, KeyError or TypeError on others."""
        figures, images = len(content["mean"]), len(content["scores"])
        shapes = {
            "shape_mean": (2 * count,), "shape_whitener": (2 * count, 2 * count), "mean": (figures,),
            "deviation": (figures,), "scores": (images,),
        }  # fmt: skip
        return cls(**read_arrays(content, shapes))


def conformal_p_values(scores: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """P-values in (0, 1] of scores of any shape: the share of the ``usual`` ones (I,), sorted, and itself as high."""
    odder = len(usual) - np.searchsorted(usual, scores, side="left")
    values: np.ndarray = (1 + odder) / (1 + len(usual))
    return values


def can_reach(p_value: float, images: int) -> bool:
    """Tell whether so many usual images allow a p-value as small."""
    return 1 / (images + 1) <= p_value


def _figures(answers: Answers) -> list[np.ndarray]:
    """Figures, each (I,), that grow as the model loses its way: mean log spread, and how far the chain had to move."""
    found = [np.log(expected_radial_error(answers.covariance) + 1e-3).mean(-1)]
    if answers.first_covariance is not None:
        found.append(np.log(expected_radial_error(answers.first_covariance) + 1e-3).mean(-1))
    if answers.first_points is not None:
        moved = np.linalg.norm(answers.points - answers.first_points, axis=-1)
        found.append(np.log(moved + 0.5).mean(-1))
    return found


def _shapes(points: np.ndarray) -> np.ndarray:
    """Points (I, N, 2) without place and size, not turned: (I, 2N)."""
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).sum((1, 2), keepdims=True))
    shapes: np.ndarray = centred / np.maximum(size, 1e-9)
    return shapes.reshape(len(points), -1)


def _shape_model(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = shapes.mean(0)
    covariance = np.cov(shapes.T, bias=True).reshape(len(mean), len(mean))
    ridge = _RIDGE * np.trace(covariance) / len(mean) + 1e-12
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(mean)))
    return mean, vectors / np.sqrt(values) @ vectors.T


def _distance(shapes: np.ndarray, mean: np.ndarray, whitener: np.ndarray) -> np.ndarray:
    distance: np.ndarray = np.log(np.linalg.norm((shapes - mean) @ whitener, axis=-1) + 1e-3)
    return distance


def _score(figures: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    score: np.ndarray = np.square(((figures - mean) / deviation).clip(min=0)).sum(-1)
    return score

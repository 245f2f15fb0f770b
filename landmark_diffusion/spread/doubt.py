"""Doubt: which points of an image may be far off, how much wider their regions have to be, which images are unlike.

What a method's covariance says of a point is calibrated on images like those of its training. On another device the
method errs more than it says, and what tells of it lies beside the point: the first guess is spread, the chain moved
it, the other landmarks say that it lies elsewhere, and so it is in the whole image. The logarithm of the error is
regressed on these evidences, on the calibration images and on the same ones changed as other devices would have them.
The mean over an image says whether its points are those of this anatomy at all: among changed images whose points are
right few have one as high, and its p-value is the share of those (conformal, Bates et al. 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import read_arrays
from landmark_diffusion.spread.image_score import conformal_p_values
from landmark_diffusion.spread.statistics import expected_radial_error

FAR = 0.05
"""A point that is off by more than this share of the network's width is far off: 10 mm on a cephalogram."""
FOUND = 0.95
"""At least this share of the calibration's images with far points has all of these marked; the limit is the largest
that keeps it."""
LEAST_FAR = 20
"""Images with far points that a limit can be chosen from; with fewer it is a quarter of FAR."""
RIGHT = 0.01
"""An image whose mean error is at most this share of the network's width has right points: 2 mm on a cephalogram, where
its anatomy is as large as is usual."""
SOFTENING = 0.5
"""Network pixels that are added to an error before its logarithm is taken."""
_RIDGE = 1e-3
_QUANTILES = np.linspace(0, 1, 201)
LOG_ODDS_FROM = 1e-4
"""Probabilities nearer to 0 and 1 count as this one."""
_LEAST_OUTSIDE = 20
"""Landmarks outside the image that their probability can be corrected by."""
_NEWTON_STEPS = 30
SIZES = (0.25, 4.0)
"""Sizes of an anatomy that are believed, against the usual one."""


@dataclass(frozen=True)
class Doubt:
    """Fitted to the points of the calibration images, changed ones among them.

    Attributes:
        mean, deviation, weights: (F,) of the evidences, and of the regression on their standard scores.
        constant: of the regression.
        rest: (Q,) quantiles of what the regression leaves, actual less predicted logarithm.
        far: network pixels above which a point is far off.
        limit: predicted error in network pixels above which a point is marked as doubtful.
        extent: usual distance in network pixels of points from the mean of their image (root of the mean square): one
            that shows the anatomy larger errs by more pixels and no more millimetres.
        images: (I,) scores of the calibration images with right points, sorted.
        outside: (2,) shift and factor that correct the log-odds of a landmark outside the image.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    constant: float
    rest: np.ndarray
    far: float
    limit: float
    extent: float
    images: np.ndarray
    outside: np.ndarray

    @classmethod
    def fit(cls, answers: Answers, truth: np.ndarray, size: tuple[int, int]) -> Doubt:
        """Fit on truth (I, N, 2) in network pixels, NaN where nobody marked; ``size`` (width, height) of the network.

        Landmarks outside the image count for their probability alone.
        """
        width = size[0]
        beyond = np.any((truth < -0.5) | (truth >= np.array(size) - 0.5), axis=-1)
        assert isinstance(beyond, np.ndarray)
        errors = np.where(beyond, np.nan, np.linalg.norm(answers.points - truth, axis=-1))
        evidence = evidences(answers)
        known = np.isfinite(errors) & np.isfinite(evidence).all(-1)
        rows, found = evidence[known], np.log(errors[known] + SOFTENING)
        mean, deviation = rows.mean(0), rows.std(0)
        deviation = np.where(deviation > 1e-6, deviation, 1.0)  # an evidence that never changes says nothing
        scores = (rows - mean) / deviation
        ridge = _RIDGE * len(rows) * np.eye(rows.shape[1])
        weights = np.linalg.solve(scores.T @ scores + ridge, scores.T @ (found - found.mean()))
        predicted = found.mean() + scores @ weights
        far = FAR * width
        of_far = np.full(errors.shape, np.inf)
        of_far[known] = np.where(errors[known] > far, np.exp(predicted), np.inf)
        among = of_far.min(1)[np.isfinite(of_far).any(1)]
        limit = _limit(among) if len(among) >= LEAST_FAR else far / 4
        rest = np.quantile(found - predicted, _QUANTILES)
        marked = np.isfinite(truth).all(-1)
        fitted = cls(
            mean, deviation, weights, float(found.mean()), rest, far, min(max(limit, far / 8), far / 2),
            float(np.median(extents(answers.points))), np.zeros(0), _correction(answers.outside, beyond, marked),
        )  # fmt: skip
        counted = np.isfinite(errors)
        means = np.where(counted, errors, 0).sum(1) / np.maximum(counted.sum(1), 1)
        right = counted.any(1) & (means / fitted.sizes(answers) <= RIGHT * width)
        return replace(fitted, images=np.sort(fitted.image_scores(answers)[right]))

    def predicted(self, answers: Answers) -> np.ndarray:
        """The error (I, N) in network pixels that the evidences speak for: about its median."""
        scores = (evidences(answers) - self.mean) / self.deviation
        predicted: np.ndarray = np.exp(self.constant + scores @ self.weights)
        return predicted

    def probability(self, answers: Answers) -> np.ndarray:
        """How likely each point (I, N) is far off, by what the regression has left on the calibration images."""
        needed = math.log(self.far + SOFTENING) - np.log(self.predicted(answers))
        likely: np.ndarray = 1 - np.searchsorted(self.rest, needed, side="right") / len(self.rest)
        return likely

    def doubtful(self, answers: Answers) -> np.ndarray:
        """Which points (I, N) may be far off."""
        return np.asarray(self.predicted(answers) > self.limit)

    def widened(self, answers: Answers) -> np.ndarray:
        """Covariances (I, N, 2, 2) as the method gives them, larger where the evidences speak for a larger error.

        A point's own covariance is among the evidences; what the others add to it counts, and only what adds.
        """
        own = expected_radial_error(answers.covariance) + SOFTENING
        factor = np.clip(self.predicted(answers) / own, 1.0, None)
        widened: np.ndarray = answers.covariance * (factor**2)[..., None, None]
        return widened

    def image_scores(self, answers: Answers) -> np.ndarray:
        """Mean logarithm (I,) of the error that the evidences speak for, over the landmarks within the image.

        The error is that of an image which shows the anatomy as large as is usual.
        """
        weight = _inside(answers)
        mean = (np.log(self.predicted(answers)) * weight).sum(1) / weight.sum(1)
        scores: np.ndarray = mean - np.log(self.sizes(answers))
        return scores

    def sizes(self, answers: Answers) -> np.ndarray:
        """How large each image (I,) shows the anatomy, against what is usual."""
        found: np.ndarray = np.clip(extents(answers.points) / self.extent, *SIZES)
        return found

    def p_values(self, answers: Answers) -> np.ndarray:
        """P-values (I,) in (0, 1]: how usual an image is among those whose points are right."""
        return conformal_p_values(self.image_scores(answers), self.images)

    def with_images(self, answers: Answers) -> Doubt:
        """Count further images as usual ones, together as many as those that are there: those of another clinic."""
        own = np.repeat(self.image_scores(answers), max(1, len(self.images) // max(1, len(answers))))
        return replace(self, images=np.sort(np.concatenate([self.images, own])))

    def outside_probability(self, answers: Answers) -> np.ndarray | None:
        """How likely each landmark (I, N) lies outside the image, corrected; None where the method cannot tell."""
        if answers.outside is None:
            return None
        corrected: np.ndarray = _sigmoid(self.outside[0] + self.outside[1] * _log_odds(answers.outside))
        return corrected

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "deviation", "weights", "outside")}
        many = {name: np.round(getattr(self, name), 6).tolist() for name in ("rest", "images")}
        numbers = {name: getattr(self, name) for name in ("constant", "far", "limit", "extent")}
        return {**arrays, **many, **numbers}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Doubt:
        """Read ``to_dict``'s values; raises ValueError, KeyError or TypeError on others."""
        count = len(content["mean"])
        shapes = {
            "mean": (count,), "deviation": (count,), "weights": (count,), "rest": (len(content["rest"]),),
            "images": (len(content["images"]),), "outside": (2,),
        }  # fmt: skip
        constant, *positive = (float(content[name]) for name in ("constant", *_POSITIVE))
        if not all(map(math.isfinite, (constant, *positive))) or min(positive) <= 0:
            raise ValueError(f"doubt: constant {constant}, {', '.join(_POSITIVE)} {positive}, expected these above 0")
        far, limit, extent = positive
        return cls(**read_arrays(content, shapes), constant=constant, far=far, limit=limit, extent=extent)


_POSITIVE = ("far", "limit", "extent")


def _limit(least: np.ndarray) -> float:
    """The largest limit above which ``FOUND`` of the images have the least predicted error (I,) of their far points."""
    passed_over = math.floor((1 - FOUND) * len(least) + 1e-9)
    return float(np.sort(least)[passed_over]) * (1 - 1e-6)  # "above" is meant


def extents(points: np.ndarray) -> np.ndarray:
    """Root of the mean square distance of each image's points (I, N, 2) from their mean, (I,)."""
    centred = points - points.mean(1, keepdims=True)
    found: np.ndarray = np.sqrt(np.square(centred).sum(-1).mean(1))
    return found


def evidences(answers: Answers) -> np.ndarray:
    """What speaks for an error of each point, (I, N, F): of the point itself, and the mean over its image."""
    found = [np.log(expected_radial_error(answers.covariance) + SOFTENING)]
    if answers.first_covariance is not None:
        found.append(np.log(expected_radial_error(answers.first_covariance) + SOFTENING))
    if answers.first_points is not None:
        found.append(np.log(np.linalg.norm(answers.points - answers.first_points, axis=-1) + SOFTENING))
    if answers.missed is not None and answers.outside is not None:
        found.append(_log_odds(answers.missed + answers.outside))
    own = np.stack(found, -1)
    weight = _inside(answers)[..., None]
    mean = (own * weight).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    return np.concatenate([own, np.broadcast_to(mean, own.shape)], -1)


def _inside(answers: Answers) -> np.ndarray:
    """Weights (I, N) of an image's points: what lies outside the image says nothing of the others."""
    if answers.outside is None:
        return np.ones(answers.points.shape[:2])
    inside: np.ndarray = np.clip(1 - answers.outside, 1e-3, 1.0)
    return inside


def _correction(outside: np.ndarray | None, beyond: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Shift and factor of the log-odds by logistic regression on what was outside; (0, 1) where that is too little."""
    if outside is None or beyond[marked].sum() < _LEAST_OUTSIDE:
        return np.array([0.0, 1.0])
    rows = np.stack((np.ones(int(marked.sum())), _log_odds(outside[marked])), -1)
    found, prior = np.array([0.0, 1.0]), np.diag([1e-2, 1e-2])
    for _ in range(_NEWTON_STEPS):
        chance = _sigmoid(rows @ found)
        slope = rows.T @ (beyond[marked] - chance) - prior @ (found - [0.0, 1.0])
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + prior
        found = found + np.clip(np.linalg.solve(curve, slope), -1, 1)
    return found


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, LOG_ODDS_FROM, 1 - LOG_ODDS_FROM)
    odds: np.ndarray = np.log(clipped / (1 - clipped))
    return odds


def _sigmoid(x: np.ndarray) -> np.ndarray:
    share: np.ndarray = 1 / (1 + np.exp(-x))
    return share

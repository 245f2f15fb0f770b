"""Doubt: which points of an image may be far off, and by how much wider their regions have to be.

What a method's covariance says of a point is calibrated on images like those of its training. On another device the
method errs more than it says, and what tells of it lies beside the point: the first guess is spread, the chain moved
it, the other landmarks say that it lies elsewhere, and so it is in the whole image. The logarithm of the error is
regressed on these evidences, on the calibration images and on the same ones changed as other devices would have them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import read_arrays
from landmark_diffusion.spread.statistics import expected_radial_error

FAR = 0.05
"""A point that is off by more than this share of the network's width is far off: 10 mm on a cephalogram."""
FOUND = 0.975
"""Share of the far points among the calibration's that the limit lets no more than the rest of pass unmarked."""
LEAST_FAR = 20
"""Far points that a limit can be chosen from; with fewer it is a quarter of FAR."""
_SOFTENING = 0.5
"""Network pixels that are added to an error before its logarithm is taken."""
_RIDGE = 1e-3
_QUANTILES = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class Doubt:
    """Fitted to the points of the calibration images, changed ones among them.

    Attributes:
        mean, deviation, weights: (F,) of the evidences, and of the regression on their standard scores.
        constant: of the regression.
        rest: (Q,) quantiles of what the regression leaves, actual less predicted logarithm.
        far: network pixels above which a point is far off.
        limit: predicted error in network pixels above which a point is marked as doubtful.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    constant: float
    rest: np.ndarray
    far: float
    limit: float

    @classmethod
    def fit(cls, answers: Answers, errors: np.ndarray, width: int) -> Doubt:
        """Fit on errors (I, N) in network pixels, NaN where a point does not count; ``width`` of the network."""
        evidence = evidences(answers)
        known = np.isfinite(errors) & np.isfinite(evidence).all(-1)
        rows, found = evidence[known], np.log(errors[known] + _SOFTENING)
        mean, deviation = rows.mean(0), rows.std(0) + 1e-9
        scores = (rows - mean) / deviation
        ridge = _RIDGE * len(rows) * np.eye(rows.shape[1])
        weights = np.linalg.solve(scores.T @ scores + ridge, scores.T @ (found - found.mean()))
        predicted = found.mean() + scores @ weights
        far = FAR * width
        among = np.exp(predicted[errors[known] > far])
        limit = float(np.quantile(among, 1 - FOUND)) if len(among) >= LEAST_FAR else far / 4
        rest = np.quantile(found - predicted, _QUANTILES)
        return cls(mean, deviation, weights, float(found.mean()), rest, far, min(max(limit, far / 8), far / 2))

    def predicted(self, answers: Answers) -> np.ndarray:
        """The error (I, N) in network pixels that the evidences speak for: about its median."""
        scores = (evidences(answers) - self.mean) / self.deviation
        predicted: np.ndarray = np.exp(self.constant + scores @ self.weights)
        return predicted

    def probability(self, answers: Answers) -> np.ndarray:
        """How likely each point (I, N) is far off, by what the regression has left on the calibration images."""
        needed = math.log(self.far + _SOFTENING) - np.log(self.predicted(answers))
        share: np.ndarray = np.searchsorted(self.rest, needed, side="right") / len(self.rest)
        return 1 - share

    def doubtful(self, answers: Answers) -> np.ndarray:
        """Which points (I, N) may be far off."""
        return np.asarray(self.predicted(answers) > self.limit)

    def widened(self, answers: Answers) -> np.ndarray:
        """Covariances (I, N, 2, 2) as the method gives them, larger where the evidences speak for a larger error.

        A point's own covariance is among the evidences; what the others add to it counts, and only what adds.
        """
        own = expected_radial_error(answers.covariance) + _SOFTENING
        factor = np.clip(self.predicted(answers) / own, 1.0, None)
        widened: np.ndarray = answers.covariance * (factor**2)[..., None, None]
        return widened

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        arrays = {name: np.round(getattr(self, name), 6).tolist() for name in ("mean", "deviation", "weights", "rest")}
        return {**arrays, "constant": self.constant, "far": self.far, "limit": self.limit}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Doubt:
        """Read ``to_dict``'s values; raises ValueError, KeyError or TypeError on others."""
        count = len(content["mean"])
        shapes = {"mean": (count,), "deviation": (count,), "weights": (count,), "rest": (len(content["rest"]),)}
        constant, far, limit = (float(content[name]) for name in ("constant", "far", "limit"))
        if not all(map(math.isfinite, (constant, far, limit))) or min(far, limit) <= 0:
            raise ValueError(f"doubt: constant {constant}, far {far}, limit {limit}, expected the last two above 0")
        return cls(**read_arrays(content, shapes), constant=constant, far=far, limit=limit)


def evidences(answers: Answers) -> np.ndarray:
    """What speaks for an error of each point, (I, N, F): of the point itself, and the mean over its image."""
    found = [np.log(expected_radial_error(answers.covariance) + _SOFTENING)]
    if answers.first_covariance is not None:
        found.append(np.log(expected_radial_error(answers.first_covariance) + _SOFTENING))
    if answers.first_points is not None:
        found.append(np.log(np.linalg.norm(answers.points - answers.first_points, axis=-1) + _SOFTENING))
    if answers.missed is not None and answers.outside is not None:
        lost = np.clip(answers.missed + answers.outside, 1e-4, 1 - 1e-4)
        found.append(np.log(lost / (1 - lost)))
    own = np.stack(found, -1)
    return np.concatenate([own, np.broadcast_to(own.mean(1, keepdims=True), own.shape)], -1)

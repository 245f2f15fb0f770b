"""How far to trust the points of one image, in a graph: what spread/ computes of a calibration's numbers.

The formulas are those of spread/calibration.py, doubt.py, image_score.py and statistics.py, where they are explained;
tests hold both to one result. All arithmetic is in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from landmark_diffusion.spread.calibration import SpreadCalibration
from landmark_diffusion.spread.doubt import LOG_ODDS_FROM, SIZES, SOFTENING, Doubt
from landmark_diffusion.spread.image_score import ImageScore
from landmark_diffusion.spread.model_calibration import SettingCalibration
from landmark_diffusion.spread.statistics import AGM_STEPS


@dataclass(frozen=True)
class Said:
    """What a finder says of one image, as spread.answers.Answers: (1, N, ...) float64 in network pixels."""

    points: torch.Tensor
    covariance: torch.Tensor
    first_points: torch.Tensor | None = None
    first_covariance: torch.Tensor | None = None
    outside: torch.Tensor | None = None
    missed: torch.Tensor | None = None


class Trust(nn.Module):
    """A calibration as constants of a graph; None leaves covariances as the method gives them."""

    def __init__(self, calibration: SettingCalibration | None) -> None:
        super().__init__()
        self.calibration = calibration

    def names(self, outside: bool) -> list[str]:
        """Name what ``forward`` gives, for a method that tells (or not) what lies outside the image."""
        told = ["outside_probability"] if outside else []
        if self.calibration is None:
            return ["covariance", *told]
        doubted = ["far_probability", "doubtful"] if self.calibration.doubt is not None else []
        return ["covariance", *told, "expected_error", *doubted, "image_score"]

    def forward(self, said: Said, factors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Say how far to trust the points (N, ...), in the order of ``names``.

        ``factors`` (2, 2) are those of ``geometry.covariance_factors``.
        """
        calibration = self.calibration
        doubt = None if calibration is None else calibration.doubt
        found: dict[str, torch.Tensor] = {}
        if calibration is None:
            found["covariance"] = said.covariance[0] / factors
        else:
            wide = said.covariance if doubt is None else _widened(doubt, said)
            found["covariance"] = _calibrated(calibration.spread, wide)[0] / factors
            factor = _constant(calibration.spread.error_factor)
            found["expected_error"] = expected_radial_error(found["covariance"]) * factor
            found["image_score"] = (
                _image_p_value(calibration.image, said) if doubt is None else _doubt_p_value(doubt, said)
            )
        if said.outside is not None:
            outside = said.outside
            if doubt is not None:
                outside = (doubt.outside[0] + doubt.outside[1] * _log_odds(outside)).sigmoid()
            found["outside_probability"] = outside[0]
        if doubt is not None:
            predicted = _predicted(doubt, said)[0]
            needed = math.log(doubt.far + SOFTENING) - predicted.log()
            found["far_probability"] = (_constant(doubt.rest) > needed[:, None]).double().mean(-1)
            found["doubtful"] = predicted > doubt.limit
        return {name: found[name] for name in self.names(said.outside is not None)}


def expected_radial_error(covariance: torch.Tensor) -> torch.Tensor:
    """Mean length (...) of a Gaussian vector of ``covariance`` (..., 2, 2), as spread.statistics has it."""
    middle = (covariance[..., 0, 0] + covariance[..., 1, 1]) / 2
    half = (((covariance[..., 0, 0] - covariance[..., 1, 1]) / 2).square() + covariance[..., 0, 1].square()).sqrt()
    larger, smaller = middle + half, (middle - half).clamp_min(0)
    m = 1 - smaller / larger
    a, b = torch.ones_like(m), (1 - m).sqrt()
    rest, power = 1 - m / 2, 0.5
    for _ in range(AGM_STEPS):
        a, b, c = (a + b) / 2, (a * b).sqrt(), (a - b) / 2
        power *= 2
        rest = rest - power * c.square()
    elliptic = torch.where(m == 1, torch.ones_like(m), math.pi / (2 * a) * rest)
    return (2 * larger / math.pi).sqrt() * elliptic


def _constant(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


def _calibrated(spread: SpreadCalibration, covariance: torch.Tensor) -> torch.Tensor:
    scale, floor = _constant(spread.scale)[:, None, None], _constant(spread.floor)[:, None, None]
    return scale * covariance + floor * torch.eye(2, dtype=torch.float64)


def _evidences(said: Said) -> torch.Tensor:
    found = [(expected_radial_error(said.covariance) + SOFTENING).log()]
    if said.first_covariance is not None:
        found.append((expected_radial_error(said.first_covariance) + SOFTENING).log())
    if said.first_points is not None:
        found.append((_length(said.points - said.first_points) + SOFTENING).log())
    if said.missed is not None and said.outside is not None:
        found.append(_log_odds(said.missed + said.outside))
    own, weight = torch.stack(found, -1), _weight(said)[..., None]
    mean = (own * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return torch.cat((own, mean.expand_as(own)), -1)


def _weight(said: Said) -> torch.Tensor:
    return torch.ones_like(said.points[..., 0]) if said.outside is None else (1 - said.outside).clamp(1e-3, 1.0)


def _predicted(doubt: Doubt, said: Said) -> torch.Tensor:
    scores = (_evidences(said) - _constant(doubt.mean)) / _constant(doubt.deviation)
    return (doubt.constant + (scores * _constant(doubt.weights)).sum(-1)).exp()


def _widened(doubt: Doubt, said: Said) -> torch.Tensor:
    own = expected_radial_error(said.covariance) + SOFTENING
    factor = (_predicted(doubt, said) / own).clamp_min(1.0)
    return said.covariance * factor.square()[..., None, None]


def _doubt_p_value(doubt: Doubt, said: Said) -> torch.Tensor:
    weight = _weight(said)
    mean = (_predicted(doubt, said).log() * weight).sum(1) / weight.sum(1)
    centred = said.points - said.points.mean(1, keepdim=True)
    extent = centred.square().sum(-1).mean(1).sqrt()
    return _p_value(mean - (extent / doubt.extent).clamp(*SIZES).log(), doubt.images)


def _image_p_value(image: ImageScore, said: Said) -> torch.Tensor:
    centred = said.points - said.points.mean(1, keepdim=True)
    shape = (centred / centred.square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-9)).flatten(1)
    whitened = (shape - _constant(image.shape_mean)) @ _constant(image.shape_whitener)
    figures = [(expected_radial_error(said.covariance) + 1e-3).log().mean(-1)]
    if said.first_covariance is not None:
        figures.append((expected_radial_error(said.first_covariance) + 1e-3).log().mean(-1))
    if said.first_points is not None:
        figures.append((_length(said.points - said.first_points) + 0.5).log().mean(-1))
    figures.append((_length(whitened) + 1e-3).log())
    odd = (torch.stack(figures, -1) - _constant(image.mean)) / _constant(image.deviation)
    return _p_value(odd.clamp_min(0).square().sum(-1), image.scores)


def _p_value(score: torch.Tensor, usual: np.ndarray) -> torch.Tensor:
    """The share () of the usual ones, and itself, that are as high."""
    if not len(usual):  # nothing is odder than nothing, and runtimes stumble over what is empty
        return torch.ones_like(score)[0]
    odder = (_constant(usual) >= score[:, None]).double().sum(-1)
    return ((1 + odder) / (1 + len(usual)))[0]


def _length(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.square().sum(-1).sqrt()


def _log_odds(probability: torch.Tensor) -> torch.Tensor:
    clipped = probability.clamp(LOG_ODDS_FROM, 1 - LOG_ODDS_FROM)
    return (clipped / (1 - clipped)).log()

"""The first guess of all landmarks together: their maps times how landmarks lie to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import at_least_one
from landmark_diffusion.heatmaps.joint import Cavity, JointMaps, Told, joint_maps, propagate
from landmark_diffusion.heatmaps.peaks import find_peaks
from landmark_diffusion.heatmaps.shape_prior import ShapePrior

PRIOR_WIDTH = 640
"""Width of the network in whose pixels a ShapePrior is."""
PRIOR_WEIGHTS = "shape_prior."
"""What the names of a finder's prior begin with; checkpoints of earlier versions lack it, and it stays unset then."""
USUALLY_OUTSIDE = 0.03
"""Share of landmarks outside the image that a network has seen which was taught about them."""


@dataclass(frozen=True)
class Joint:
    """The joint first guess; the maps that new images may differ by are standard deviations.

    Args:
        enabled: False leaves each landmark to its own map.
        peaks: of each map that are weighed against each other.
        missed: how often a map tells nothing of its landmark, before it is seen.
        rotation: degrees.
        scale, stretch: logarithm of a factor, on both axes or of width against height.
        shift: fraction of the width, in x and in y.

    Raises UserError for values that make no sense.
    """

    enabled: bool = True
    peaks: int = 16
    missed: float = 0.1
    rotation: float = 12.0
    scale: float = 0.2
    stretch: float = 0.1
    shift: float = 0.1

    def __post_init__(self) -> None:
        at_least_one("model.joint", self, "peaks")
        if not 0 < self.missed < 1:
            raise UserError(f"model.joint.missed: found {self.missed:g}, expected a probability above 0 and below 1")
        for name in ("rotation", "scale", "stretch", "shift"):
            if getattr(self, name) < 0:
                raise UserError(f"model.joint.{name}: found {getattr(self, name):g}, expected 0 or more")

    def fit(self, prior: ShapePrior, points: torch.Tensor, width: int) -> None:
        """Learn the prior from training points (I, N, 2) in pixels of a network ``width`` wide."""
        at_640 = (points.double() + 0.5) * (PRIOR_WIDTH / width) - 0.5
        prior.fit(at_640, self.rotation, self.scale, self.stretch, self.shift * PRIOR_WIDTH)


class JointGuess(NamedTuple):
    """What maps and prior say together, and where the others say that each landmark is, both in map pixels."""

    maps: JointMaps
    cavity: Cavity


def guess_jointly(
    maps: torch.Tensor,
    prior: ShapePrior,
    options: Joint,
    outside: torch.Tensor | None = None,
    propagate: Callable[..., Cavity] = propagate,
    joint_maps: Callable[..., JointMaps] = joint_maps,
) -> JointGuess:
    """Weigh maps (B, N, H, W) that sum to 1 by the prior; arithmetic in float64 under any precision.

    ``outside`` (B, N) is the probability that the landmark lies outside the image, by a network that was taught so.
    ``propagate`` and ``joint_maps`` are those of heatmaps/joint.py, or others that do the same (export/traced).
    """
    height, width = maps.shape[-2:]
    with torch.autocast(maps.device.type, enabled=False):
        scale = width / PRIOR_WIDTH
        mean = (prior.mean.double() + 0.5) * scale - 0.5
        covariance = prior.covariance.double() * scale**2
        places, masses = find_peaks(maps, options.peaks)
        if outside is None:
            told = Told(torch.ones_like(masses[..., 0]), options.missed)
        else:
            within = (1 - outside.double()) / (1 - USUALLY_OUTSIDE)
            told = Told(outside.double() / USUALLY_OUTSIDE, options.missed)
            masses, maps = masses * within[..., None], maps * within[..., None, None].to(maps)
        cavity = propagate(places, masses, mean, covariance, (height, width), told)
        return JointGuess(joint_maps(maps, cavity, told), cavity)

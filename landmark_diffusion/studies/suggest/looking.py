"""Reading each image of a pool once: what it looks like, and what a model says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.suggest.belief import Belief, ask, upright
from landmark_diffusion.studies.suggest.features import edge_views
from landmark_diffusion.studies.suggest.pool import PoolImage

if TYPE_CHECKING:
    from landmark_diffusion.detection.detector import Detector


LEAST = 32
"""Pixels of an image's shorter side; the edges that images are compared by are read from no fewer."""


@dataclass(frozen=True)
class Seen:
    """What was seen of the images that could be used.

    Attributes:
        places: of these I images among those that were asked for.
        views: I of ``edge_views``.
        belief: of the model; None without one.
    """

    places: list[int]
    views: list[np.ndarray]
    belief: Belief | None


def look_at(
    images: Sequence[PoolImage],
    detector: Detector | None,
    batch_size: int,
    tell: Callable[[UserError], object],
    advance: Callable[[str], object],
) -> Seen:
    """Read all images, and ask the model about them in batches.

    ``tell`` hears what is wrong with an image, ``advance`` the name of each that is done. Raises UserError where none
    can be used.
    """
    places: list[int] = []
    views: list[np.ndarray] = []
    beliefs: list[Belief] = []
    for start in range(0, len(images), batch_size):
        greys = []
        for place, image in enumerate(images[start : start + batch_size], start):
            try:
                greys.append(_large_enough(image))
            except UserError as error:
                tell(error)
            else:
                places.append(place)
        if detector is not None and greys:
            greys = upright(detector, greys)
            beliefs.append(ask(detector, greys))
        views += map(edge_views, greys)
        for image in images[start : start + batch_size]:
            advance(image.name)
    if not places:
        raise UserError("no image could be used; each is named above with what is wrong")
    return Seen(places, views, Belief.join(beliefs) if beliefs else None)


def _large_enough(image: PoolImage) -> np.ndarray:
    """Read an image; raises UserError for one of which nothing can be seen."""
    grey = image.read().grey
    height, width = grey.shape
    if min(height, width) < LEAST:
        raise UserError(f"{image.file}: found {width}x{height} px, expected {LEAST} or more on each side")
    return grey

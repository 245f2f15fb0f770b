"""Choosing images that others lie near to: greedy facility location, one image after another.

What a choice is worth: how much nearer the images have come to one that is labelled, summed over all of them, each by
its weight. This is submodular, so that the greedy choice reaches at least 63 % of the best one of its size (Nemhauser,
Wolsey and Fisher 1978), and the first n of a longer list are the list of n.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SAME = 1e-6
"""Share of the largest distance below which two images count as the same one."""


class Chosen(NamedTuple):
    """One image of a choice.

    Attributes:
        place: of the image among the candidates.
        gain: share of all that there was to gain before the first choice.
        near: (M,) bool: images that now have this one as their nearest labelled one.
    """

    place: int
    gain: float
    near: np.ndarray


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances (I, J) of features (I, F) and (J, F), exactly 0 for rows that are the same."""
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1) - 2 * first @ second.T
    rounding = 1e-12 * max(1.0, float(squares.max(initial=0.0)))
    found: np.ndarray = np.sqrt(np.where(squares < rounding, 0.0, squares))
    return found


def choose(
    distance: np.ndarray, count: int, weights: np.ndarray | None = None, labelled: Iterable[int] = (),
) -> list[Chosen]:  # fmt: skip
    """Choose at most ``count`` images, the most worth first; of equally good ones the first.

    ``distance`` (I, M) is that of I candidates to the M images that are to be covered; ``weights`` (M,) is how much
    each of these counts (1). ``labelled`` are places of candidates that have labels: they cover and are not chosen. Nor
    is one that lies at a chosen or labelled one, which would teach nothing new: then fewer are chosen.
    """
    weight = np.ones(distance.shape[1]) if weights is None else weights
    farthest = float(distance.max(initial=0.0))
    nearest = np.full(distance.shape[1], farthest)
    free = np.ones(len(distance), dtype=bool)
    for place in labelled:
        nearest = np.minimum(nearest, distance[place])
        free[place] = False
    total = float((nearest * weight).sum())
    chosen: list[Chosen] = []
    while len(chosen) < count and free.any():
        gains = np.where(free, np.clip(nearest - distance, 0, None) @ weight, -1.0)
        place = int((gains >= gains.max() - SAME * max(total, 1e-300)).argmax())
        if not free.all() and gains[place] <= SAME * total:  # with nothing covered yet any one will do
            break
        near = distance[place] < nearest
        nearest = np.minimum(nearest, distance[place])
        free[place] = False
        chosen.append(Chosen(place, float(gains[place]) / total if total > 0 else 0.0, near))
    return chosen

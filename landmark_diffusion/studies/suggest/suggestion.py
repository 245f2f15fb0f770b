"""From features and what a model says to a ranked list with a reason for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landmark_diffusion.core.texts import counted
from landmark_diffusion.spread.image_score import UNLIKE
from landmark_diffusion.studies.suggest.belief import Belief, shape_distances
from landmark_diffusion.studies.suggest.choice import Chosen, choose, distances
from landmark_diffusion.studies.suggest.features import aligned, principal

MOST_WEIGHT = 2.0
"""An image counts at most so much as one of usual doubt: one that no model can solve must not lead all others."""
SHAPES = 2.0
"""How much predicted shapes count beside looks in the distance of two images."""
_WORST = 3  # landmarks that a reason names
_MUCH = 1.5  # times the usual value from which a reason names it


@dataclass(frozen=True)
class Suggestion:
    """One image to label.

    Attributes:
        rank: from 1, the most worth first.
        place: of the image in the pool.
        reason: in words.
        gain: share of what there was to gain by this image.
        nearer: images that it lies nearer to than any labelled or earlier one does, itself among them.
        distance: to the nearest labelled or earlier image, 1 being the mean distance of two images; NaN for the first.
    """

    rank: int
    place: int
    reason: str
    gain: float
    nearer: int
    distance: float


def pool_distances(views: Sequence[np.ndarray], belief: Belief | None = None) -> np.ndarray:
    """Distances (I, I) of the images by ``edge_views``, and where a model found points by their shapes as well.

    The mean of two different images is 1.
    """
    features = principal(aligned(views))
    looks = _relative(distances(features, features))
    if belief is None:
        return looks
    return _relative(np.hypot(looks, SHAPES * _relative(shape_distances(belief.points))))


def _relative(distance: np.ndarray) -> np.ndarray:
    count = len(distance)
    mean = distance.sum() / max(1, count * (count - 1))
    return distance / mean if mean > 0 else distance


def suggest(
    distance: np.ndarray, count: int, labelled: Sequence[int] = (), belief: Belief | None = None,
    landmarks: Sequence[str] = (),
) -> list[Suggestion]:  # fmt: skip
    """Choose at most ``count`` images of I by their distances (I, I); a ``belief`` weighs them by their expected error.

    ``labelled`` are places of images with labels, ``landmarks`` the names that reasons use.
    """
    weights = None if belief is None else expected_weights(belief)
    chosen = choose(distance, count, weights, labelled)
    covering = list(labelled)
    found = []
    for rank, each in enumerate(chosen, 1):
        far = float(distance[covering, each.place].min()) if covering else float("nan")
        words = _cold_words(each, len(distance), not covering, far)
        if belief is not None:
            words = "; ".join([*_warm_words(each.place, belief, landmarks), words])
        found.append(Suggestion(rank, each.place, words, each.gain, int(each.near.sum()), far))
        covering.append(each.place)
    return found


def expected_weights(belief: Belief) -> np.ndarray:
    """How much each image (I,) counts: root of its expected error over the median's, at most ``MOST_WEIGHT``."""
    errors = belief.of_images
    usual = float(np.median(errors))
    return np.ones(len(errors)) if usual <= 0 else np.sqrt(errors / usual).clip(max=MOST_WEIGHT)


def _cold_words(chosen: Chosen, images: int, first: bool, far: float) -> str:
    """Why an image is chosen; ``far`` is its distance to the nearest before, 1 that of two images on the mean."""
    nearer = int(chosen.near.sum())
    if first and images == 1:
        return "the only image"
    if first:
        return f"the most typical of {counted(images, 'image')}: the others lie nearest to it"
    if nearer <= 1:
        return (
            "unlike all with labels or before it in this list: it differs from the nearest of them "
            f"{far:.1f} times as much as two of these images on average"
        )
    return f"{counted(nearer, 'image')} of {images} are nearer to it than to any before"


def _warm_words(place: int, belief: Belief, landmarks: Sequence[str]) -> list[str]:
    errors = belief.of_images
    words = [f"the model expects errors of {errors[place]:.1f} % of the width (usual {np.median(errors):.1f} %)"]
    if belief.score[place] <= UNLIKE:
        words.insert(0, "unlike the images that the model was calibrated on: see whether it belongs here")
    for values, what in (
        (belief.moved, "first guess and final points disagree"),
        (belief.missed, "landmarks' own maps disagree with the others"),
        (belief.spread, "its answers are spread"),
    ):
        if values[place] > _MUCH * np.nanmedian(values) if np.isfinite(values).any() else False:
            words.append(what)
    worst = np.argsort(-belief.expected[place], kind="stable")[:_WORST]
    if len(landmarks):
        words.append("least sure of " + ", ".join(landmarks[each] for each in worst))
    return words

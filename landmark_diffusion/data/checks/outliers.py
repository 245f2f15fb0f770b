"""Points that do not look like the other images' points: doubts for a person to look at, never errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landmark_diffusion.data.checks import few_outliers
from landmark_diffusion.data.checks.placeholders import without_placeholders
from landmark_diffusion.data.checks.slips import Cause, likely_causes
from landmark_diffusion.data.sample import LandmarkSample

MIN_IMAGES = 20
"""Marks that a landmark needs for the prediction from the others; below, `few_outliers` judges what it can."""

POSITION_LIMIT = 4.5
PREDICTION_LIMIT = 6.0
"""A point is doubted beyond this multiple of its landmark's median deviation. For Gaussian deviations the median is
1.18 sigma, so these are 5.3 and 7.1 sigma: less than one false alarm in a million points of a well-behaved set."""

_RIDGE = 0.003
"""Ridge of the prediction, in units of the squared median deviation: enough for more features than images."""

_ROUNDS, _IMPUTATIONS = 6, 2

_Doubt = tuple[int, int, float, float]  # image, landmark, distance, usual distance


@dataclass(frozen=True)
class Outlier:
    """A doubted point: ``distance`` and the landmark's ``usual`` median distance in px of the image; ``kind`` is
    "position" (against the same landmark in other images), "prediction" (against the image's other landmarks) or
    "shape" (likewise, of few images); ``cause`` is what may have happened, where that can be told."""

    sample: int
    annotator: int
    landmark: int
    distance: float
    usual: float
    kind: str
    cause: Cause | None = None


def find_outliers(samples: Sequence[LandmarkSample]) -> list[Outlier]:
    """Find points far from their landmark's median place, and points far from where the image's other points put them.

    The first finds an image that lies or is turned unlike all others; the second, a ridge regression with the image
    itself left out, finds swapped, slipped or mistyped points whatever the image's pose. The images' sizes are
    divided out. Missing points, and marks that stand for them, are never doubted. Landmarks with fewer marks than
    MIN_IMAGES are judged by the shapes of the images. Returns at most one outlier for each point.
    """
    if not samples:
        return []
    sizes = np.array([sample.size for sample in samples], dtype=np.float64)
    usual_size = np.median(sizes, axis=0)
    found: dict[tuple[int, int, int], Outlier] = {}
    marks = without_placeholders(np.stack([sample.annotations for sample in samples]))
    for annotator in range(marks.shape[1]):
        points = marks[:, annotator] * (usual_size / sizes)[:, None]
        usable = np.logical_not(np.isnan(points).any(-1))
        doubts: list[tuple[str, list[_Doubt]]] = []
        few = usable.sum(0) < MIN_IMAGES
        if few.any():
            shape = few_outliers.doubted_by_shape(points, usable)
            doubts.append(("shape", [each for each in shape if few[each[1]]]))
        if not few.all():
            centred = np.where(usable[..., None], points - _median(points, usable), 0.0)
            doubts.append(("position", _beyond(centred, usable, POSITION_LIMIT)))
            doubts.append(("prediction", _mispredicted(centred, usable)))
        for kind, doubted in doubts:
            for image, landmark, distance, usual in doubted:
                found[image, annotator, landmark] = Outlier(image, annotator, landmark, distance, usual, kind)
        for image, landmark, cause in _causes(points, usable, usual_size / sizes, doubts):
            found[image, annotator, landmark] = replace(found[image, annotator, landmark], cause=cause)
    return [found[key] for key in sorted(found)]


def not_judged(samples: Sequence[LandmarkSample]) -> list[str]:
    """Say which points `find_outliers` judges by less than all of its means, and why; empty where all are judged."""
    if not samples or not samples[0].annotations.shape[1] or not samples[0].annotations.shape[2]:
        return []
    marks = without_placeholders(np.stack([sample.annotations for sample in samples]))
    usable = np.isfinite(marks).all(-1)  # (I, A, N)
    least, landmarks = few_outliers.MIN_IMAGES, few_outliers.MIN_LANDMARKS
    enough = (usable.sum(-1) >= landmarks).sum(0).min()
    few = usable.sum(0).min(0) < MIN_IMAGES
    if not few.any():
        return []
    which = f"{few.sum()} of {len(few)} landmarks" if not few.all() else "all landmarks"
    reason = f"{which}: fewer than {MIN_IMAGES} images have them"
    if len(few) < landmarks:
        need = f"{MIN_IMAGES} images, or {landmarks} landmarks for a judgement by the shape"
        return [f"points that differ from the other images' were not looked for ({reason}; expected {need})"]
    if enough < least:
        need = f"{least} images with {landmarks} landmarks or more"
        return [f"points that differ from the other images' were not looked for ({reason}; expected {need})"]
    return [
        f"points were compared by the images' shapes alone ({reason}): gross slips, exchanges and mirrored rows are "
        "found; small slips, and a whole image's points moved, were not judged"
    ]


def _causes(
    points: np.ndarray, usable: np.ndarray, scales: np.ndarray, doubts: Sequence[tuple[str, Sequence[_Doubt]]]
) -> list[tuple[int, int, Cause]]:
    """Image, landmark and likely cause of the doubts for which one can be told."""
    doubted: dict[int, set[int]] = defaultdict(set)
    for _, each in doubts:
        for image, landmark, _, _ in each:
            doubted[image].add(landmark)
    by_image = {image: sorted(landmarks) for image, landmarks in doubted.items()}
    causes = likely_causes(points, usable, scales, by_image) if by_image else {}
    return [(image, landmark, cause) for (image, landmark), cause in causes.items()]


def _median(points: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Median of each landmark over the images that have it, (N, 2); 0 where none has."""
    medians = np.zeros(points.shape[1:])
    for landmark in np.flatnonzero(usable.any(0)):
        medians[landmark] = np.median(points[usable[:, landmark], landmark], axis=0)
    return medians


def _mispredicted(centred: np.ndarray, usable: np.ndarray) -> list[_Doubt]:
    """Points beyond the limit from their prediction, found one by one in each image.

    A wrong point also spoils the predictions of its neighbours. So in each round only the worst point of an image is
    doubted; then it is replaced by its prediction, as missing points are, and the others are judged again.
    """
    centred, usable = centred.copy(), usable.copy()
    doubts: list[_Doubt] = []
    for _ in range(_ROUNDS):
        for _ in range(_IMPUTATIONS if not usable.all() else 0):
            centred[~usable] -= left_out_residuals(centred)[~usable]
        beyond = _beyond(left_out_residuals(centred), usable, PREDICTION_LIMIT)
        worst: dict[int, _Doubt] = {}
        for doubt in beyond:
            image, _, distance, usual = doubt
            if image not in worst or distance / usual > worst[image][2] / worst[image][3]:
                worst[image] = doubt
        if not worst:
            break
        for image, doubt in worst.items():
            usable[image, doubt[1]] = False
        doubts += worst.values()
    return doubts


def left_out_residuals(centred: np.ndarray) -> np.ndarray:
    """Residual of each point against a ridge regression on the image's other points, fitted without that image.

    ``centred`` is (I, N, 2), as is the result. The residual without an image follows from its leverage in closed form.
    """
    count, landmarks = centred.shape[:2]
    scale = np.median(np.linalg.norm(centred, axis=-1))
    if landmarks < 3 or scale == 0:
        return np.zeros_like(centred)
    residuals = np.empty_like(centred)
    centred = centred - centred.mean(0)
    for landmark in range(landmarks):
        features, target = np.delete(centred, landmark, axis=1).reshape(count, -1) / scale, centred[:, landmark]
        penalty = _RIDGE * count * np.eye(features.shape[1])
        inverse = np.linalg.inv(features.T @ features + penalty)  # (F, F): the images may be many
        leverage = ((features @ inverse) * features).sum(1) + 1 / count
        fitted = features @ (inverse @ (features.T @ target))
        residuals[:, landmark] = (target - fitted) / np.maximum(1 - leverage, 1e-6)[:, None]
    return residuals


def _beyond(residual: np.ndarray, usable: np.ndarray, limit: float) -> list[_Doubt]:
    """The usable points beyond ``limit`` times the median distance."""
    distance = np.linalg.norm(residual, axis=-1)
    found: list[_Doubt] = []
    for landmark in range(distance.shape[1]):
        known = usable[:, landmark]
        if known.sum() < MIN_IMAGES:
            continue
        # Points on a coarse grid can have a median distance near 0; half a pixel is never worth a word.
        usual = max(float(np.median(distance[known, landmark])), 0.5)
        for image in np.flatnonzero(known & (distance[:, landmark] > limit * usual)):
            found.append((int(image), landmark, float(distance[image, landmark]), usual))
    return found

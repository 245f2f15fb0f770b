"""Trying the transforms of a pipeline before training: do points come back, and where the image shows them?"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say, warn
from landmark_diffusion.data.augmentation.albumentations_pipeline import OPTION, leaves
from landmark_diffusion.data.augmentation.albumentations_recipe import (
    AlbumentationsRecipe,
    apply,
    check_points,
    with_keypoints,
)

DRAWS = 4
TOLERANCE = 0.25
"""Network pixels that the points of a transform may be off in the median before a warning names it."""
SPOT, WINDOW = 2.5, 9
"""Standard deviation of a marker, and half the side of the window that it is looked for in, in pixels."""
MIRRORS = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")


def try_transforms(recipe: AlbumentationsRecipe, size: tuple[int, int]) -> None:
    """Try each transform of a recipe on markers in images of ``size`` (width, height).

    Raises UserError where one loses, doubles or reorders points, or the pipeline does not fit the image; warns of one
    whose points do not follow the image, and says where one may mirror it.
    """
    image, points = draw_markers(size)
    mirroring = set()
    for transform in leaves(recipe.transforms):
        name = type(transform).__name__
        off = points_off(transform, image, points)
        if off > TOLERANCE:
            warn(
                f"{OPTION}: {name} moves points other than the image: they were {off:.1f} px off (median of markers in "
                f"{size[0]}x{size[1]} px). Recipe paper_a has an exact elastic warp"
            )
        if name in MIRRORS:
            mirroring.add(name)
    for draw in range(DRAWS):
        recipe(image, points, np.random.default_rng(draw))
    if mirroring:
        say(
            f"{OPTION}: {', '.join(sorted(mirroring))} may mirror images; a landmark keeps its name, so that of the "
            "left side is then on the right. Leave it out where landmarks have sides"
        )


def points_off(transform: Any, image: np.ndarray, points: np.ndarray) -> float:
    """How far a transform, applied for certain, puts points (M, 2) off their markers, in px.

    It is the median over markers and draws; where the transform leaves the points as they are, it is how far all
    markers have moved together, since noise moves the centroid of each. 0 where no marker can be found, and where the
    transform alone does not run, as a crop that something before it makes room for. Raises UserError where points do
    not come back.
    """
    certain = deepcopy(transform)
    certain.p = 1.0
    errors: list[np.ndarray] = []
    moved = False
    for draw in range(DRAWS):
        try:
            changed, numbers, found = apply(with_keypoints([certain]), image, points, np.random.default_rng(draw))
        except UserError:
            return 0.0
        check_points(numbers, len(points), type(transform).__name__)
        moved = moved or not np.allclose(found, points, atol=1e-3)  # the library rounds to float32
        errors += marker_errors(changed, found)
    if not errors:
        return 0.0
    return float(np.median(np.linalg.norm(errors, axis=1)) if moved else np.linalg.norm(np.mean(errors, axis=0)))


def draw_markers(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W) uint8 of ``size`` (width, height) with Gaussian spots, and their places (M, 2).

    Some lie on the border and outside: a transform may bring them in, and must not lose them.
    """
    counts = [min(max(side // (2 * WINDOW + 4), 3), 7) for side in size]
    sides = [np.linspace(-0.05, 1.05, count) * (side - 1) for side, count in zip(size, counts, strict=True)]
    points = np.stack(np.meshgrid(*sides, indexing="xy"), -1).reshape(-1, 2)
    columns, rows = (
        np.exp(-((np.arange(side) - places[:, None]) ** 2) / (2 * SPOT**2))
        for side, places in zip(size, sides, strict=True)
    )
    return np.rint(255 * np.minimum(rows.sum(0)[:, None] * columns.sum(0), 1)).astype(np.uint8), points


def marker_errors(image: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """Points (M, 2) minus the centroid of the spot around each, in px, for those well inside image (H, W)."""
    if image.ndim != 2:
        return []
    errors = []
    steps = np.arange(-WINDOW, WINDOW + 1)
    for point in points:
        column, row = np.rint(point).astype(int)
        if min(column, row) < WINDOW or column >= image.shape[1] - WINDOW or row >= image.shape[0] - WINDOW:
            continue
        patch = image[row - WINDOW : row + WINDOW + 1, column - WINDOW : column + WINDOW + 1].astype(np.float64)
        patch -= patch.min()
        if patch.sum() > 0:
            spot = np.array([(patch.sum(0) * steps).sum(), (patch.sum(1) * steps).sum()]) / patch.sum()
            errors.append(point - (column, row) - spot)
    return errors

"""The recipe "albumentations": a pipeline of that library (2.0.8, the last under MIT), its moved points checked.

Some of its transforms lose points, double them or return them up to several pixels off: docs/reference.md,
"Augmentation", has what was measured. albumentations_check.py tries each transform before training.
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation.albumentations_pipeline import OPTION, load_albumentations, read_pipeline


@dataclass(frozen=True)
class AlbumentationsRecipe:
    """Augment with a pipeline of albumentations; ``pipeline`` is whatever ``read_pipeline`` takes.

    The parameters for key points are set here: points that leave the frame are kept. The pipeline has to leave the
    image's size and its 8-bit grey as they are.
    """

    pipeline: Any

    @cached_property
    def transforms(self) -> list[Any]:
        """The transforms, read when they are first asked for: a test of a run needs neither file nor library."""
        return read_pipeline(self.pipeline)

    @cached_property
    def compose(self) -> Any:
        """All of them with our key points."""
        return with_keypoints(self.transforms)

    def __call__(
        self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment image (H, W) uint8 and points (N, 2) network pixels with numbers drawn from ``rng`` alone.

        Raises UserError where the library loses, doubles or reorders points, changes the size or the kind of image, or
        fails.
        """
        known = np.isfinite(points).all(axis=1)
        changed, order, found = apply(self.compose, image, np.asarray(points, dtype=np.float64)[known], rng)
        check_points(order, int(known.sum()), "the pipeline")
        if changed.shape != image.shape or changed.dtype != np.uint8:
            raise UserError(
                f"{OPTION}: the pipeline gives {changed.dtype} of shape {changed.shape}, expected uint8 of the shape "
                f"that it was given, {image.shape} (height, width): crops and scales end with "
                f"`Resize: {{height: {image.shape[0]}, width: {image.shape[1]}}}`, and ToFloat, Normalize and the like "
                "are left out"
            )
        moved = np.full(np.shape(points), np.nan)
        moved[known] = found
        return changed, moved


def with_keypoints(transforms: list[Any]) -> Any:
    """Compose transforms with our key points: in pixels, numbered, none removed for lying outside."""
    library = load_albumentations()
    params = library.KeypointParams("xy", label_fields=["number"], remove_invisible=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pipeline that moves no points, which is none of its faults
        return library.Compose(transforms, keypoint_params=params)


def apply(
    compose: Any, image: np.ndarray, points: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Run a pipeline on image (H, W) and points (M, 2): the image, the points' numbers as they came back, and they.

    All transforms share one stream of numbers. (``set_random_seed`` would give each the same one, and so tie what they
    draw.) Raises UserError for an error within the library.
    """
    seed = int(rng.integers(2**63))
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    try:
        found = compose(image=image.copy(), keypoints=points.copy(), number=np.arange(len(points)))
    except Exception as error:  # of whatever kind: the library's checks, numpy's, OpenCV's
        raise UserError(
            f"{OPTION}: the pipeline fails on a grey image of {image.shape[1]}x{image.shape[0]} px: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    numbers = [int(number) for number in found["number"]]
    return found["image"], numbers, np.asarray(found["keypoints"], dtype=np.float64).reshape(-1, 2)


def check_points(numbers: list[int], count: int, what: str) -> None:
    """Raise UserError unless the points 0 ... count - 1 came back, each once and in order."""
    if numbers == list(range(count)):
        return
    lost, doubled = count - len(set(numbers)), len(numbers) - len(set(numbers))
    happened = [f"loses {lost} of {count} points"] if lost else []
    happened += [f"doubles {doubled}"] if doubled else []
    raise UserError(
        f"{OPTION}: {what} {' and '.join(happened) or 'changes the order of the points'}, so that landmarks would take "
        "each other's places. Take another transform: Affine with a constant border for rotation, scale, shear and "
        "shift; recipe paper_a has an exact elastic warp"
    )

"""Errors on the 256x256 grid, as the released code of paper B measures them (docs/conventions.md).

Read from downstream_task of github.com/Malga-Vision/DiffusionXray-FewShot-LandmarkDetection; what it does, and so this:

- A point (x, y) of an image (W, H) stands at the grid's round(256 x / W), round(256 y / H): halves go to the even
  number, and pixel centres are not regarded. Here both points go this way, so that no half pixel lies between them.
- The truth, the mean of the annotators, is then drawn as a disc and the disc's outline decoded again. Inside the image
  that changes nothing; within 5 px of its border the disc is cut and the truth moves inwards (:func:`redrawn`).
- The difference is taken to mm axis by axis. For cephalograms the code's two factors stand in the wrong places: x is
  multiplied by 0.1 x 2400 / 256 mm, which is the pixel's height, and y by 0.1 x 1935 / 256 (``scale`` "swapped").
- Hands: 50 mm over the distance between the first and the fifth landmark's rounded truth, on the grid, although its
  pixels are not square there ("wrist"). Chest: pixels of the grid.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Unit

Scale = Literal["spacing", "swapped", "wrist"]
SCALES: dict[str, str] = {
    "spacing": "each axis by its own spacing",
    "swapped": "x by the spacing of y and y by that of x",
    "wrist": "50 mm between the rounded truth of landmarks 1 and 5",
}
GRID = 256
DISC = 2 * 5**2 * np.log(2)
"""Squared radius in grid px of a Gaussian of sigma 5 cut at half its maximum."""
WRIST, WRIST_MM = (0, 4), 50.0


def grid_errors(
    points: np.ndarray, truth: np.ndarray, size: np.ndarray, pixel: np.ndarray, known: Unit, scale: Scale, unit: Unit
) -> np.ndarray:
    """Measure one image's radial errors (..., N) between rounded points of the 256x256 grid; NaN without truth.

    Args:
        points, truth: (N, 2) and (..., N, 2) original pixels.
        size: (W, H) of the original image, NaN where it is not known.
        pixel: (2,) length of an original pixel in the unit ``known``, "px" where that is not known.
        scale: how a difference on the grid becomes a length, see ``SCALES``.
        unit: of the errors, "mm" or "px256" (pixels of the grid).

    Raises:
        MetricError: where one of these is missing.
    """
    if np.isnan(size).any():
        raise MetricError(
            "errors on the 256x256 grid need the image's size; give Prediction(..., image_size=(W, H)) of the original "
            "image, or take a protocol in the original frame"
        )
    there = np.rint(redrawn(truth / size * GRID))  # divided first, as in the code: the order decides ties
    difference = np.rint(points / size * GRID) - there
    if unit == "mm" and scale == "wrist":
        difference = difference * _wrist_factor(there)[..., None, None]
    elif unit != "px256":
        if unit == "px" or unit != known:
            raise MetricError(
                "an error on the 256x256 grid is in mm, which needs the spacing, or in px256; found a spacing in "
                f"{known} and the unit {unit!r}"
            )
        factor = pixel * size / GRID
        difference = difference * (factor[::-1] if scale == "swapped" else factor)
    errors: np.ndarray = np.linalg.norm(difference, axis=-1)
    return errors


def redrawn(points: np.ndarray) -> np.ndarray:
    """Draw each point (..., 2) of the grid as a disc around its nearest pixel and find the middle of its outline.

    That is the nearest pixel itself unless the border cuts the disc. NaN stays NaN.
    """
    drawn: np.ndarray = np.rint(points)
    cut = ~((drawn >= 5) & (drawn <= GRID - 6)).all(-1) & ~np.isnan(drawn).any(-1)
    for place in map(tuple, np.argwhere(cut)):
        drawn[place] = _middle_of_disc(drawn[place])
    return drawn


def _middle_of_disc(centre: np.ndarray) -> np.ndarray:
    """Centroid (2,) of the polygon through the outermost pixels of a disc that the grid's border cuts."""
    import cv2

    x, y = np.meshgrid(np.arange(GRID), np.arange(GRID))
    squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    # Half of the greatest value there is: of a centre outside the image that is the nearest pixel's.
    disc = (squared <= squared.min() + DISC).astype(np.uint8)
    outlines, _ = cv2.findContours(disc, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    sums = cv2.moments(outlines[0])
    # A disc so far outside that one row of it is seen has no area; the code leaves such a truth at the origin.
    return np.array([sums["m10"], sums["m01"]]) / sums["m00"] if sums["m00"] else np.zeros(2)


def _wrist_factor(truth: np.ndarray) -> np.ndarray:
    """Millimetres of a grid pixel, from rounded truth (..., N, 2): (...)."""
    if truth.shape[-2] <= max(WRIST):
        raise MetricError(f"the wrist's scale needs landmarks 1 and 5, found {truth.shape[-2]}")
    first, fifth = (truth[..., place, :] for place in WRIST)
    width = np.linalg.norm(first - fifth, axis=-1)
    if not (width > 0).all():
        raise MetricError(
            "the wrist's scale needs landmarks 1 and 5 at two places of the 256x256 grid; found "
            f"{first[~(width > 0)][0].tolist()} and {fifth[~(width > 0)][0].tolist()}"
        )
    return np.asarray(WRIST_MM / width)

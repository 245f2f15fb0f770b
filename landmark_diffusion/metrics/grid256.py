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
from landmark_diffusion.metrics.records import Prediction, Unit, check_finite

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
    prediction: Prediction, truth: np.ndarray, scale: Scale = "spacing", unit: Unit | None = None
) -> np.ndarray:
    """Measure radial errors (N,) between rounded points of the 256x256 grid; NaN where there is no truth.

    Args:
        prediction: with its ``image_size``, and its spacing unless ``scale`` is "wrist" or ``unit`` "px256".
        truth: (N, 2) original pixels, NaN where unknown.
        scale: how a difference on the grid becomes a length, see ``SCALES``.
        unit: "mm" or "px256" (pixels of the grid); None takes the spacing's unit, and mm for "wrist".

    Raises:
        MetricError: where one of these is missing, or a point is not finite although its truth is known.
    """
    check_finite(prediction, truth)
    there = redrawn(to_grid(truth, prediction))
    unit = unit or ("mm" if scale == "wrist" else prediction.unit)
    difference = np.rint(to_grid(prediction.points, prediction)) - np.rint(there)
    return np.linalg.norm(difference * _factor(prediction, np.rint(there), scale, unit), axis=-1)


def to_grid(points: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Stretch original pixels (N, 2) to the 256x256 grid, unrounded; raises MetricError without the image's size."""
    if prediction.image_size is None:
        raise MetricError(
            f"{prediction.image_id}: errors on the 256x256 grid need the image's size; give "
            "Prediction(..., image_size=(W, H)) of the original image, or take a protocol in the original frame"
        )
    # Divided first, as in the code: the order decides ties.
    return np.asarray(points, dtype=np.float64) / prediction.image_size * GRID


def redrawn(points: np.ndarray) -> np.ndarray:
    """Draw each point (N, 2) of the grid as a disc around its nearest pixel and find the middle of its outline.

    That is the nearest pixel itself unless the border cuts the disc. NaN stays NaN.
    """
    drawn = np.rint(points)
    cut = ~((drawn >= 5) & (drawn <= GRID - 6)).all(-1) & ~np.isnan(drawn).any(-1)
    for number in np.flatnonzero(cut):
        drawn[number] = _middle_of_disc(drawn[number])
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


def _factor(prediction: Prediction, truth: np.ndarray, scale: Scale, unit: Unit) -> np.ndarray:
    """Length of a grid pixel in ``unit``, (2,) for x and y; ``truth`` (N, 2) is rounded."""
    if unit == "px256":
        return np.ones(2)
    if unit == "mm" and scale == "wrist":
        return np.full(2, _wrist_factor(prediction, truth))
    if unit == "px" or unit != prediction.unit:
        raise MetricError(
            f"{prediction.image_id}: an error on the 256x256 grid is in mm, which needs the spacing, or in px256; "
            f"found a spacing in {prediction.unit} and the unit {unit!r}"
        )
    factor = np.asarray(prediction.spacing) * np.asarray(prediction.image_size) / GRID
    return factor[::-1] if scale == "swapped" else factor


def _wrist_factor(prediction: Prediction, truth: np.ndarray) -> float:
    if len(truth) <= max(WRIST):
        raise MetricError(f"{prediction.image_id}: the wrist's scale needs landmarks 1 and 5, found {len(truth)}")
    width = float(np.linalg.norm(truth[WRIST[0]] - truth[WRIST[1]]))
    if not width > 0:
        raise MetricError(
            f"{prediction.image_id}: the wrist's scale needs landmarks 1 and 5 at two places of the 256x256 grid; "
            f"found {truth[WRIST[0]].tolist()} and {truth[WRIST[1]].tolist()}"
        )
    return WRIST_MM / width

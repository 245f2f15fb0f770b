"""Detections made up for tests of what is written from them: a picture with bright pixels, and points upon them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from landmark_diffusion.detection.detection import UNKNOWN_SPACING, Detection

BRIGHT = 255
"""Grey of the pixel nearest to each point; nothing else in the picture is brighter than 128."""


def make_detection(
    name: str = "a",
    spacing: tuple[float, float] | None = (0.1, 0.1),
    regions: bool = True,
    size: tuple[int, int] = (300, 400),
    count: int = 5,
    seed: int = 0,
    pixels: bool = True,
) -> Detection:
    """Draw ``count`` points inside an image of ``size`` (width, height), with all that a calibration gives.

    ``regions`` False leaves out what only a calibrated model has (covariance included); ``pixels`` False the picture.
    """
    rng = np.random.default_rng(seed)
    points = rng.uniform(1, np.array(size) - 2, (count, 2))
    covariance = random_covariance(rng, count)
    calibrated = {
        "covariance": covariance,
        "level": 0.9,
        "regions": 4.61 * covariance,
        "expected_error": np.sqrt(np.trace(covariance, axis1=1, axis2=2)),
        "image_score": 0.4,
        "unlike": False,
    }
    return Detection(
        name=name,
        path=f"images/{name}.png",
        size=size,
        landmark_names=tuple(f"landmark {index + 1}" for index in range(count)),
        points=points,
        spacing=spacing,
        spacing_source=UNKNOWN_SPACING if spacing is None else "option",
        notes=() if spacing else ("No spacing is known: points are in pixels only.",),
        model="ceph_small.ldx",
        settings={"steps": 8, "samples": 1, "spread": "heatmap", "seed": 0},
        pixels=draw(points, size, rng) if pixels else None,
        **(calibrated if regions else {}),
    )


def make_doubted(name: str = "a", **options: object) -> Detection:
    """As ``make_detection``, of five landmarks: the second is not in the image, the third and the fifth are doubtful.

    The second is called doubtful too, as a calibration may do: that it is not in the image goes before.
    """
    return replace(
        make_detection(name, **options),  # type: ignore[arg-type]
        outside=np.array([0.01, 0.9, 0.02, 0.5, 0.03]),
        far=np.array([0.02, 0.7, 0.4, 0.01, 0.25]),
        doubtful=np.array([False, True, True, False, True]),
    )


def random_covariance(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 2, 2) squared pixels: ellipses of 1 to 6 px, turned at random."""
    angle = rng.uniform(0, np.pi, count)
    axes = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    scales = rng.uniform(1, 6, (count, 1, 2))
    return (axes * scales**2) @ axes.swapaxes(1, 2)


def draw(points: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8: dim noise with a bright pixel nearest to each point."""
    picture = rng.integers(0, 129, (size[1], size[0]), dtype=np.uint8)
    columns, rows = np.rint(points).astype(int).T
    picture[rows, columns] = BRIGHT
    return picture

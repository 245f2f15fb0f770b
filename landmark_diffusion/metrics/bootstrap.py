"""How sure a mean is: bootstrap over images, paired between two methods (docs/conventions.md).

Images are what is drawn again, since the landmarks of one image err together and the seeds saw the same images.
"""

from __future__ import annotations

import numpy as np

from landmark_diffusion.core.interval import Interval
from landmark_diffusion.metrics.functional import MetricError

_CHUNK = 4_000_000  # drawn indices held at once, 32 MB


def image_errors(errors: np.ndarray) -> np.ndarray:
    """Average errors over seeds and landmarks, leaving out missing ones: (I,) from (I,), (I, N) or (S, I, N).

    Raises MetricError on other shapes, on infinite errors, and on an image in which nothing was measured.
    """
    errors = np.asarray(errors, dtype=np.float64)
    if not 1 <= errors.ndim <= 3 or errors.size == 0:
        raise MetricError(f"errors: found shape {errors.shape}, expected (I,), (I, N) or (S, I, N), not empty")
    if np.isinf(errors).any():
        raise MetricError("errors: found an infinite one")
    axes = {1: (), 2: (1,), 3: (0, 2)}[errors.ndim]
    there = ~np.isnan(errors)
    count = there.sum(axes)
    if (count == 0).any():
        raise MetricError(f"image {int(np.argmin(count))} has no error at all: leave it out of both methods")
    means: np.ndarray = np.where(there, errors, 0.0).sum(axes) / count
    return means


def bootstrap_interval(values: np.ndarray, n: int = 10_000, seed: int = 0, level: float = 0.95) -> Interval:
    """Interval of the mean of one value an image, by the percentile bootstrap with ``n`` draws.

    ``values`` is (I,), or errors that :func:`image_errors` averages to it. The same seed gives the same interval.
    Raises MetricError on fewer than two images or a level outside 0 to 1.
    """
    values = image_errors(values)
    if len(values) < 2 or not 0 < level < 1 or n < 1:
        raise MetricError(f"found {len(values)} images, level {level}, n {n}; expected >= 2, between 0 and 1, >= 1")
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    means = np.concatenate(
        [
            values[rng.integers(0, len(values), (min(rows, n - start), len(values)))].mean(1)
            for start in range(0, n, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), level, len(values))


def draw_counts(images: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """How often each image comes in each of ``n`` draws, (n, I)."""
    return rng.multinomial(images, np.full(images, 1 / images), n).astype(np.float64)


def paired_difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """Interval of mean(a - b) over the same images in the same order; below 0 says that ``a`` errs less.

    ``a`` and ``b`` are errors as in :func:`image_errors`; they may have different numbers of seeds. Raises MetricError
    when they differ in images, or in which landmarks were measured.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    missing_a, missing_b = _missing(a), _missing(b)
    if missing_a.shape != missing_b.shape or (missing_a != missing_b).any():
        raise MetricError(
            f"a pair needs the same images and landmarks: found shapes {a.shape} and {b.shape}, with "
            f"{int(missing_a.sum())} and {int(missing_b.sum())} missing"
        )
    return bootstrap_interval(image_errors(a) - image_errors(b))


def _missing(errors: np.ndarray) -> np.ndarray:
    """Where nothing was measured by any seed, (I,) or (I, N)."""
    missing = np.isnan(errors)
    nowhere: np.ndarray = missing.all(0) if errors.ndim == 3 else missing
    return nowhere

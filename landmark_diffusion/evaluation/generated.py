"""Generated radiographs against the training images: grey levels, sharpness, and whether any is a copy.

A diffusion model of some hundred images can reproduce one (docs/conventions.md), so each generated image is
compared with its nearest training image. All images are rounded to 8 bits first, as those on disk are: rounding noise
alone would else tell the two apart, and in whole grey levels the distances come out exact.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

TOP = 255
"""The brightest grey level; all distances are in grey levels from 0 to this."""
BINS = 64
DRAWS = 21
"""Random parts of the training set for the reference: odd, so that the median of counts is a count."""
ROUNDING_POWER = 1 / 12
"""Power of 8-bit rounding noise in grey levels squared: less says nothing about an image."""
CHUNK = 64


@dataclass(frozen=True)
class SampleStatistics:
    """How near generated images are to the training images; distances in grey levels of 255.

    ``histogram_distance``: 1-Wasserstein distance between the grey levels of both. ``spectrum_distance``: root mean
    square difference of log10 power. ``nearest_min``, ``nearest_median``: over the generated images, distance to the
    nearest training image. ``nearest_ratio``: that median over the median from a training image to its nearest other
    one; far below 1 means copying. ``copies``: generated images no farther from a training image than the two most
    alike training images are from each other.

    ``reference``: the same numbers for as many training images (half of them at most), drawn at random, against the
    other training images: what a perfect model would get. Medians of 21 draws; NaN where there is one image alone.
    """

    histogram_distance: float
    spectrum_distance: float
    nearest_min: float
    nearest_median: float
    nearest_ratio: float
    copies: float
    reference: SampleStatistics | None = None

    def as_dict(self) -> dict[str, float]:
        """All numbers by name, those of the reference behind ``reference_``."""
        own = {name: getattr(self, name) for name in NUMBERS}
        other = {} if self.reference is None else self.reference.as_dict()
        return own | {f"reference_{name}": value for name, value in other.items()}


NUMBERS = tuple(each.name for each in fields(SampleStatistics) if each.name != "reference")


def sample_statistics(generated: np.ndarray, training: np.ndarray, seed: int = 0) -> SampleStatistics:
    """Compare generated images (G,H,W) with training images (M,H,W), both float in [0,1] or uint8.

    ``seed`` draws the reference. Raises ValueError for no images or different sizes.
    """
    made, real = two_sets(generated, training)
    curves, among = StatisticsCurves.of(real), _among(real)
    found = _compare(StatisticsCurves.of(made), curves, _distances(made, real, CHUNK), among)
    drawn = [
        _compare(curves.part(held), curves.part(others), among[np.ix_(held, others)], among[np.ix_(others, others)])
        for held, others in reference_parts(len(made), len(real), seed)
    ]
    rows = np.array([[getattr(each, name) for name in NUMBERS] for each in drawn])
    medians = np.median(rows, 0) if drawn else np.full(len(NUMBERS), np.nan)
    return replace(found, reference=SampleStatistics(*medians.tolist()))


def nearest_training(generated: np.ndarray, training: np.ndarray, chunk: int = CHUNK) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest training image (M,H,W) of each generated image (G,H,W), float in [0,1] or uint8.

    Returns its index (G,) and its distance (G,): the root mean square difference over the pixels in grey levels.
    ``chunk`` images are compared at a time.
    """
    distances = _distances(*two_sets(generated, training), chunk)
    return distances.argmin(1), distances.min(1)


def training_nearest_distances(training: np.ndarray) -> np.ndarray:
    """Distance (M,) of each training image (M,H,W) to its nearest other one, the yardstick of copying.

    In grey levels, as in ``nearest_training``; NaN where there is no other.
    """
    return _nearest_other(_among(grey_levels(training)))


def histogram(images: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Share (bins,) of the pixels of images (I,H,W), float in [0,1] or uint8, in equal ranges of grey levels."""
    shares: np.ndarray = _histograms(grey_levels(images), bins).mean(0)
    return shares


def histogram_distance(a: np.ndarray, b: np.ndarray) -> float:
    """1-Wasserstein distance between two histograms (bins,), in grey levels."""
    return float(np.abs(np.cumsum(a - b)).sum() * (TOP + 1) / len(a))


def power_spectrum(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power by frequency, averaged over directions and over images (I,H,W), float in [0,1] or uint8.

    Returns the frequencies (K,) in cycles per pixel, up to 0.5, and the power (K,) in grey levels squared: white noise
    of standard deviation s has s^2 at each. A Hann window keeps opposite edges, which do not match, out of it.
    """
    levels = grey_levels(images)
    return frequencies(levels.shape[1:]), _spectra(levels).mean(0)


def spectrum_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference of log10 power between two spectra (K,); power below rounding noise is cut."""
    difference = np.log10(np.maximum(a, ROUNDING_POWER)) - np.log10(np.maximum(b, ROUNDING_POWER))
    return float(np.sqrt(np.square(difference).mean()))


def grey_levels(images: np.ndarray) -> np.ndarray:
    """Round images, float in [0,1], to uint8; uint8 is returned as it is. NaN (of a diverged network) become black."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    levels: np.ndarray = np.rint(np.clip(np.nan_to_num(images), 0, 1) * TOP)
    return levels.astype(np.uint8)


def two_sets(generated: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as grey levels; raises ValueError unless they are (G,H,W) and (M,H,W) of the same size, one or more each."""
    made, real = grey_levels(generated), grey_levels(training)
    if made.ndim != 3 or real.ndim != 3 or made.shape[1:] != real.shape[1:] or not len(made) or not len(real):
        raise ValueError(f"found images {made.shape} and {real.shape}, expected (G,H,W) and (M,H,W), one or more each")
    return made, real


def reference_parts(generated: int, training: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw places of ``generated`` training images, half of them at most, and of the others, DRAWS times."""
    held, rng = min(generated, training // 2), np.random.default_rng(seed)
    orders = [rng.permutation(training) for _ in range(DRAWS if held else 0)]
    return [(order[:held], order[held:]) for order in orders]


@dataclass(frozen=True)
class StatisticsCurves:
    """Histogram (I,bins) and power spectrum (I,K) of each of I images."""

    histograms: np.ndarray
    spectra: np.ndarray

    @classmethod
    def of(cls, levels: np.ndarray) -> StatisticsCurves:
        """Measure images (I,H,W) uint8."""
        return cls(_histograms(levels, BINS), _spectra(levels))

    def part(self, places: np.ndarray) -> StatisticsCurves:
        """Those of some images."""
        return StatisticsCurves(self.histograms[places], self.spectra[places])


def _compare(
    made: StatisticsCurves, real: StatisticsCurves, between: np.ndarray, among: np.ndarray
) -> SampleStatistics:
    """Statistics from curves and distances: ``between`` (G,M) the two sets, ``among`` (M,M) the real ones."""
    nearest, yardstick = between.min(1), _nearest_other(among)
    middle = float(np.median(yardstick))
    return SampleStatistics(
        histogram_distance=histogram_distance(made.histograms.mean(0), real.histograms.mean(0)),
        spectrum_distance=spectrum_distance(made.spectra.mean(0), real.spectra.mean(0)),
        nearest_min=float(nearest.min()),
        nearest_median=float(np.median(nearest)),
        nearest_ratio=float(np.median(nearest)) / middle if middle else float("nan"),
        copies=float((nearest <= yardstick.min()).sum()),
    )


def _distances(a: np.ndarray, b: np.ndarray, chunk: int) -> np.ndarray:
    """Root mean square differences (A,B) of images (A,H,W) and (B,H,W) uint8.

    By |a|^2 + |b|^2 - 2ab, exact here: whole numbers far below 2^53.
    """
    rows, columns = (images.reshape(len(images), -1) for images in (a, b))
    squared = np.empty((len(a), len(b)))
    for i in range(0, len(a), chunk):
        left = rows[i : i + chunk].astype(np.float64)
        for j in range(0, len(b), chunk):
            right = columns[j : j + chunk].astype(np.float64)
            block = np.square(left).sum(1)[:, None] + np.square(right).sum(1)
            squared[i : i + chunk, j : j + chunk] = block - 2 * left @ right.T
    return np.sqrt(squared / rows.shape[1])


def _among(levels: np.ndarray) -> np.ndarray:
    """Distances (M,M) of images (M,H,W) to each other, infinite to themselves."""
    among = _distances(levels, levels, CHUNK)
    np.fill_diagonal(among, np.inf)
    return among


def _nearest_other(among: np.ndarray) -> np.ndarray:
    nearest = among.min(1)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _histograms(levels: np.ndarray, bins: int) -> np.ndarray:
    pixels = levels.shape[1] * levels.shape[2]
    return np.stack([np.histogram(image, bins, (0, TOP + 1))[0] / pixels for image in levels])


def frequencies(size: tuple[int, ...]) -> np.ndarray:
    """Frequencies (K,) of the spectra of images of ``size`` (H, W): as fine as the shorter side allows."""
    return np.arange(1, min(size) // 2 + 1) / min(size)


def _spectra(levels: np.ndarray) -> np.ndarray:
    """Power (I,K) of each image (I,H,W) in rings around frequency zero."""
    height, width = levels.shape[1:]
    shortest = min(height, width)
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    ring = np.rint(radius * shortest).astype(int).ravel()
    inside = (ring >= 1) & (ring <= shortest // 2)
    counts = np.bincount(ring[inside])[1:] * np.square(window).sum()
    found = []
    for image in levels:
        centred = image - (image * window).sum() / window.sum()  # else the mean leaks into the lowest frequencies
        power = np.square(np.abs(np.fft.fft2(centred * window))).ravel()
        found.append(np.bincount(ring[inside], power[inside])[1:] / counts)
    return np.stack(found)

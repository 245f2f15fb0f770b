"""Labels in another unit or frame than pixels of their image: shares, percent, mm, points of another copy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

SMALL = 16
"""In images with a side below so many px, points within 0..1 or 0..100 px say nothing."""
CORNER, SMALL_CORNER = 0.5, 0.25
"""Points of all images within this share of the width and of the height fill only a corner; the second where an image
has one or two points, or there are fewer than three images: one landmark often lies in one quarter of all images."""
PERCENT_SIDE = 500
STEP = np.log(1.3)
"""Images whose points are this much (log of the factor) larger or smaller than the others' can have another frame."""

_ROUNDS = 4
_NICE = (1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 100)


@dataclass(frozen=True)
class FrameDoubt:
    """What is said of the images at the indices ``images``, an error where ``sure``."""

    images: list[int]
    message: str
    sure: bool = False


def frame_doubts(points: np.ndarray, sizes: np.ndarray, spacing: np.ndarray | None = None) -> list[FrameDoubt]:
    """Find images whose points are no pixels of the whole image, all images first.

    ``points`` (I, A, N, 2) px with NaN for missing ones, without placeholders; ``sizes`` (I, 2) width and height;
    ``spacing`` (I, 2) mm a pixel where known, which tells mm.
    """
    known = np.isfinite(points).all(-1)
    marked = np.flatnonzero(known.any((1, 2)))
    if not len(marked):
        return []
    low, high = _extent(points, known, np.fmin), _extent(points, known, np.fmax)
    large = np.flatnonzero(known.any((1, 2)) & (sizes.min(-1) >= SMALL))
    shares = np.array([i for i in large if low[i].min() >= -1 and high[i].max() <= 1 and _not_whole(points[i])], int)
    several = known.sum((1, 2)) > 1
    if len(shares) and len(shares) == len(marked):
        return [_shares(shares, float(low[shares].min()))]
    doubts = []
    shares = shares[several[shares]]
    if len(shares):
        doubts.append(_some_shares(shares, len(marked)))
    rest = np.setdiff1d(marked, shares)
    main, others = _groups(points, sizes, rest)
    doubts += others
    return [*_corner(high[main], sizes[main], main, known, spacing), *doubts]


def outside_doubt(points: np.ndarray, sizes: np.ndarray) -> FrameDoubt | None:
    """Say what points outside their images may be where many images (a fifth, and two) have them.

    Takes what `frame_doubts` takes.
    """
    known = np.isfinite(points).all(-1)
    edge = sizes[:, None, None] - 0.5
    with np.errstate(invalid="ignore"):
        out = known & ((points < -0.5) | (points >= edge)).any(-1)
        swapped_out = known & ((points[..., ::-1] < -0.5) | (points[..., ::-1] >= edge)).any(-1)
    images = np.flatnonzero(out.any((1, 2)))
    if len(images) < 2 or len(images) < 0.2 * known.any((1, 2)).sum():
        return None
    if np.abs(points[known]).max() <= 1 and sizes.min() >= SMALL and _not_whole(points):
        return _shares(np.flatnonzero(known.any((1, 2))), float(points[known].min()))
    start = f"points of {len(images)} of {len(points)} images lie outside their image"
    if not swapped_out[images].any():
        return FrameDoubt(list(images), f"{start}, and none does with x and y exchanged: are they exchanged?", True)
    values = points[images][known[images]]
    if np.nanmin(values[:, 1]) < -0.5 and (values[:, 1] <= 0.5).mean() > 0.9:
        return FrameDoubt(list(images), f"{start}; y is below 0: expected y downwards from the top", True)
    factor = float(np.nanmax(points[images] / sizes[images][:, None, None]))
    if (values < -0.5).any() or factor < 1.05:
        return FrameDoubt(list(images), f"{start}: was the origin another, or the image cut after marking?", True)
    nice = next((each for each in _NICE if each >= factor * 0.99), factor)
    return FrameDoubt(
        list(images), f"{start}, by up to {factor:.2f} times its size: marked on a copy {nice:g} times as large?", True
    )


def _extent(points: np.ndarray, known: np.ndarray, pick: np.ufunc) -> np.ndarray:
    """Least or largest x and y of each image, (I, 2); NaN where it has no point."""
    extent: np.ndarray = pick.reduce(np.where(known[..., None], points, np.nan).reshape(len(points), -1, 2), axis=1)
    return extent


def _not_whole(points: np.ndarray) -> bool:
    values = points[np.isfinite(points)]
    return bool((values != np.rint(values)).any())


def _shares(images: np.ndarray, low: float) -> FrameDoubt:
    between, rule = "0..1", "x times the width and y times the height"
    if low < 0:
        between, rule = "-1..1", "(x + 1) / 2 times the width and (y + 1) / 2 times the height"
    return FrameDoubt(
        list(images),
        f"all points of all {len(images)} images lie within {between}: shares of the image's size? Expected pixels of "
        f"the whole image, {rule}",
        True,
    )


def _some_shares(images: np.ndarray, count: int) -> FrameDoubt:
    return FrameDoubt(
        list(images),
        f"all points of {len(images)} of {count} images lie within 0..1, those of the others do not: shares of the "
        "image's size? Expected pixels",
        True,
    )


def _corner(
    high: np.ndarray, sizes: np.ndarray, images: np.ndarray, known: np.ndarray, spacing: np.ndarray | None
) -> list[FrameDoubt]:
    """A doubt where the points of all these images fill only the corner at the origin; ``high`` is (I, 2)."""
    few = len(images) < 3 or np.median(known[images].any(1).sum(-1)) < 3
    # One image in a hundred may be otherwise.
    across, down = np.quantile(high / sizes, 0.99, axis=0, method="lower")
    most = max(across, down)
    if not len(images) or sizes.min() < SMALL or most > (SMALL_CORNER if few else CORNER) or most <= 0:
        return []
    start = f"the points fill only the first {across:.0%} of the width and {down:.0%} of the height, in all images"
    advice = "Expected pixels of the whole image"
    mm = False
    if spacing is not None and np.isfinite(spacing[images]).all():
        mm = bool(0.5 < (high / spacing[images] / sizes).max() <= 1.02)
    if high.max() <= 100 and high.max() > 50 and sizes.min() >= 2 * 100:
        sure = bool(sizes.min() >= PERCENT_SIDE and not few)
        what = "percent of its size, or mm" if mm else "percent of its size"
        return [FrameDoubt(list(images), f"{start}, and are all within 0..100: {what}? {advice}", sure)]
    if mm:
        return [FrameDoubt(list(images), f"{start}; divided by the spacing they would fill it: mm? {advice}")]
    factor = max((each for each in _NICE if each * most <= 1.01), default=1.0)
    return [FrameDoubt(list(images), f"{start}: mm, or marked on a copy up to {factor:g} times smaller? {advice}")]


def _groups(points: np.ndarray, sizes: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, list[FrameDoubt]]:
    """Part the images by the scale of their points against the image's size.

    Returns the images of the largest group (of equal ones that with the largest points), and a doubt for each group
    whose points, scaled about the origin, would be those of the largest one.
    """
    if len(images) < 4 or points.shape[2] < 2:
        return images, []
    share = (_nanmedian(points[images], 1) + 0.5) / sizes[images][:, None]
    scale = np.zeros(len(images))
    for _ in range(_ROUNDS):  # of two equal groups the median would be now one's, now the other's, landmark by landmark
        middle = _nanmedian(share * np.exp(-scale)[:, None, None], 0)
        with np.errstate(all="ignore"):
            logs = np.log(np.where(share > 0, share, np.nan) / np.where(middle > 0, middle, np.nan))
        scale = _nanmedian(logs.reshape(len(images), -1), 1)
        scale = np.where(np.isfinite(scale), scale, 0.0)
    order = np.argsort(scale, kind="stable")
    parts = [part for part in np.split(order, np.flatnonzero(np.diff(scale[order]) > STEP) + 1) if len(part)]
    main = max(parts, key=lambda part: (len(part), scale[part].mean()))
    spread = float(np.median(np.abs(scale[main] - np.median(scale[main]))))
    shape = _nanmedian(share[main], 0)
    off = _nanmedian(np.abs(share[main] - shape).reshape(len(main), -1), 1)
    usual = float(np.median(off))
    doubts = []
    for part in parts:
        apart = float(np.median(scale[part]) - np.median(scale[main]))
        if part is main or abs(apart) < max(STEP, 4 * spread):
            continue
        before, after = (
            _nanmedian(np.abs(each - shape).reshape(len(part), -1), 1)
            for each in (share[part], np.exp(-apart) * share[part])
        )
        # ``usual`` of few images is too small: where the part as a whole fits, each of its images may lie further off.
        limit = (4 * usual + 0.005) * (2 if np.median(after) < 4 * usual + 0.005 else 1)
        here = part[(after < limit) & (after < 0.5 * before)]
        if len(main) >= 2 and len(here):
            doubts.append(_other_scale(images, sizes, here, main, float(np.exp(apart))))
    return np.sort(images[main]), doubts


def _other_scale(
    images: np.ndarray, sizes: np.ndarray, here: np.ndarray, main: np.ndarray, factor: float
) -> FrameDoubt:
    found = (
        f"the points of {len(here)} of {len(images)} images are {factor:.2f} times as large as the others', "
        "measured by the size of their image"
    )
    size, other = np.median(sizes[images[here]], axis=0), np.median(sizes[images[main]], axis=0)
    if abs(np.log((size / other).mean() * factor)) < 0.15:
        why = f"their size differs ({size[0]:g}x{size[1]:g}, others {other[0]:g}x{other[1]:g}), but their points do not"
        return FrameDoubt(sorted(map(int, images[here])), f"{found}: {why}; marked on another copy?")
    return FrameDoubt(sorted(map(int, images[here])), f"{found}: marked on a copy of another size?")


def _nanmedian(values: np.ndarray, axis: int) -> np.ndarray:
    """`numpy.nanmedian` without its warning where all are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        medians: np.ndarray = np.nanmedian(values, axis=axis)
        return medians

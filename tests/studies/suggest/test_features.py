"""Features of images: little changes them that is no matter of anatomy, and nothing is lost in reducing them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.studies.suggest.choice import distances
from landmark_diffusion.studies.suggest.features import SCALES, aligned, edge_views, principal

PLAIN = SCALES.index(1.0)


@cache
def phantoms() -> list[np.ndarray]:
    source = PhantomDataset(count=(8, 0, 0), image_size=(194, 240))
    return [source.load_image(each) for each in source.samples("train")]


def seen(grey: np.ndarray) -> np.ndarray:
    return edge_views(grey)[PLAIN].astype(np.float64)


def gamma(grey: np.ndarray) -> np.ndarray:
    return np.rint(255 * (grey / 255) ** 0.6).astype(np.uint8)


def flatter(grey: np.ndarray) -> np.ndarray:
    return np.rint(60 + 0.5 * grey).astype(np.uint8)


def negative(grey: np.ndarray) -> np.ndarray:
    return 255 - grey


def larger(grey: np.ndarray) -> np.ndarray:
    return cv2.resize(grey, (1000, 1237), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("change", [gamma, flatter, negative, larger])
def test_exposure_and_size_change_less_than_another_head(change: object) -> None:
    images = phantoms()
    apart = min(np.linalg.norm(seen(images[0]) - seen(each)) for each in images[1:])
    assert np.linalg.norm(seen(change(images[0])) - seen(images[0])) < 0.5 * apart  # type: ignore[operator]


def moved(grey: np.ndarray, right: float, down: float, scale: float) -> np.ndarray:
    height, width = grey.shape
    matrix = np.array([[scale, 0, width / 2 * (1 - scale) + right], [0, scale, height / 2 * (1 - scale) + down]])
    return cv2.warpAffine(grey, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def test_a_head_that_was_moved_is_laid_on_the_others() -> None:
    images = phantoms()
    views = [edge_views(each) for each in images]
    for change in ((24, -20, 1.0), (-16, 10, 1.0), (0, 0, 1.17)):
        other = edge_views(moved(images[0], *change))
        together = aligned([*views, other])
        inner = [each[PLAIN, 4:-4, 4:-4].ravel().astype(np.float64) for each in (views[0], other)]
        assert np.linalg.norm(together[0] - together[-1]) < 0.6 * np.linalg.norm(inner[0] - inner[1])


def test_the_same_image_twice_has_the_same_features() -> None:
    images = phantoms()
    views = [edge_views(each) for each in (*images[:4], images[0])]
    reduced = principal(aligned(views))
    assert distances(reduced, reduced)[0, 4] == 0


@pytest.mark.parametrize("shape", [(9, 40), (40, 9)])
def test_components_keep_all_distances_and_the_first_most_of_them(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 5, shape[1])
    assert np.allclose(distances(*[principal(features, 9)] * 2), distances(features, features))
    few = principal(features, 3)
    _, lengths, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    assert np.allclose(np.sort(np.linalg.norm(few, axis=0))[::-1], lengths[:3])
    assert np.allclose(few.mean(0), 0)


def test_any_size_is_taken() -> None:
    for size in ((1, 7), (3, 5000), (96, 96), (700, 400)):
        views = edge_views(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
        assert views.shape == (len(SCALES), 24, 24, 8) and np.isfinite(views).all()
        assert (np.linalg.norm(views.astype(np.float64), axis=-1) < 1.01).all()

"""Paper A's recipe built from imgaug's own augmenters, for comparison; imgaug is an extra and imported on first use.

imgaug is unmaintained and returns elastically warped points about a pixel off; train with ``paper_a`` instead.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import warp
from landmark_diffusion.data.augmentation.recipes import WarpRecipe

INSTALL_HINT = (
    "recipe paper_a_imgaug needs imgaug, which is not installed or does not load. Install it without its dependencies, "
    "since it would bring a second OpenCV: pip install --no-deps -r requirements-imgaug.txt "
    "(or use the recipe paper_a, which is the same augmentation with exact points)"
)
PIXEL_CENTRE = 0.5  # imgaug's pixels have their centres at .5, ours at integers


@dataclass(frozen=True)
class ImgaugRecipe:
    """The same settings as ``WarpRecipe``, carried out by imgaug in the order of paper A, section 4.1.

    Raises UserError when imgaug is absent or a setting has no counterpart here.
    """

    settings: WarpRecipe

    def __post_init__(self) -> None:
        load_imgaug()
        if self.settings.contrast != (1.0, 1.0) or self.settings.brightness != (0.0, 0.0):
            raise UserError("recipe paper_a_imgaug: contrast and brightness cannot be set, use multiply and gamma")

    def __call__(
        self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment image (H, W) uint8 and points (N, 2) network pixels with numbers drawn from ``rng`` alone."""
        augmenter = _augmenter(self.settings, (image.shape[1], image.shape[0]))
        augmenter.seed_(int(rng.integers(2**31)))
        moved = np.full(np.shape(points), np.nan)
        known = np.isfinite(points).all(axis=1)
        keypoints = load_imgaug().KeypointsOnImage.from_xy_array(
            np.asarray(points, dtype=np.float64)[known] + PIXEL_CENTRE, shape=image.shape
        )
        image, keypoints = augmenter(image=image, keypoints=keypoints)
        moved[known] = keypoints.to_xy_array().reshape(-1, 2) - PIXEL_CENTRE
        return image, moved


@lru_cache(maxsize=1)
def load_imgaug() -> ModuleType:
    """Import imgaug 0.4.0 under current numpy; raises UserError with the way to install it."""
    absent = not hasattr(np, "sctypes")
    if absent:  # numpy 2 dropped this table, which imgaug reads once, while it is imported
        np.sctypes = {  # type: ignore[attr-defined]
            "float": [np.float16, np.float32, np.float64],
            "int": [np.int8, np.int16, np.int32, np.int64],
            "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import imgaug
            import imgaug.augmenters
    except (ImportError, AttributeError) as error:
        raise UserError(f"{INSTALL_HINT}. The import said: {error}") from error
    finally:
        if absent:
            del np.sctypes  # type: ignore[attr-defined]
    module: ModuleType = imgaug
    return module


@lru_cache(maxsize=8)
def _augmenter(settings: WarpRecipe, size: tuple[int, int]) -> Any:
    """Build the chain for images of ``size`` (width, height)."""
    iaa = load_imgaug().augmenters
    factor = size[0] / settings.reference_width
    steps = []
    if settings.affine:
        reach = [settings.shift * factor / side + settings.shift_fraction for side in size]
        steps.append(
            iaa.Affine(
                rotate=(-settings.rotation, settings.rotation),
                scale=settings.scale,
                shear=(-settings.shear, settings.shear),
                translate_percent={"x": (-reach[0], reach[0]), "y": (-reach[1], reach[1])},
            )
        )
    if settings.intensity:
        steps.append(iaa.Multiply(settings.multiply))
    if settings.elastic and settings.alpha > 0:
        alpha, sigma = warp.scale_elastic(settings.alpha, settings.sigma, factor)
        steps.append(iaa.ElasticTransformation(alpha=float(alpha), sigma=float(sigma)))  # an int alpha fails on numpy 2
    if settings.cutout and settings.cutout_size[1] > 0:
        steps.append(iaa.Cutout(nb_iterations=1, size=settings.cutout_size, squared=False))
    if settings.intensity:
        steps.append(iaa.GammaContrast(settings.gamma))
    return iaa.Sequential(steps)

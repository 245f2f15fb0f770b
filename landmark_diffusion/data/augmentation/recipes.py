"""Augmentation recipes: plain picklable settings that are called as recipe(image, points, rng)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Protocol

import numpy as np

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.augmentation import intensity, warp

Range = tuple[float, float]


class Recipe(Protocol):
    """An augmentation of image (H, W) uint8 and points (N, 2) network pixels, drawn from ``rng`` alone."""

    def __call__(
        self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the augmented image and points; points outside the frame stay unclipped, NaN stays NaN."""
        ...


@dataclass(frozen=True)
class WarpRecipe:
    """Affine and elastic in one resampling, then value multiplication, contrast, cutout and gamma.

    Every value is drawn uniformly from its range. Pixel amounts (``shift``, ``alpha``, ``sigma``) are stated for an
    image ``reference_width`` pixels wide and carried to the image's own width. Geometry and values have a stream of
    numbers each, so switching intensity or cutout off leaves the geometry of a seed as it is.

    Args:
        rotation: degrees, drawn from [-rotation, rotation].
        scale: range of the factor, the same on both axes.
        shear: degrees, drawn from [-shear, shear] for each axis (as imgaug does for a range).
        shift: pixels at ``reference_width``, drawn from [-shift, shift] for each axis.
        shift_fraction: fraction of the width (x) and height (y), drawn likewise and added.
        alpha, sigma: elastic strength and smoothness in pixels at ``reference_width``; see warp.py.
        kernel: what sigma means: the whole Gaussian as printed, or as imgaug cuts it off (1.42 times the displacement).
        multiply: range of the factor on grey values.
        contrast, brightness: range of the factor around mid grey, and of what is added as a fraction of 255.
        cutout_size: range of the rectangle's sides as fractions of width and height; its centre lies anywhere.
        gamma: range of the exponent.
        reference_width: width in pixels at which the pixel amounts are stated.
        affine, elastic, intensity, cutout: False switches that part off.
    """

    rotation: float = 0.0
    scale: Range = (1.0, 1.0)
    shear: float = 0.0
    shift: float = 0.0
    shift_fraction: float = 0.0
    alpha: float = 0.0
    sigma: float = 30.0
    kernel: Literal["gaussian", "imgaug"] = "gaussian"
    multiply: Range = (1.0, 1.0)
    contrast: Range = (1.0, 1.0)
    brightness: Range = (0.0, 0.0)
    cutout_size: Range = (0.0, 0.0)
    gamma: Range = (1.0, 1.0)
    reference_width: float = 640.0
    affine: bool = True
    elastic: bool = True
    intensity: bool = True
    cutout: bool = True

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(
        self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment image (H, W) uint8 and points (N, 2) network pixels with numbers drawn from ``rng`` alone.

        Raises ValueError for another kind of image. What the warp brings in from outside the image is 0 (black).
        """
        if image.ndim != 2 or image.dtype != np.uint8:
            raise ValueError(f"image: found {image.dtype} of shape {image.shape}, expected uint8 (H, W)")
        # two streams from rng's own numbers (not spawn, which goes by the seed and not by the state)
        geometry_rng, value_rng = (np.random.default_rng(rng.integers(2**63)) for _ in range(2))
        image, points = self.change_geometry(image, points, geometry_rng)
        return self.change_values(image, value_rng), points

    @property
    def smoothness(self) -> float:
        """Sigma of the Gaussian that is used, in pixels at ``reference_width``."""
        return warp.cut_kernel_sigma(self.sigma) if self.kernel == "imgaug" else self.sigma

    def change_geometry(
        self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw and apply the geometry: one resampling of the image, and the exact inverse for the points."""
        size = (image.shape[1], image.shape[0])
        affine = self.draw_affine(size, rng)
        field = None
        if self.elastic and self.alpha > 0:
            alpha, sigma = warp.scale_elastic(self.alpha, self.smoothness, size[0] / self.reference_width)
            field = warp.random_field(size, alpha, sigma, rng)
        if field is None and affine.is_identity:
            return image.copy(), np.array(points, dtype=np.float64)
        return warp.apply_field(image, points, affine, field)

    def draw_affine(self, size: tuple[int, int], rng: np.random.Generator) -> warp.AffineMap:
        """Draw the affine map for an image of ``size`` (width, height)."""
        turn, *rest = rng.uniform(-1.0, 1.0, 5)
        factor = rng.uniform(*self.scale)
        if not self.affine:
            return warp.affine_map(size)
        shear, shift = np.array(rest[:2]) * self.shear, np.array(rest[2:])
        reach = self.shift * size[0] / self.reference_width + self.shift_fraction * np.array(size)
        return warp.affine_map(size, turn * self.rotation, factor, tuple(shear), tuple(shift * reach))

    def change_values(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw and apply multiplication, contrast and brightness, cutout, gamma, in this order."""
        factor, contrast, brightness, gamma = (
            rng.uniform(*limits) for limits in (self.multiply, self.contrast, self.brightness, self.gamma)
        )
        centre, size = rng.uniform(size=2), rng.uniform(*self.cutout_size, size=2)
        if self.intensity:
            table = intensity.contrast_table(contrast, brightness)[intensity.multiply_table(factor)]
            image = intensity.apply_table(image, table)
        if self.cutout and self.cutout_size[1] > 0:
            image = intensity.cutout(image, tuple(centre), tuple(size))
        if self.intensity:
            image = intensity.apply_table(image, intensity.gamma_table(gamma))
        return image


def check_settings(recipe: WarpRecipe) -> None:
    """Turn ranges into tuples of float; raise UserError naming the first option that makes no sense."""
    ranges = [field.name for field in fields(recipe) if isinstance(field.default, tuple)]
    for name in ranges:
        value = getattr(recipe, name)
        if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(map(is_number, value)):
            raise UserError(f"recipe option {name}: found {value!r}, expected a range (low, high)")
        _demand(value[0] <= value[1], recipe, name, "a range (low, high) with low <= high")
        object.__setattr__(recipe, name, (float(value[0]), float(value[1])))
    for name in ("rotation", "shear", "shift", "shift_fraction", "alpha", "sigma", "reference_width"):
        _demand(is_number(getattr(recipe, name)) and getattr(recipe, name) >= 0, recipe, name, "a number, 0 or more")
    for name in ("affine", "elastic", "intensity", "cutout"):
        _demand(isinstance(getattr(recipe, name), bool), recipe, name, "True or False")
    _demand(recipe.scale[0] > 0, recipe, "scale", "factors above 0")
    _demand(recipe.gamma[0] > 0, recipe, "gamma", "exponents above 0")
    _demand(recipe.shear < 60, recipe, "shear", "less than 60 degrees")
    _demand(recipe.reference_width > 0, recipe, "reference_width", "a width in pixels")
    _demand(recipe.cutout_size[0] >= 0 and recipe.cutout_size[1] <= 1, recipe, "cutout_size", "fractions from 0 to 1")
    _demand(recipe.kernel in ("gaussian", "imgaug"), recipe, "kernel", "'gaussian' or 'imgaug'")
    limit = warp.max_alpha(recipe.smoothness)
    advice = f"at most {limit:g} with sigma {recipe.sigma:g}, or the image may fold over itself; take a larger sigma"
    _demand(recipe.alpha <= limit, recipe, "alpha", advice)


def _demand(holds: bool, recipe: WarpRecipe, name: str, expected: str) -> None:
    if not holds:
        raise UserError(f"recipe option {name}: found {getattr(recipe, name)!r}, expected {expected}")


def is_number(value: object) -> bool:
    """Tell whether a setting is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


NONE = WarpRecipe()
# Wyatt and Voiculescu, section 4.1; stated at 640 wide
PAPER_A = WarpRecipe(
    rotation=3.0,
    scale=(0.95, 1.05),
    shear=10.0,
    shift=10.0,
    alpha=500.0,
    sigma=30.0,
    multiply=(0.5, 1.5),
    cutout_size=(0.0, 0.3),
    gamma=(0.5, 2.0),
    reference_width=640.0,
)
# Di Via et al., section 4: stated at 256 wide; all its amounts are relative
PAPER_B = WarpRecipe(rotation=2.0, scale=(0.98, 1.02), shift_fraction=0.02, reference_width=256.0)
# for small networks on a CPU
MILD = WarpRecipe(
    rotation=5.0,
    scale=(0.9, 1.1),
    shift_fraction=0.05,
    contrast=(0.8, 1.2),
    brightness=(-0.1, 0.1),
    gamma=(0.8, 1.25),
)

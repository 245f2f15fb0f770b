"""One exact warp: affine and elastic in a single resampling, points through the inverse of the same map.

Coordinates are network pixels (x, y) with pixel centres at integers. The warp is defined by two smooth maps:

    affine       u = A q + b                       source point q -> affine place u
    elastic      p + d(p) = u                      p is where the point ends up

so the warped image is I'(p) = I(S(p)) with S(p) = A^-1 (p + d(p) - b), and a point q moves to the root p of
p + d(p) = A q + b. Affine first, elastic second, as in a chain of two warps, but resampled once.

The elastic displacement d is what imgaug's ElasticTransformation (Simard et al. 2003) means: alpha times uniform noise
in [-1, 1] (variance 1/3 a pixel) smoothed by a normalised Gaussian of sigma. That is a Gaussian random field, and the
same field is had from independent normal weights w on a coarse grid of nodes (spacing h = 0.75 sigma):

    d(x, y) = alpha sum_ij w_ij g(x - x_j) g(y - y_i)
    w ~ N(0, h^2 / 3),   g(t) = exp(-t^2 / (2 sigma^2)) / (sigma sqrt(2 pi))

Its covariance is alpha^2 / (12 pi sigma^2) exp(-r^2 / (4 sigma^2)), as for noise at every pixel, up to a factor
1 + 2 exp(-(pi sigma / h)^2) of ripple, here 5e-8. Being a closed formula, d and its slope are known at any real place,
which is what makes the inverse exact: image and points use the same function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

# imgaug cuts its kernel off at 39.5 / 30 sigma (79 taps for sigma 30): see cut_kernel_sigma
IMGAUG_CUT = 39.5 / 30.0
NODE_SPACING = 0.75  # in units of sigma; see the module's docstring for the error it causes
NODE_MARGIN = 4.0  # nodes beyond the image's edge, in units of sigma: g(4 sigma)^2 is 1e-7 of its peak
MAX_SLOPE_STD = 0.2  # a fold needs a slope of -1: five standard deviations away
NEWTON_STEPS = 20
NEWTON_TOLERANCE = 1e-6  # px


@dataclass(frozen=True)
class AffineMap:
    """The map u = matrix q + offset of points (x, y) in pixels; matrix (2, 2), offset (2,), float64."""

    matrix: np.ndarray
    offset: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2)."""
        mapped: np.ndarray = points @ self.matrix.T + self.offset
        return mapped

    @property
    def is_identity(self) -> bool:
        """Whether the map leaves every point exactly where it is."""
        return bool((self.matrix == np.eye(2)).all() and not self.offset.any())


@dataclass(frozen=True)
class ElasticField:
    """A smooth displacement field d on the plane, from weights on a coarse grid (see the module's docstring).

    Args:
        weights: (2, rows, columns) float64, alpha already multiplied in; first the x and then the y displacement.
        x_nodes: (columns,) places of the nodes in pixels.
        y_nodes: (rows,) places of the nodes in pixels.
        sigma: width of the Gaussian in pixels.
    """

    weights: np.ndarray
    x_nodes: np.ndarray
    y_nodes: np.ndarray
    sigma: float

    def displacement(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return d (N, 2) in pixels and its slope (N, 2, 2), row = component, column = axis, at points (N, 2)."""
        gx, slope_x = _gaussian(points[:, :1] - self.x_nodes, self.sigma)
        gy, slope_y = _gaussian(points[:, 1:] - self.y_nodes, self.sigma)
        along_x = np.einsum("cij,nj->cin", self.weights, gx)
        d = np.einsum("cin,ni->nc", along_x, gy)
        by_y = np.einsum("cin,ni->nc", along_x, slope_y)
        by_x = np.einsum("cij,nj,ni->nc", self.weights, slope_x, gy, optimize=["einsum_path", (0, 1), (0, 1)])
        return d, np.stack([by_x, by_y], axis=-1)


def slope_std(alpha: float, sigma: float) -> float:
    """Standard deviation of each diagonal entry of the elastic field's slope: alpha / (sigma^2 sqrt(24 pi))."""
    return alpha / (sigma**2 * math.sqrt(24 * math.pi))


def displacement_std(alpha: float, sigma: float) -> float:
    """Standard deviation of each component of the elastic displacement in pixels: alpha / (sigma sqrt(12 pi))."""
    return alpha / (sigma * math.sqrt(12 * math.pi))


def scale_elastic(alpha: float, sigma: float, factor: float) -> tuple[float, float]:
    """Carry alpha and sigma, stated at one width, to an image ``factor`` times as wide.

    The field must look the same relative to the image: its correlation length sigma and its displacement
    alpha / (sigma sqrt(12 pi)) both grow with ``factor``. So sigma grows with it, and alpha with its square.
    """
    return alpha * factor**2, sigma * factor


def cut_kernel_sigma(sigma: float, cut: float = IMGAUG_CUT) -> float:
    """Return the sigma of the whole Gaussian that smooths noise as much as one cut off at +- ``cut`` sigma does.

    Both have the same sum of squares, so the displacement's standard deviation is the same; with f = erf(cut) /
    erf(cut / sqrt 2)^2 that is sigma / f. For imgaug f = 1.42: its field is 1.42 times as strong as a Gaussian of the
    stated sigma makes it (3.86 px against 2.71 px for alpha 500, sigma 30). The cut also makes imgaug's field jagged
    (neighbouring pixels differ by 0.34 px, a fold at three standard deviations), which no inverse can follow.
    """
    return sigma * math.erf(cut / math.sqrt(2.0)) ** 2 / math.erf(cut)


def affine_map(
    size: tuple[int, int],
    rotation: float = 0.0,
    scale: float = 1.0,
    shear: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> AffineMap:
    """Build u = R(rotation) Sx Sy scale (q - centre) + centre + shift.

    ``size`` is (width, height); rotation and the shears along x and along y are in degrees, shift in pixels. Positive
    rotation turns x towards y (clockwise on the screen). The centre is that of the pixel grid, ((W-1)/2, (H-1)/2).
    """
    angle = math.radians(rotation)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    along_x = np.array([[1.0, math.tan(math.radians(shear[0]))], [0.0, 1.0]])
    along_y = np.array([[1.0, 0.0], [math.tan(math.radians(shear[1])), 1.0]])
    matrix = turn @ along_x @ along_y * scale
    centre = (np.array(size, dtype=np.float64) - 1.0) / 2.0
    return AffineMap(matrix, centre + np.asarray(shift, dtype=np.float64) - matrix @ centre)


def random_field(size: tuple[int, int], alpha: float, sigma: float, rng: np.random.Generator) -> ElasticField:
    """Draw an elastic field for an image of ``size`` (width, height); alpha and sigma are in pixels of that image.

    Equation: the module's docstring. Raises ValueError when the field would be likely to fold over itself.
    """
    if sigma <= 0 or slope_std(alpha, sigma) > MAX_SLOPE_STD:
        limit = max_alpha(sigma)
        raise ValueError(f"alpha {alpha:g} with sigma {sigma:g} folds the image: expected alpha <= {limit:g}")
    x_nodes, y_nodes = _nodes(size[0], sigma), _nodes(size[1], sigma)
    spacing = NODE_SPACING * sigma
    weights = rng.standard_normal((2, len(y_nodes), len(x_nodes))) * (alpha * spacing / math.sqrt(3.0))
    return ElasticField(weights, x_nodes, y_nodes, sigma)


def max_alpha(sigma: float) -> float:
    """Return the largest alpha that ``random_field`` accepts with this sigma."""
    return MAX_SLOPE_STD * max(sigma, 0.0) ** 2 * math.sqrt(24 * math.pi)


def apply_field(
    image: np.ndarray,
    points: np.ndarray,
    affine: AffineMap,
    field: ElasticField | None = None,
    interpolation: int = cv2.INTER_LINEAR,
) -> tuple[np.ndarray, np.ndarray]:
    """Warp image (H, W) and points (N, 2) by the affine map and then the elastic field, in one resampling.

    I'(p) = I(A^-1 (p + d(p) - b)); what lies outside the image is 0, as in imgaug. Points come back unclipped in
    the same order, NaN stays NaN.
    """
    height, width = image.shape
    map_x, map_y = source_map((width, height), affine, field)
    warped = cv2.remap(image, map_x, map_y, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return warped, move_points(points, affine, field)


def source_map(
    size: tuple[int, int], affine: AffineMap, field: ElasticField | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return S(p) = A^-1 (p + d(p) - b) at every pixel p of ``size`` (width, height): two (H, W) float32 arrays."""
    width, height = size
    inverse = np.linalg.inv(affine.matrix)
    constant = -inverse @ affine.offset
    xs, ys = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    maps = []
    for row in range(2):
        along_x = (inverse[row, 0] * xs + constant[row]).astype(np.float32)[None]
        along_y = (inverse[row, 1] * ys).astype(np.float32)[:, None]
        if field is None:
            maps.append(along_x + along_y)
            continue
        weights = (inverse[row, 0] * field.weights[0] + inverse[row, 1] * field.weights[1]).astype(np.float32)
        gx, gy = _grid_basis(width, field.sigma), _grid_basis(height, field.sigma)
        elastic = _product(_product(gy, weights), gx, cv2.GEMM_2_T)
        elastic += along_x
        elastic += along_y
        maps.append(elastic)
    return maps[0], maps[1]


def move_points(points: np.ndarray, affine: AffineMap, field: ElasticField | None = None) -> np.ndarray:
    """Move points (N, 2) to the root p of p + d(p) = A q + b, by Newton's method; rows with NaN stay NaN."""
    places = np.full(np.shape(points), np.nan)
    known = np.isfinite(points).all(axis=1)
    goal = affine(np.asarray(points, dtype=np.float64)[known])
    places[known] = goal if field is None else _invert(field, goal)
    return places


def _invert(field: ElasticField, goal: np.ndarray) -> np.ndarray:
    places = goal.copy()
    for _ in range(NEWTON_STEPS):
        d, slope = field.displacement(places)
        residual = places + d - goal
        if residual.size == 0 or np.abs(residual).max() < NEWTON_TOLERANCE:
            break
        places -= np.linalg.solve(np.eye(2) + slope, residual[..., None])[..., 0]
    return places


def _product(left: np.ndarray, right: np.ndarray, flags: int = 0) -> np.ndarray:
    # not numpy's: its BLAS may round otherwise on another number of threads; a continued run must see the same image
    product: np.ndarray = cv2.gemm(left, right, 1.0, None, 0.0, flags=flags)  # type: ignore[call-overload]
    return product


def _gaussian(offsets: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    value = np.exp(-0.5 * (offsets / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return value, value * (-offsets / sigma**2)


@lru_cache(maxsize=64)
def _nodes(length: int, sigma: float) -> np.ndarray:
    spacing = NODE_SPACING * sigma
    count = math.ceil((length - 1 + 2 * NODE_MARGIN * sigma) / spacing) + 1
    return (length - 1) / 2 + spacing * (np.arange(count) - (count - 1) / 2)


@lru_cache(maxsize=64)
def _grid_basis(length: int, sigma: float) -> np.ndarray:
    """Gaussians of all nodes at all pixels of one axis, (length, nodes) float32."""
    basis = _gaussian(np.arange(length)[:, None] - _nodes(length, sigma), sigma)[0].astype(np.float32)
    basis[basis < 1e-20] = 0.0  # subnormal numbers would make the product thirty times as slow
    return basis

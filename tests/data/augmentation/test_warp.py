"""The warp: one field for image and points, its inverse, its statistics and how they carry to other sizes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from landmark_diffusion.data.augmentation import warp

SIZE = (160, 200)


def strong_warp(seed: int = 0, size: tuple[int, int] = SIZE) -> tuple[warp.AffineMap, warp.ElasticField]:
    alpha, sigma = warp.scale_elastic(500.0, warp.cut_kernel_sigma(30.0), size[0] / 640)
    affine = warp.affine_map(size, rotation=3.0, scale=0.95, shear=(10.0, -10.0), shift=(2.0, -2.5))
    return affine, warp.random_field(size, alpha, sigma, np.random.default_rng(seed))


def field_on_pixels(size: tuple[int, int], alpha: float, sigma: float, seed: int) -> np.ndarray:
    field = warp.random_field(size, alpha, sigma, np.random.default_rng(seed))
    map_x, map_y = warp.source_map(size, warp.affine_map(size), field)
    return np.stack([map_x - np.arange(size[0]), map_y - np.arange(size[1])[:, None]])


def test_field_is_the_documented_sum():
    """Every pixel against the equation of the docstring written as one dense sum in float64."""
    affine, field = strong_warp()
    xs, ys = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    gx = np.exp(-0.5 * ((xs[..., None] - field.x_nodes) / field.sigma) ** 2)
    gy = np.exp(-0.5 * ((ys[..., None] - field.y_nodes) / field.sigma) ** 2)
    d = np.einsum("cij,yxj,yxi->yxc", field.weights, gx, gy, optimize=True) / (2 * np.pi * field.sigma**2)
    source = (np.stack([xs, ys], -1) + d - affine.offset) @ np.linalg.inv(affine.matrix).T
    assert np.stack(warp.source_map(SIZE, affine, field), -1) == pytest.approx(source, abs=1e-4)


def test_slope_is_the_derivative_of_the_displacement():
    _, field = strong_warp()
    points = np.random.default_rng(1).uniform(0, 160, (50, 2))
    _, slope = field.displacement(points)
    for axis, step in enumerate(np.eye(2) * 1e-5):
        difference = (field.displacement(points + step)[0] - field.displacement(points - step)[0]) / 2e-5
        assert slope[..., axis] == pytest.approx(difference, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_points_land_where_the_image_map_reads_them(seed):
    """The image's own map, interpolated bicubically at the returned place, gives the point back within 1e-3 px."""
    affine, field = strong_warp(seed)
    points = np.random.default_rng(seed).uniform((30, 40), (130, 160), (200, 2))
    moved = warp.move_points(points, affine, field)
    at_x, at_y = moved.astype(np.float32).T[:, None]
    maps = warp.source_map(SIZE, affine, field)
    read = [_cubic(m, at_x.ravel(), at_y.ravel()) for m in maps]
    assert np.stack(read, -1) == pytest.approx(points, abs=1e-3)


def _cubic(values: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    ndimage = pytest.importorskip("scipy.ndimage")
    return ndimage.map_coordinates(values.astype(np.float64), [ys, xs], order=3)


def test_ramps_through_the_warp_read_the_point_they_came_from():
    """Images whose grey value is x (or y) carry the coordinate itself; cv2 places pixels to 1/32 px."""
    affine, field = strong_warp()
    points = np.random.default_rng(3).uniform((30, 40), (130, 160), (300, 2))
    ramps = np.meshgrid(np.arange(SIZE[0], dtype=np.float32), np.arange(SIZE[1], dtype=np.float32))
    for axis, ramp in enumerate(ramps):
        image, moved = warp.apply_field(ramp, points, affine, field)
        read = _cubic(image, moved[:, 0], moved[:, 1])
        assert np.abs(read - points[:, axis]).max() < 0.04
        assert abs((read - points[:, axis]).mean()) < 0.005


def test_affine_alone_is_the_matrix():
    affine = warp.affine_map((101, 201), rotation=90.0, scale=2.0, shift=(3.0, 4.0))
    assert affine(np.array([[50.0, 100.0], [51.0, 100.0]])) == pytest.approx(np.array([[53.0, 104.0], [53.0, 106.0]]))
    along_x, along_y = (warp.affine_map((101, 201), shear=shear) for shear in ((45.0, 0.0), (0.0, 45.0)))
    assert along_x(np.array([50.0, 110.0])) == pytest.approx([60.0, 110.0])
    assert along_y(np.array([60.0, 100.0])) == pytest.approx([60.0, 110.0])


def test_whole_pixel_shift_moves_the_image_exactly_and_brings_in_black():
    image = np.random.default_rng(0).integers(1, 256, (40, 30)).astype(np.uint8)
    moved, points = warp.apply_field(image, np.array([[5.0, 6.0]]), warp.affine_map((30, 40), shift=(3.0, -2.0)))
    assert (moved[:38, 3:] == image[2:, :27]).all()
    assert not moved[38:].any()
    assert not moved[:, :3].any()
    assert points.tolist() == [[8.0, 4.0]]


def test_points_outside_stay_unclipped_in_order_and_nan_stays_nan():
    affine, field = strong_warp()
    points = np.array([[-50.0, 10.0], [np.nan, 3.0], [80.0, 100.0], [400.0, 900.0], [np.nan, np.nan]])
    moved = warp.move_points(points, affine, field)
    assert np.isnan(moved[[1, 4]]).all()
    back = (moved + np.nan_to_num(field.displacement(np.nan_to_num(moved))[0]) - affine.offset) @ np.linalg.inv(
        affine.matrix
    ).T
    assert back[[0, 2, 3]] == pytest.approx(points[[0, 2, 3]], abs=1e-5)
    assert moved[0, 0] < 0
    assert moved[3, 1] > SIZE[1]
    assert warp.move_points(np.empty((0, 2)), affine, field).shape == (0, 2)


@pytest.mark.parametrize("sigma", [7.5, 15.0])
def test_displacement_matches_noise_smoothed_at_every_pixel(sigma):
    """Same standard deviation and correlation as alpha * gaussian_filter(uniform noise), the definition itself."""
    ndimage = pytest.importorskip("scipy.ndimage")
    alpha, size = 90.0, (320, 400)
    ours = np.concatenate([field_on_pixels(size, alpha, sigma, seed) for seed in range(30)])
    rng = np.random.default_rng(0)
    dense = np.stack(
        [ndimage.gaussian_filter(rng.uniform(-1, 1, size[::-1]), sigma, mode="wrap") * alpha for _ in range(30)]
    )
    for field in (ours, dense):
        assert field.std() == pytest.approx(warp.displacement_std(alpha, sigma), rel=0.06)
        lag = int(sigma)
        pairs = field[..., lag:] * field[..., :-lag]
        assert pairs.mean() / field.var() == pytest.approx(np.exp(-(lag**2) / (4 * sigma**2)), abs=0.03)


def test_slope_std_is_that_of_the_field():
    field = np.stack([field_on_pixels((320, 400), 100.0, 10.0, seed)[0] for seed in range(10)])
    assert np.diff(field, axis=-1).std() == pytest.approx(warp.slope_std(100.0, 10.0), rel=0.05)


def test_relative_displacement_is_the_same_at_every_width():
    """Paper A's elastic at half the width: half the displacement, half the correlation length; and with equal weights
    the very same picture."""
    full = warp.random_field((640, 800), 500.0, 30.0, np.random.default_rng(0))
    half = warp.random_field((320, 400), *warp.scale_elastic(500.0, 30.0, 0.5), np.random.default_rng(0))
    assert warp.displacement_std(*warp.scale_elastic(500.0, 30.0, 0.5)) == pytest.approx(
        warp.displacement_std(500.0, 30.0) / 2
    )
    std = []
    for factor in (0.5, 1.0):
        size, elastic = (round(640 * factor), round(800 * factor)), warp.scale_elastic(500.0, 30.0, factor)
        std.append(np.std([field_on_pixels(size, *elastic, seed) for seed in range(20)]) / size[0])
    assert std[0] == pytest.approx(std[1], rel=0.03)
    assert half.sigma == full.sigma / 2
    assert np.diff(half.x_nodes)[0] == pytest.approx(np.diff(full.x_nodes)[0] / 2)


def test_cut_kernel_sigma_gives_the_sum_of_squares_of_the_cut_kernel():
    taps = np.exp(-0.5 * (np.arange(-39, 40) / 30.0) ** 2)
    taps /= taps.sum()
    whole = 1 / (2 * np.sqrt(np.pi) * warp.cut_kernel_sigma(30.0))
    assert whole == pytest.approx((taps**2).sum(), rel=1e-3)


def test_fields_that_fold_are_refused():
    with pytest.raises(ValueError, match="folds"):
        warp.random_field(SIZE, 500.0, 10.0, np.random.default_rng(0))


def test_map_is_the_same_on_one_thread_and_on_two():
    """A run continued with another number of workers or threads must see the same images."""
    affine, field = strong_warp(size=(640, 800))
    before = cv2.getNumThreads()
    maps = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        maps.append(np.stack(warp.source_map((640, 800), affine, field)))
    cv2.setNumThreads(before)
    assert (maps[0] == maps[1]).all()

"""WindowMap against weighted places: mean and covariance of a window's mass in network pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landmark_diffusion.heatmaps.moments import map_covariance
from landmark_diffusion.heatmaps.window_map import WindowMap


@pytest.mark.parametrize("size", [7, 16])
def test_mean_and_covariance_are_those_of_its_pixels_as_weighted_squares(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(2, 3, size, size, generator=generator).flatten(-2).softmax(-1).unflatten(-1, (size, -1))
    centres, pixel = 50 * torch.rand(2, 3, 2, generator=generator), 0.6
    window = WindowMap(probabilities, centres, pixel)
    offsets = pixel * (np.arange(size) - (size - 1) / 2)
    for image in range(2):
        for n in range(3):
            x, y = centres[image, n].tolist()
            places = np.stack([np.tile(x + offsets, size), np.repeat(y + offsets, size)])
            weights = probabilities[image, n].flatten().numpy()
            wanted = np.cov(places, aweights=weights, ddof=0) + pixel**2 / 12 * np.eye(2)
            np.testing.assert_allclose(window.point[image, n], places @ weights, rtol=1e-5)
            np.testing.assert_allclose(window.covariance()[image, n], wanted, rtol=1e-4, atol=1e-5)


def test_a_window_of_one_network_pixel_each_has_the_moment_of_the_map() -> None:
    """As large as a map and around its middle, it is that map."""
    maps = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    maps = maps / maps.sum((-2, -1), keepdim=True)
    window = WindowMap(maps, torch.full((1, 2, 2), 4.0), 1.0)
    torch.testing.assert_close(window.covariance(), map_covariance(maps, window.point))


def test_a_window_that_is_sure_of_a_pixel_points_at_its_centre() -> None:
    probabilities = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    probabilities[0, 0, 3, 0] = 1.0  # bottom left
    window = WindowMap(probabilities, torch.tensor([[[10.0, 20.0]]], dtype=torch.float64), 2.0)
    assert window.point.tolist() == [[[10.0 - 3.0, 20.0 + 3.0]]]
    torch.testing.assert_close(window.covariance(), (4 / 12 * torch.eye(2).double())[None, None], check_dtype=False)

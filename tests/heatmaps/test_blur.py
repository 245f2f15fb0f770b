"""The blur of eq. 12 against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.blur import blur_sigma, renormalise_peak
from landmark_diffusion.heatmaps.blur import gaussian_blur, gaussian_kernel


def test_sigma_is_linear_between_its_ends() -> None:
    assert blur_sigma(0, 200, 0.5, 14.0) == 0.5
    assert blur_sigma(199, 200, 0.5, 14.0) == 14.0
    sigmas = blur_sigma(torch.arange(200), 200, 0.5, 14.0)
    torch.testing.assert_close(torch.diff(sigmas), torch.full((199,), 13.5 / 199), rtol=1e-4, atol=0)
    assert blur_sigma(0, 1, 0.5, 14.0) == 0.5


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.7, 14.0])
@pytest.mark.parametrize("kernel_size", [3, 13])
def test_agrees_with_scipy(sigma: float, kernel_size: int) -> None:
    maps = torch.rand(2, 3, 9, 17, dtype=torch.float64)  # smaller than the kernel in height: borders meet
    for mode, border in (("nearest", "replicate"), ("constant", "constant")):
        wanted = gaussian_filter(maps.numpy(), sigma, mode=mode, radius=kernel_size // 2, axes=(2, 3))
        found = gaussian_blur(maps, sigma, kernel_size, border)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-14)


def test_each_sample_may_have_its_own_sigma() -> None:
    maps, sigma = torch.rand(3, 2, 20, 24), torch.tensor([0.0, 1.0, 14.0])
    blurred = gaussian_blur(maps, sigma)
    assert torch.equal(blurred[0], maps[0])  # sigma 0 changes nothing
    for i in range(3):
        torch.testing.assert_close(blurred[i : i + 1], gaussian_blur(maps[i : i + 1], sigma[i].item()))


def test_mass_and_centroid_of_a_spot_inside_stay() -> None:
    maps = torch.zeros(1, 1, 40, 50, dtype=torch.float64)
    maps[0, 0, 21, 30] = 1
    blurred = gaussian_blur(maps, 14.0)[0, 0]
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    assert blurred.sum().item() == pytest.approx(1, abs=1e-12)
    assert (blurred * x).sum().item() == pytest.approx(30, abs=1e-10)
    assert (blurred * y).sum().item() == pytest.approx(21, abs=1e-10)
    # a 13-pixel kernel at sigma 14 is nearly a box, of standard deviation 3.7 (docs/conventions.md)
    assert (blurred * (x - 30) ** 2).sum().sqrt().item() == pytest.approx(3.7, abs=0.05)


def test_kernel_sums_to_one_and_is_symmetric() -> None:
    kernel = gaussian_kernel(torch.tensor([0.0, 0.5, 14.0]), 13, 3)
    torch.testing.assert_close(kernel.sum(1), torch.ones(3, dtype=torch.float64), rtol=1e-15, atol=1e-15)
    assert torch.equal(kernel, kernel.flip(1))


def test_a_constant_map_stays_under_the_replicated_border() -> None:
    maps = torch.full((1, 2, 8, 8), 0.25, dtype=torch.float64)
    torch.testing.assert_close(gaussian_blur(maps, 5.0), maps, rtol=1e-14, atol=0)


def test_stays_float32_under_autocast() -> None:
    """A blur in bfloat16 would tie neighbouring pixels and move the decoded point."""
    maps = torch.rand(1, 2, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = gaussian_blur(maps, 2.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, gaussian_blur(maps, 2.0))


def test_renormalising_gives_each_channel_its_height_back() -> None:
    maps = torch.zeros(2, 3, 20, 20)
    for channel, height in enumerate((1.0, 0.25, 0.0)):
        maps[:, channel, 5 + channel, 9] = height
    found = renormalise_peak(gaussian_blur(maps, 3.0), maps)
    torch.testing.assert_close(found.amax((-2, -1)), torch.tensor([[1.0, 0.25, 0.0]] * 2))
    assert torch.equal(found[0, 0].flatten().argmax(), maps[0, 0].flatten().argmax())


@pytest.mark.parametrize(
    ("sigma", "kernel", "message"),
    [
        (1.0, 12, "blur_kernel: found 12, expected an odd number"),
        (1.0, -1, "blur_kernel: found -1"),
        (-1.0, 13, "blur sigma: found -1"),
        (torch.ones(3), 13, "one for each of 2 samples"),
    ],
)
def test_bad_options_are_named(sigma: float, kernel: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        gaussian_blur(torch.zeros(2, 1, 4, 4), sigma, kernel)

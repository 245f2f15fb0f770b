"""Windows cut out of images and put back: exact places, no aliasing, the same in any batch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from landmark_diffusion.models.windows import cut_windows, draw_windows, image_pyramid

PIXELS = (1.0, 1.7, 4.0, 6.0, 0.5)
"""Pixel sizes below one, on a level and between two."""


def ramp(height: int, width: int) -> torch.Tensor:
    """An image (1,2,H,W) whose two channels are the x and y of each pixel."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x, y))[None].float()


def places(centres: torch.Tensor, pixel: float, size: int) -> torch.Tensor:
    """Where a window's pixels lie, by the formula of the documentation: (B,N,2,size,size)."""
    wanted = torch.empty(*centres.shape[:2], 2, size, size)
    for i in range(size):  # column
        for j in range(size):  # row
            wanted[..., 0, j, i] = centres[..., 0] + (i - (size - 1) / 2) * pixel
            wanted[..., 1, j, i] = centres[..., 1] + (j - (size - 1) / 2) * pixel
    return wanted


# ---- pyramid ------------------------------------------------------------------------------------------------------


def test_each_level_is_the_mean_of_its_blocks_of_the_image_padded_with_zeros() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 13, 10)
    pyramid = image_pyramid(image, 3)
    padded = torch.zeros(2, 3, 16, 12)
    padded[..., :13, :10] = image
    assert [level.shape[-2:] for level in pyramid] == [(16, 12), (8, 6), (4, 3)]
    assert torch.equal(pyramid[0], padded)
    for number, level in enumerate(pyramid):
        side = 2**number
        blocks = padded.unflatten(-2, (-1, side)).unflatten(-1, (-1, side)).mean((-3, -1))
        torch.testing.assert_close(level, blocks)


def test_one_level_is_the_image() -> None:
    image = torch.rand(1, 1, 7, 5)
    (only,) = image_pyramid(image, 1)
    assert torch.equal(only, image)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_pixel_of_a_level_lies_where_the_documentation_says(level: int) -> None:
    """Sides that are no multiple of the coarsest pixel must not shift it."""
    torch.manual_seed(0)
    pyramid = image_pyramid(torch.rand(1, 1, 13, 10), 3)
    height, width = pyramid[level].shape[-2:]
    for x in range(width):
        for y in range(height):
            centre = (torch.tensor([x, y]) + 0.5) * 2**level - 0.5
            found = cut_windows(pyramid, centre[None, None], torch.tensor([2.0**level]), 1)
            assert found.item() == pytest.approx(pyramid[level][0, 0, y, x].item(), abs=1e-5)


# ---- cutting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("pixel", PIXELS)
def test_a_window_of_coordinates_gives_its_own_places(pixel: float, size: int) -> None:
    pyramid = image_pyramid(ramp(133, 170), 4)
    centres = torch.tensor([[[80.0, 60.0], [71.3, 66.8], [64.5, 50.5]]])
    found = cut_windows(pyramid, centres, torch.tensor([pixel]), size)
    torch.testing.assert_close(found, places(centres, pixel, size), rtol=0, atol=2e-3)


def test_a_whole_window_is_a_slice_of_the_image() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 2, 20, 30)
    found = cut_windows([image], torch.tensor([[[14.0, 8.0]]]), torch.ones(1), 5)
    torch.testing.assert_close(found[0, 0], image[0, :, 6:11, 12:17], rtol=0, atol=1e-5)


def test_outside_the_image_there_is_zero() -> None:
    pyramid = image_pyramid(torch.ones(1, 1, 16, 16), 2)
    found = cut_windows(pyramid, torch.tensor([[[0.0, 8.0], [-100.0, 8.0], [8.0, 500.0]]]), torch.ones(1), 5)[0, :, 0]
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0, 1, 1, 1]).expand(5, 5), atol=1e-5, rtol=0)
    assert not found[1:].any()


def test_pixel_sizes_of_one_batch_do_not_touch_each_other() -> None:
    """Windows of unlike sizes take another path through the levels than a window alone."""
    torch.manual_seed(0)
    pyramid = image_pyramid(torch.rand(5, 2, 70, 90), 4)
    centres = 70 * torch.rand(5, 3, 2)
    pixels = torch.tensor(PIXELS)
    together = cut_windows(pyramid, centres, pixels, 8)
    for i in range(5):
        alone = cut_windows([level[i : i + 1] for level in pyramid], centres[i : i + 1], pixels[i : i + 1], 8)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-6)
    assert (together[1] - together[0]).abs().max() > 0.1


def test_a_chequerboard_seen_from_afar_is_grey() -> None:
    board = ramp(64, 64).sum(1, keepdim=True) % 2
    pyramid, centre = image_pyramid(board, 4), torch.tensor([[[31.0, 31.4]]])
    for pixel in (2.0, 3.1, 4.0):
        far = cut_windows(pyramid, centre, torch.tensor([pixel]), 8)
        assert torch.allclose(far, torch.full_like(far, 0.5), atol=1e-4)
    near = cut_windows(pyramid, torch.tensor([[[31.0, 31.0]]]), torch.ones(1), 5)
    assert set(near.round(decimals=3).flatten().tolist()) == {0.0, 1.0}


def test_between_two_levels_a_window_is_their_blend_by_the_logarithm() -> None:
    levels = [torch.full((1, 1, 8 // 2**i, 8 // 2**i), float(i)) for i in range(3)]
    for pixel, wanted in ((0.3, 0.0), (1.0, 0.0), (2**0.5, 0.5), (2.0, 1.0), (2**1.25, 1.25), (16.0, 2.0)):
        found = cut_windows(levels, torch.tensor([[[3.5, 3.5]]]), torch.tensor([pixel]), 1)
        assert found.item() == pytest.approx(wanted)


@pytest.mark.parametrize("pixels", [torch.tensor([3.0, 3.0]), torch.tensor([1.0, 5.0])])
def test_gradients_reach_the_image(pixels: torch.Tensor) -> None:
    """A window is linear in the image, so that its gradient g has <g, image> = <weights, window>, in either path."""
    torch.manual_seed(0)
    image = torch.rand(2, 1, 32, 40, requires_grad=True)
    windows = cut_windows(image_pyramid(image, 4), torch.tensor([[[20.2, 15.0]], [[9.0, 14.1]]]), pixels, 6)
    weights = torch.randn_like(windows)
    total = (weights * windows).sum((1, 2, 3, 4))
    total.sum().backward()
    assert image.grad is not None
    torch.testing.assert_close((image.grad * image).sum((1, 2, 3)), total, rtol=1e-4, atol=1e-4)


def test_bf16_autocast_moves_no_place() -> None:
    pyramid, centres = image_pyramid(ramp(64, 64), 3), torch.tensor([[[30.3, 31.7]]])
    wanted = cut_windows(pyramid, centres, torch.tensor([1.7]), 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cut_windows(pyramid, centres, torch.tensor([1.7]), 8), wanted)


# ---- drawing ------------------------------------------------------------------------------------------------------


def centroid(maps: torch.Tensor) -> torch.Tensor:
    """Centroid (B,N,2) of maps (B,N,H,W)."""
    grid = ramp(*maps.shape[-2:])[0]
    return torch.einsum("bnij,cij->bnc", maps, grid) / maps.sum((-2, -1))[..., None]


@pytest.mark.parametrize("pixel", [0.4, 1.0, 2.7])
def test_drawing_keeps_mass_and_centroid(pixel: float) -> None:
    torch.manual_seed(0)
    windows, centres = torch.rand(2, 3, 6, 6).double(), (30 + 5 * torch.rand(2, 3, 2)).double()
    maps = draw_windows(windows, centres, pixel, (60, 70))
    torch.testing.assert_close(maps.sum((-2, -1)), windows.sum((-2, -1)))
    moments = torch.einsum("bnij,bncij->bnc", windows, places(centres, pixel, 6).double())
    wanted = moments / windows.sum((-2, -1))[..., None]
    torch.testing.assert_close(centroid(maps.float()), wanted.float(), rtol=1e-4, atol=1e-4)


def test_a_window_on_whole_pixels_is_put_back_in_its_place() -> None:
    torch.manual_seed(0)
    window = torch.rand(1, 1, 3, 3)
    maps = draw_windows(window, torch.tensor([[[4.0, 7.0]]]), 1.0, (12, 10))
    wanted = torch.zeros(1, 1, 12, 10)
    wanted[..., 6:9, 3:6] = window
    torch.testing.assert_close(maps, wanted)


def test_a_pixel_between_four_is_shared_by_distance() -> None:
    maps = draw_windows(torch.ones(1, 1, 1, 1), torch.tensor([[[2.25, 1.5]]]), 3.0, (4, 5))
    wanted = torch.zeros(4, 5)
    wanted[1:3, 2], wanted[1:3, 3] = 0.375, 0.125
    torch.testing.assert_close(maps[0, 0], wanted)


def test_what_falls_outside_is_lost_and_lands_nowhere_else() -> None:
    centres = torch.tensor([[[0.0, 5.0], [-0.5, 5.0], [-50.0, 5.0]]])
    maps = draw_windows(torch.ones(1, 3, 3, 3), centres, 1.0, (10, 10))
    assert maps.sum((-2, -1)).tolist() == [[6.0, 4.5, 0.0]]
    assert not maps[..., 3:].any()
    right = draw_windows(torch.ones(1, 3, 3, 3), torch.tensor([[[9.0, 5.0], [9.5, 5.0], [5.0, 10.0]]]), 1.0, (10, 10))
    assert right.sum((-2, -1)).tolist() == [[6.0, 4.5, 3.0]]
    assert right.max() == 1


@pytest.mark.parametrize("pixel", [0.5, 1.0])
def test_a_smooth_blob_cut_and_drawn_is_itself(pixel: float) -> None:
    grid = ramp(64, 80)[0]
    blob = torch.exp(-((grid[0] - 41.3) ** 2 + (grid[1] - 30.6) ** 2) / (2 * 5.0**2))[None, None]
    centres = torch.tensor([[[40.2, 31.7]]])
    window = cut_windows([blob], centres, torch.tensor([pixel]), round(50 / pixel))[:, :, 0]
    drawn = draw_windows(window * pixel**2, centres, pixel, (64, 80))
    torch.testing.assert_close(drawn, blob, rtol=0, atol=0.02)  # two interpolations blur it by a fraction of a pixel
    torch.testing.assert_close(centroid(drawn), centroid(blob), rtol=0, atol=1e-2)


def test_interpolation_agrees_with_torch_s_own_resize() -> None:
    """Four windows' pixels an image pixel: the grid of F.interpolate by two."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8)
    found = cut_windows([image], torch.tensor([[[3.5, 3.5]]]), torch.tensor([0.5]), 16)[0]
    wanted = F.interpolate(image, scale_factor=2.0, mode="bilinear")[0]
    torch.testing.assert_close(found[0, :, 1:-1, 1:-1], wanted[:, 1:-1, 1:-1], rtol=0, atol=1e-5)

"""Decoders: maps back to points; the round trip holds 0.05 px where the method is sub-pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.heatmaps import DECODERS, decode, make_target

SIZE = (60, 48)


def random_points(n: int = 200, margin: float = 8.0) -> torch.Tensor:
    torch.manual_seed(1)
    span = torch.tensor([SIZE[1] - 1 - 2 * margin, SIZE[0] - 1 - 2 * margin])
    return torch.rand(1, 1, n, 2) * span + margin


@pytest.mark.parametrize(
    ("kind", "radius", "bound"), [("half_max", 0, 0.2), ("expectation", 0, 0.01), ("local_centroid", 6, 0.03)]
)
def test_subpixel_decoders_invert_a_gaussian(kind, radius, bound) -> None:
    points = random_points()
    found = decode(make_target(points, SIZE, "gaussian", sigma=1.5), kind, radius=radius)
    error = found - points[:, 0]
    assert error.abs().max() < bound
    assert error.mean((0, 1)).abs().max() < 0.01  # no bias: half a pixel would show


def test_argmax_is_within_half_a_pixel() -> None:
    points = random_points()
    error = decode(make_target(points, SIZE, "gaussian", sigma=2.0), "argmax") - points[:, 0]
    assert error.abs().max() <= 0.5 + 1e-4


def test_top_k_is_the_value_weighted_mean() -> None:
    maps = torch.rand(2, 3, 7, 5)
    found = decode(maps, "top_k", top_k=4).numpy()
    for b in range(2):
        for n in range(3):
            flat = maps[b, n].numpy().ravel()
            best = np.argsort(flat)[-4:]
            rows, columns = np.divmod(best, 5)
            expected = np.average(np.stack([columns, rows]), axis=1, weights=flat[best])
            assert np.allclose(found[b, n], expected, atol=1e-5)


def test_half_max_by_hand() -> None:
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 1, 1], maps[0, 0, 1, 2], maps[0, 0, 3, 3] = 1.0, 0.5, 0.49  # the last lies below half the maximum
    assert torch.allclose(decode(maps, "half_max")[0, 0], torch.tensor([4 / 3, 1.0]))


def test_local_centroid_ignores_a_far_mode_and_holds_at_the_border() -> None:
    maps = torch.zeros(1, 1, 10, 10)
    maps[0, 0, 0, 0], maps[0, 0, 0, 1], maps[0, 0, 9, 9] = 0.6, 0.2, 0.5
    assert torch.allclose(decode(maps, "local_centroid", radius=2)[0, 0], torch.tensor([0.25, 0.0]), atol=1e-6)


@pytest.mark.parametrize("kind", DECODERS)
def test_shapes_and_finite_on_an_empty_map(kind) -> None:
    found = decode(torch.zeros(2, 3, 8, 6), kind)
    assert found.shape == (2, 3, 2)
    assert torch.isfinite(found).all()


def test_decoding_is_float32_under_bfloat16_maps() -> None:
    assert decode(torch.rand(1, 1, 5, 5).bfloat16(), "expectation").dtype == torch.float32


def test_unknown_decoder_lists_the_known() -> None:
    with pytest.raises(UserError, match="argmax"):
        decode(torch.zeros(1, 1, 2, 2), "centre")  # type: ignore[arg-type]


def test_the_largest_region_wins_over_a_hotter_spot() -> None:
    maps = torch.zeros(1, 1, 12, 10)
    maps[0, 0, 1, 1] = 1.0  # the hottest pixel stands alone
    maps[0, 0, 6:9, 4:8] = 0.6
    maps[0, 0, 9, 8] = 0.4  # below half the maximum
    assert decode(maps, "largest_region").flatten().tolist() == [5.5, 7.0]
    assert decode(maps, "argmax").flatten().tolist() == [1.0, 1.0]


def test_the_largest_region_counts_its_pixels_alike_and_joins_corners() -> None:
    maps = torch.zeros(1, 2, 6, 6)
    maps[0, 0, 2, 2], maps[0, 0, 3, 3] = 1.0, 0.9
    maps[0, 1, 4, 0] = 2.0
    assert decode(maps, "largest_region")[0].tolist() == [[2.5, 2.5], [0.0, 4.0]]

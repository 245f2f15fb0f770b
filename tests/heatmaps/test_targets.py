"""Targets: what the likelihood and the diffusion are asked to draw."""

from __future__ import annotations

import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.heatmaps import TARGETS, decode, make_target
from landmark_diffusion.heatmaps.targets import inside, to_distribution

SIZE = (12, 9)  # H, W


def one_point(x: float, y: float) -> torch.Tensor:
    return torch.tensor([[[[x, y]]]])


def test_one_hot_marks_the_nearest_pixel() -> None:
    target = make_target(one_point(3.4, 7.6), SIZE, "one_hot")
    assert target.sum() == 1
    assert target[0, 0, 8, 3] == 1


def test_few_hot_marks_each_annotator_once() -> None:
    points = torch.tensor([[[[1.0, 2.0]], [[5.0, 2.0]], [[1.2, 2.1]]]])  # the third falls on the first's pixel
    target = make_target(points, SIZE, "one_hot")
    assert target.sum() == 2
    assert target[0, 0, 2, 1] == 1 and target[0, 0, 2, 5] == 1


def test_subpixel_mass_has_its_centroid_at_the_point() -> None:
    torch.manual_seed(0)
    points = torch.rand(50, 1, 3, 2, dtype=torch.float64) * torch.tensor([8.0, 11.0])
    maps = make_target(points, SIZE, "subpixel")
    assert torch.allclose(maps.sum((-2, -1)), torch.ones(50, 3))
    assert (decode(maps, "expectation").double() - points[:, 0]).abs().max() < 1e-5  # float32 maps


def test_subpixel_mass_at_the_border_stays_inside() -> None:
    corners = torch.tensor([[[[-0.4, -0.4], [8.3, 11.3]]]])
    maps = make_target(corners, SIZE, "subpixel")
    assert maps[0, 0, 0, 0] == 1 and maps[0, 1, 11, 8] == 1


def test_gaussian_has_its_peak_and_width() -> None:
    maps = make_target(one_point(4.0, 5.0), SIZE, "gaussian", sigma=1.5)
    assert maps[0, 0, 5, 4] == 1
    assert maps[0, 0, 5, 6] == pytest.approx(torch.exp(torch.tensor(-4 / (2 * 1.5**2))).item(), rel=1e-6)


@pytest.mark.parametrize("kind", TARGETS)
def test_absent_points_draw_nothing(kind) -> None:
    points = torch.tensor([[[[float("nan"), 2.0], [20.0, 3.0], [2.0, -3.0], [2.0, 3.0]]]])
    mass = make_target(points, SIZE, kind).sum((-2, -1))[0]
    assert (mass[:3] == 0).all() and mass[3] > 0


def test_subpixel_mean_ignores_the_annotator_who_did_not_mark() -> None:
    points = torch.tensor([[[[2.0, 3.0]], [[float("nan"), float("nan")]]]])
    assert make_target(points, SIZE, "subpixel")[0, 0, 3, 2] == 1


def test_distribution_sums_to_one_or_stays_empty() -> None:
    maps = make_target(torch.tensor([[[[1.0, 2.0], [float("nan")] * 2]], [[[5.0, 2.0], [3.0, 3.0]]]]), SIZE, "gaussian")
    assert torch.allclose(to_distribution(maps).sum((-2, -1)), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))


def test_inside_is_about_pixel_areas() -> None:
    points = torch.tensor([[-0.5, 0.0], [-0.51, 0.0], [8.49, 11.49], [8.5, 0.0], [float("nan"), 1.0]])
    assert inside(points, SIZE).tolist() == [True, False, True, False, False]


def test_unknown_target_lists_the_known() -> None:
    with pytest.raises(UserError, match="one_hot, subpixel, gaussian"):
        make_target(one_point(1, 1), SIZE, "blob")  # type: ignore[arg-type]


def test_a_disc_has_the_radius_that_paper_b_prints() -> None:
    """Half the peak of a Gaussian of sigma 5 lies at sqrt(2 ln 2) 5 = 5.89 px (section 3)."""
    x, y = 15.3, 14.8
    disc = make_target(one_point(x, y), (30, 32), "disc", sigma=5.0)[0, 0]
    by_hand = torch.tensor([[float((i - x) ** 2 + (j - y) ** 2 < 5.887**2) for i in range(32)] for j in range(30)])
    assert torch.equal(disc, by_hand)


def test_the_released_disc_lies_around_the_rounded_point() -> None:
    disc = make_target(one_point(15.3, 14.8), (30, 32), "disc_rounded", sigma=5.0)
    assert torch.equal(disc, make_target(one_point(15.0, 15.0), (30, 32), "disc", sigma=5.0))
    assert decode(disc, "half_max").flatten().tolist() == [15.0, 15.0]


def test_the_smallest_disc_is_the_nearest_pixel() -> None:
    disc = make_target(one_point(3.5, 3.5), SIZE, "disc", sigma=0.1)
    assert torch.equal(disc, make_target(one_point(3.5, 3.5), SIZE, "one_hot"))

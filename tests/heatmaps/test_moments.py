"""The second moment of a map is what the spread of a prediction rests on."""

import torch

from landmark_diffusion.heatmaps.moments import PIXEL_VARIANCE, map_covariance


def test_the_moment_of_a_gaussian_map_is_its_covariance() -> None:
    covariance = torch.tensor([[9.0, 3.0], [3.0, 4.0]])
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(100.0), indexing="ij")
    offset = torch.stack((x - 40.25, y - 30.5), -1)
    maps = 7 * torch.exp(-0.5 * torch.einsum("hwi,ij,hwj->hw", offset, torch.linalg.inv(covariance), offset))
    found = map_covariance(maps[None, None], torch.tensor([[[40.25, 30.5]]]))
    assert torch.allclose(found[0, 0], covariance + PIXEL_VARIANCE * torch.eye(2), atol=1e-3)


def test_about_another_point_the_way_there_is_added() -> None:
    maps = torch.zeros(1, 1, 20, 20)
    maps[0, 0, 5, 4], maps[0, 0, 5, 8] = 1.0, 3.0  # mean x 7, variance 3
    found = map_covariance(maps, torch.tensor([[[5.0, 6.0]]]))[0, 0]
    wanted = torch.tensor([[3.0 + 4.0, 2.0 * -1.0], [-2.0, 1.0]]) + torch.eye(2) / 12
    assert torch.allclose(found, wanted)

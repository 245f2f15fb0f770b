"""What all landmark methods share: spreads mapped to original pixels, and the records that carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landmark_diffusion.data.geometry import Frame, frames_to_original
from landmark_diffusion.methods.base import covariances_to_original, make_records


def frames() -> torch.Tensor:
    """Two images, stretched by unlike factors: (2, 2, 2)."""
    each = [Frame.fit((400, 200), (100, 100)), Frame.fit((50, 100), (100, 100))]
    return torch.from_numpy(np.stack([frame.as_array() for frame in each]))


def test_a_covariance_is_stretched_with_its_image() -> None:
    """x is 4 times as long in the first image and y twice; in the second x is half as long and y the same."""
    covariance = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).expand(2, 3, 2, 2)
    found = covariances_to_original(covariance, frames())
    assert found is not None and found.dtype == torch.float64
    by_hand = torch.tensor([[[32.0, 4.0], [4.0, 4.0]], [[0.5, 0.25], [0.25, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(found, by_hand[:, None].expand(2, 3, 2, 2))


def test_it_is_the_covariance_of_the_mapped_points() -> None:
    torch.manual_seed(0)
    cloud = torch.randn(500, 2, 1, 2, dtype=torch.float64) @ torch.tensor([[3.0, 1.0], [0.0, 2.0]]).double()
    mapped = torch.stack([frames_to_original(points, frames()) for points in cloud])
    wanted = torch.stack([torch.cov(mapped[:, i, 0].T) for i in range(2)])
    network = torch.stack([torch.cov(cloud[:, i, 0].T) for i in range(2)])
    found = covariances_to_original(network[:, None], frames())
    assert found is not None
    torch.testing.assert_close(found[:, 0], wanted)


def batch() -> dict[str, Any]:
    return {
        "annotations": torch.zeros(2, 1, 3, 2), "spacing": torch.tensor([[0.1, 0.2], [torch.nan, torch.nan]]),
        "image_size": torch.tensor([[400, 200], [50, 100]]), "image_id": ["a", "b"], "index": torch.tensor([4, 7]),
    }  # fmt: skip


def test_a_record_carries_its_image_s_covariance() -> None:
    covariance = torch.arange(24.0, dtype=torch.float64).view(2, 3, 2, 2)
    first, second = make_records(torch.ones(2, 3, 2), batch(), covariance=covariance)
    assert np.array_equal(first.covariance, covariance[0]) and np.array_equal(second.covariance, covariance[1])
    assert (first.index, second.index, second.spacing) == (4, 7, None)
    assert first.spacing == pytest.approx((0.1, 0.2))


def test_a_record_carries_its_image_s_probabilities() -> None:
    outside, missed = torch.rand(2, 2, 3, dtype=torch.float64)
    records = make_records(torch.ones(2, 3, 2), batch(), outside=outside, missed=missed)
    assert all(np.array_equal(record.outside, row) for record, row in zip(records, outside, strict=True))
    assert all(np.array_equal(record.missed, row) for record, row in zip(records, missed, strict=True))


def test_a_method_without_spread_leaves_it_out() -> None:
    assert covariances_to_original(None, frames()) is None
    records = make_records(torch.ones(2, 3, 2), batch())
    assert [(each.covariance, each.outside, each.missed) for each in records] == [(None, None, None)] * 2

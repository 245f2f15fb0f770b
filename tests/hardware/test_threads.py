"""The number of threads: what a trial shows, within 5 %, and as it was afterwards."""

from __future__ import annotations

import pytest
import torch

from landmark_diffusion.hardware.threads import batch_pixels, candidates, fastest, set_by_user, threads, try_threads


@pytest.mark.parametrize(
    ("most", "wanted"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (64, [1, 2, 4, 8, 16, 32, 64])]
)
def test_candidates(most: int, wanted: list[int]) -> None:
    assert candidates(most) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        ({1: 1.0, 2: 0.6}, 2),
        ({1: 0.5, 2: 0.9}, 1),  # the other core is busy
        ({1: 1.0, 2: 0.97}, 1),  # not worth a core
        ({1: 4.0, 2: 2.0, 4: 1.04, 8: 1.0}, 4),
    ],
)
def test_the_fewest_threads_that_are_as_fast(seconds: dict[int, float], wanted: int) -> None:
    assert fastest(seconds) == wanted


def test_the_environment_comes_first() -> None:
    assert set_by_user({}) is None and set_by_user({"OMP_NUM_THREADS": ""}) is None
    assert set_by_user({"OMP_NUM_THREADS": "3"}) == torch.get_num_threads()  # what torch has made of it


def test_threads_are_as_they_were_afterwards() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
    with threads(None):
        assert torch.get_num_threads() == before


def test_a_real_trial_times_every_candidate_and_leaves_torch_alone() -> None:
    with threads(2):
        found = try_threads(budget=0.0)
        assert torch.get_num_threads() == 2
    assert list(found) == [1, 2] and min(found.values()) > 0


def test_a_batchs_pixels_are_those_of_the_first_network() -> None:
    """384x480 with a factor of 4 is 96x120."""
    data = {"size": (384, 480), "batch_size": 4}
    assert (batch_pixels(data, 4), batch_pixels(data)) == (4 * 96 * 120, 4 * 384 * 480)

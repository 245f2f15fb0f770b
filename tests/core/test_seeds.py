"""Keyed seeds: a changed key would silently change every resumed run's noise."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from landmark_diffusion.core.seeds import derive_seed, evaluation_seed, noise_seed, order_seed, sample_seed


def test_keys_are_the_same_in_another_process() -> None:
    """Python's own hash is salted a process; ours must not be, or a resumed run draws other noise."""
    code = "from landmark_diffusion.core.seeds import noise_seed; print(noise_seed(3, 1, 20, 5))"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(fresh.stdout) == noise_seed(3, 1, 20, 5)


def test_no_two_places_of_a_run_share_a_seed() -> None:
    places = [(s, r, e, b) for s in range(3) for r in range(3) for e in range(12) for b in range(40)]
    assert len({noise_seed(*place) for place in places}) == len(places)
    # Sums or products of the parts would give (1, 2, 3) and (3, 2, 1) the same stream.
    assert sample_seed(1, 2, 3) != sample_seed(3, 2, 1)
    kinds = {sample_seed(0, 0, 1), noise_seed(0, 0, 0, 1), order_seed(0, 1), evaluation_seed(0, 0, 1)}
    assert len(kinds | {derive_seed(0, 0, 1)}) == 5


def test_neighbouring_keys_give_unrelated_noise() -> None:
    draws = np.stack([_normal(noise_seed(0, 0, 0, batch)) for batch in range(200)])
    # 4000 draws each: correlations of independent streams have a deviation of 1/sqrt(4000) = 0.016
    correlation = np.abs(np.corrcoef(draws) - np.eye(200)).max()
    assert correlation < 6 * 0.016


def test_seeds_fit_torch_and_numpy() -> None:
    for index in range(100):
        torch.manual_seed(sample_seed(2**31, index, index))
        np.random.default_rng(sample_seed(2**31, index, index))


def test_negative_parts_are_refused() -> None:
    with pytest.raises(ValueError):
        derive_seed(-1, 2)


def _normal(seed: int) -> np.ndarray:
    return torch.randn(4000, generator=torch.Generator().manual_seed(seed)).numpy()

"""Expectation propagation of peaks and prior: exact where it has to be, near an enumeration where it need not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from landmark_diffusion.heatmaps.joint import Cavity, Told, joint_maps, propagate


def prior(count: int, own: float = 3.0, common: float = 400.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Landmarks that move together far more than each by itself."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(15, 45, 2 * count) + 300  # far from the sides of an image of 660x660
    shared = np.tile(np.eye(2), (count, 1))
    return torch.from_numpy(mean), torch.from_numpy(common * shared @ shared.T + own * np.eye(2 * count))


def nothing(batch: int, count: int, missed: float = 0.1) -> Told:
    """Maps that tell nothing of what lies outside the image."""
    return Told(torch.ones(batch, count, dtype=torch.float64), missed)


def given(mean: torch.Tensor, covariance: torch.Tensor, n: int, seen: torch.Tensor, variance: float):
    """Mean and covariance of landmark n given noisy places ``seen`` (N, 2) of all others."""
    own = np.array([2 * n, 2 * n + 1])
    rest = np.setdiff1d(np.arange(len(mean)), own)
    sigma = covariance.numpy()
    gain = sigma[np.ix_(own, rest)] @ np.linalg.inv(sigma[np.ix_(rest, rest)] + variance * np.eye(len(rest)))
    away = seen.numpy().ravel()[rest] - mean.numpy()[rest]
    return mean.numpy()[own] + gain @ away, sigma[np.ix_(own, own)] - gain @ sigma[np.ix_(rest, own)]


def test_with_one_sure_peak_each_the_cavity_is_gaussian_regression():
    mean, covariance = prior(5)
    seen = mean.view(1, 5, 2) + torch.randn(1, 5, 2, dtype=torch.float64, generator=torch.manual_seed(0)) * 5
    masses = torch.ones(1, 5, 1, dtype=torch.float64)
    cavity = propagate(seen[:, :, None], masses, mean, covariance, (660, 660), nothing(1, 5, 1e-12), 2.0, 200)
    for n in range(5):
        expected = given(mean, covariance, n, seen[0], 2.0)
        assert np.allclose(cavity.mean[0, n], expected[0], atol=1e-4)
        assert np.allclose(cavity.covariance[0, n], expected[1], rtol=1e-3, atol=1e-6)


def enumerated(places, masses, mean, covariance, area, missed, variance, n):
    """Exact p(map of the others | y_n) integrated: the true cavity's mean, by all combinations of peaks and none."""
    count, peaks = masses.shape
    others = [m for m in range(count) if m != n]
    total, centre = 0.0, np.zeros(2)
    for choice in itertools.product(range(peaks + 1), repeat=len(others)):
        told = [m for m, k in zip(others, choice, strict=True) if k < peaks]
        index = np.array([2 * m + axis for m in told for axis in (0, 1)], dtype=int)
        seen = np.array([places[m, k].numpy() for m, k in zip(others, choice, strict=True) if k < peaks]).ravel()
        weight = math.prod(
            (1 - missed) * float(masses[m, k]) if k < peaks else missed / area
            for m, k in zip(others, choice, strict=True)
        )
        own = np.array([2 * n, 2 * n + 1])
        expected = mean.numpy()[own]
        if told:
            sigma = covariance.numpy()
            spread = sigma[np.ix_(index, index)] + variance * np.eye(len(index))
            weight *= multivariate_normal(mean.numpy()[index], spread).pdf(seen)
            expected = expected + sigma[np.ix_(own, index)] @ np.linalg.solve(spread, seen - mean.numpy()[index])
        total, centre = total + weight, centre + weight * expected
    return centre / total


@pytest.mark.parametrize("seed", range(6))
def test_the_others_agree_where_an_enumeration_of_all_choices_says(seed):
    """Each landmark has its true peak and two false ones, of which one is higher in two landmarks of five."""
    rng = np.random.default_rng(seed)
    mean, covariance = prior(5, seed=seed)
    truth = mean.view(5, 2) + torch.from_numpy(rng.normal(0, 12, 2) + rng.normal(0, 1, (5, 2)))
    false = torch.from_numpy(rng.uniform(300, 360, (5, 2, 2)))
    places = torch.cat((truth[:, None], false), 1)
    masses = torch.tensor([[0.7, 0.2, 0.1]] * 3 + [[0.2, 0.7, 0.1]] * 2, dtype=torch.float64)
    cavity = propagate(places[None], masses[None], mean, covariance, (660, 660), nothing(1, 5, 0.05), 1.0)
    for n in range(5):
        expected = enumerated(places, masses, mean, covariance, 660**2, 0.05, 1.0, n)
        assert np.linalg.norm(expected - truth[n].numpy()) < 6  # the case is one that can be solved
        assert np.linalg.norm(cavity.mean[0, n].numpy() - expected) < 1.5


def test_images_of_a_batch_do_not_know_each_other():
    mean, covariance = prior(4)
    generator = torch.manual_seed(1)
    places = torch.rand(3, 4, 5, 2, dtype=torch.float64, generator=generator) * 60 + 300
    masses = torch.rand(3, 4, 5, dtype=torch.float64, generator=generator).clamp_min(0.01)
    together = propagate(places, masses, mean, covariance, (660, 660), nothing(3, 4))
    for image in range(3):
        alone = propagate(places[[image]], masses[[image]], mean, covariance, (660, 660), nothing(1, 4))
        assert torch.allclose(together.mean[image], alone.mean[0], atol=1e-9)


def grid_density(mean: np.ndarray, covariance: np.ndarray, low: int, high: int) -> np.ndarray:
    y, x = np.mgrid[low:high, low:high]
    return multivariate_normal(mean, covariance).pdf(np.stack((x, y), -1))


@pytest.mark.parametrize("beyond", [1.0, 6.0])
@pytest.mark.parametrize("mean", [(12.0, 17.5), (-1.0, 10.0), (39.0, 41.0), (-60.0, 10.0)])
def test_maps_times_the_others_and_the_share_that_lies_outside(mean, beyond):
    """Bayes by hand on a grid that reaches far beyond the image."""
    covariance, missed, size = np.array([[30.0, 8.0], [8.0, 20.0]]), 0.2, 40
    maps = torch.rand(1, 1, size, size, generator=torch.manual_seed(0)).square()
    maps = maps / maps.sum()
    cavity = Cavity(torch.tensor([[mean]], dtype=torch.float64), torch.from_numpy(covariance)[None, None])
    found = joint_maps(maps, cavity, Told(torch.full((1, 1), beyond, dtype=torch.float64), missed), variance=2.0)
    others = grid_density(np.array(mean), covariance + 2.0 * np.eye(2), -150, 190)
    inside = others[150 : 150 + size, 150 : 150 + size]
    told = (1 - missed) * size**2 * maps[0, 0].numpy() + missed
    outside = (others.sum() - inside.sum()) * ((1 - missed) * beyond + missed)
    total = (told * inside).sum() + outside
    expected = told * inside / (told * inside).sum()
    assert np.allclose(found.log_maps.exp()[0, 0], expected, rtol=1e-3, atol=1e-9)
    # x and y are taken as independent, which costs a little where the cavity reaches over two sides
    assert float(found.outside) == pytest.approx(outside / total, abs=0.02)
    assert float(found.missed) == pytest.approx(missed * inside.sum() / total, abs=0.02)

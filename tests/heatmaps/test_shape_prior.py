"""The Gaussian on configurations: against numpy, scipy and random maps."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import multivariate_normal

from landmark_diffusion.heatmaps import shape_prior
from landmark_diffusion.heatmaps.shape_prior import ShapePrior, choose_tau, gaussian_with_gaps

RNG = np.random.default_rng(0)


def configurations(images: int, landmarks: int = 4) -> torch.Tensor:
    mean, mix = RNG.normal(300, 100, 2 * landmarks), RNG.normal(0, 8, (2 * landmarks, 2 * landmarks))
    rows = mean + np.random.default_rng(1).standard_normal((images, 2 * landmarks)) @ mix
    return torch.from_numpy(rows.reshape(images, landmarks, 2))


def test_without_gaps_mean_and_covariance_are_those_of_the_rows():
    rows = configurations(30).flatten(1)
    mean, covariance = gaussian_with_gaps(rows)
    assert np.allclose(mean, rows.numpy().mean(0))
    assert np.allclose(covariance, np.cov(rows.numpy().T, bias=True))


def test_gaps_are_filled_by_what_the_other_landmarks_say():
    """A value that is a sum of two others is known without being marked, and so its moments are."""
    rows = configurations(400, 2).flatten(1)
    rows[:, 3] = rows[:, 0] + rows[:, 1]
    whole = np.cov(rows.numpy().T, bias=True)
    gaps = rows.clone()
    gaps[rows[:, 0] > rows[:, 0].mean(), 3] = float("nan")  # gone where it is large: leaving them out would mislead
    mean, covariance = gaussian_with_gaps(gaps)
    assert np.allclose(mean, rows.mean(0), atol=0.5)
    assert np.allclose(covariance, whole, rtol=0.02, atol=1)


def test_a_landmark_that_nobody_marked_may_be_anywhere():
    points = configurations(20)
    points[:, 2] = float("nan")
    prior = ShapePrior(4)
    prior.fit(points)
    assert torch.isfinite(prior.mean).all() and torch.isfinite(prior.covariance).all()
    assert (prior.covariance.diagonal()[4:6] >= 640**2).all()
    assert torch.linalg.eigvalsh(prior.covariance.double()).min() > 0


def test_the_maps_have_the_covariance_of_small_random_maps():
    mean = configurations(1)[0].numpy()
    rotation, scale, stretch, shift = 0.5, 0.01, 0.02, 3.0
    rng, centre = np.random.default_rng(2), mean.mean(0)
    drawn = []
    for _ in range(20_000):
        a, s, t = rng.normal(0, math.radians(rotation)), rng.normal(0, scale), rng.normal(0, stretch)
        turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        linear = math.exp(s) * turn @ np.diag([math.exp(t / 2), math.exp(-t / 2)])
        drawn.append(((mean - centre) @ linear.T + centre + rng.normal(0, shift, 2)).ravel())
    prior = ShapePrior(4)
    prior.fit(torch.from_numpy(mean)[None], rotation, scale, stretch, shift)
    expected = np.cov(np.array(drawn).T) + shape_prior.DEFAULT_TAU**2 * np.eye(8)
    assert np.abs(prior.covariance.numpy() - expected).max() < 0.03 * np.abs(expected).max()


def test_tau_is_the_likeliest_for_rows_that_were_left_out():
    rows, maps = configurations(12).flatten(1), torch.eye(8, dtype=torch.float64) * 4
    scores = {}
    for tau in shape_prior._TAUS:
        total = 0.0
        for part in range(10):
            held = np.arange(12) % 10 == part
            others = rows[~held].numpy()
            covariance = np.cov(others.T, bias=True) + maps.numpy() + tau**2 * np.eye(8)
            total += multivariate_normal(others.mean(0), covariance).logpdf(rows[held].numpy()).sum()
        scores[tau] = total
    assert choose_tau(rows, maps) == max(scores, key=scores.__getitem__)


def test_no_configuration_leaves_it_unset_and_earlier_checkpoints_load():
    prior = ShapePrior(3)
    prior.fit(torch.full((2, 3, 2), float("nan")))
    assert not prior.is_set
    prior.fit(configurations(5, 3))
    assert prior.is_set
    other = ShapePrior(3)
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.covariance, prior.covariance)
    other.load_state_dict({})
    assert not other.is_set


def test_another_priors_landmarks_are_taken_by_their_places():
    prior, other = ShapePrior(4), ShapePrior(3)
    prior.fit(configurations(30), scale=0.1)
    other.take(prior.mean, prior.covariance, (2, None, 0))
    index = [4, 5, 0, 1]
    assert torch.equal(other.mean[[0, 1, 4, 5]], prior.mean[index])
    assert torch.equal(other.covariance[[0, 1, 4, 5]][:, [0, 1, 4, 5]], prior.covariance[index][:, index])
    assert other.covariance[2, 2] >= 640**2 and not other.covariance[2, [0, 1, 3, 4, 5]].any()
    twice = ShapePrior(2)
    twice.take(prior.mean, prior.covariance, (1, 1))
    assert torch.linalg.eigvalsh(twice.covariance.double()).min() > 1
    nothing = ShapePrior(2)
    nothing.take(ShapePrior(4).mean, ShapePrior(4).covariance, (0, 1))
    assert not nothing.is_set

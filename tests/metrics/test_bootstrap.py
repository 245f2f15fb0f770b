"""Intervals agree with the normal approximation where it holds, and pairing does what it is for."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from landmark_diffusion.core.interval import Interval
from landmark_diffusion.metrics.bootstrap import bootstrap_interval, image_errors, paired_difference
from landmark_diffusion.metrics.functional import MetricError


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_agrees_with_the_normal_approximation(level: float) -> None:
    values = np.random.default_rng(0).normal(1.5, 0.8, 400)
    half = NormalDist().inv_cdf((1 + level) / 2) * values.std() / math.sqrt(len(values))
    found = bootstrap_interval(values, n=20_000, level=level)
    assert found.mean == pytest.approx(values.mean(), rel=1e-14)
    # An end is a quantile of 20,000 draws: its own standard error is below 2.6 % of half the 95 % interval.
    assert found.low == pytest.approx(found.mean - half, abs=0.05 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.05 * half)
    assert (found.level, found.images) == (level, 400)


def test_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [bootstrap_interval(rng.exponential(1.0, 100), n=400, seed=i, level=0.9) for i in range(300)]
    covered = np.mean([found.low <= 1.0 <= found.high for found in intervals])
    assert 0.82 < covered < 0.95  # 0.9 less what skewness costs, with a standard error of 0.02


def test_exact_distribution_of_two_images() -> None:
    # Means of two draws from (0, 1) are 0, 0.5, 1 with 1/4, 1/2, 1/4.
    for level, ends in ((0.4, (0.5, 0.5)), (0.6, (0.0, 1.0)), (0.9, (0.0, 1.0))):
        found = bootstrap_interval(np.array([0.0, 1.0]), level=level)
        assert (found.low, found.high) == ends


def test_same_seed_same_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).normal(size=50)
    first = bootstrap_interval(values, seed=3)
    assert first == bootstrap_interval(values, seed=3)
    assert first != bootstrap_interval(values, seed=4)
    monkeypatch.setattr("landmark_diffusion.metrics.bootstrap._CHUNK", 333)
    assert first == bootstrap_interval(values, seed=3)


def test_pairing_sees_a_small_difference_between_hard_and_easy_images() -> None:
    rng = np.random.default_rng(5)
    hard = rng.exponential(1.0, (150, 1)) + rng.normal(0, 0.1, (150, 19))
    a, b = hard + 0.05 + rng.normal(0, 0.05, hard.shape), hard
    found = paired_difference(a, b)
    assert found.low > 0  # seen, although single means overlap:
    assert bootstrap_interval(a).low < bootstrap_interval(b).high
    difference = (a - b).mean(1)
    half = 1.96 * difference.std() / math.sqrt(150)
    assert found.low == pytest.approx(difference.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.1 * half)
    assert paired_difference(b, a).mean == -found.mean


def test_seeds_and_landmarks_are_averaged_within_the_image() -> None:
    errors = np.random.default_rng(6).uniform(size=(3, 10, 4))
    errors[:, 2, 1] = math.nan
    np.testing.assert_allclose(image_errors(errors), np.nanmean(errors, axis=(0, 2)), rtol=1e-14)
    # Copies of one seed say nothing new: the interval stays as wide.
    assert bootstrap_interval(np.stack([errors[0]] * 5)).high == pytest.approx(bootstrap_interval(errors[0]).high)
    assert paired_difference(errors, errors[:2]).images == 10  # numbers of seeds may differ


def test_faults_are_told() -> None:
    values = np.ones((4, 3))
    lacking = values.copy()
    lacking[0, 0] = math.nan
    with pytest.raises(MetricError, match="a pair needs the same images and landmarks"):
        paired_difference(values, lacking)
    with pytest.raises(MetricError, match="a pair needs"):
        paired_difference(values, values[:3])
    lacking[0] = math.nan
    with pytest.raises(MetricError, match="image 0 has no error at all"):
        image_errors(lacking)
    with pytest.raises(MetricError, match="infinite"):
        image_errors(np.array([1.0, math.inf]))
    with pytest.raises(MetricError, match="found 1 images"):
        bootstrap_interval(np.ones(1))
    with pytest.raises(MetricError, match="level 95"):
        bootstrap_interval(values, level=95)
    with pytest.raises(MetricError, match="found shape"):
        image_errors(np.ones((1, 1, 1, 1)))


def test_prints_as_tables_show_it() -> None:
    assert str(bootstrap_interval(np.array([2.0, 2.0]))) == "2.000 [2.000, 2.000]"


@pytest.mark.parametrize(("low", "high", "sign"), [(-2, -1, -1), (-1, 1, 0), (0, 1, 0), (-1, 0, 0), (1, 2, 1)])
def test_the_sign_of_an_interval_is_none_where_it_holds_zero(low: float, high: float, sign: int) -> None:
    assert Interval((low + high) / 2, low, high, 0.95, 9).sign == sign

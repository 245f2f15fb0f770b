"""Coverage and its intervals: by hand, and on made-up images for which the exact coverage is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.spread.coverage import bootstrap_coverage, coverage, coverage_interval, resplit_coverage

NAN = math.nan
BLUR = np.array([0.5, 1.0, 2.0])
"""An image is sharp or blurred as a whole: its points err together."""


def _distances(rng: np.random.Generator, images: int, landmarks: int) -> np.ndarray:
    """Lengths (I, N) of round Gaussian residuals whose sigma is one of ``BLUR``, the same in a whole image."""
    return rng.choice(BLUR, (images, 1)) * np.linalg.norm(rng.normal(size=(images, landmarks, 2)), axis=-1)


def _exact(radius: float) -> float:
    """Share of such lengths within a radius (Rayleigh)."""
    return float(np.mean(1 - np.exp(-(radius**2) / (2 * BLUR**2))))


def test_coverage_by_hand_counts_known_points_alone() -> None:
    inside = np.array([[1.0, 0.0, NAN], [1.0, NAN, NAN]])
    shares, share = coverage(inside)
    assert shares[:2].tolist() == [1.0, 0.0] and math.isnan(shares[2]) and share == pytest.approx(2 / 3)
    found = coverage_interval(inside)
    assert [each.images for each in found.landmarks] == [2, 1, 0] and found.overall.images == 2
    assert math.isnan(found.landmarks[2].low) and found.overall.mean == pytest.approx(2 / 3)


def test_interval_of_one_landmark_is_scipys_and_not_a_point_where_all_are_covered() -> None:
    for hits, images in ((40, 40), (37, 40), (0, 3)):
        inside = np.array([[1.0]] * hits + [[0.0]] * (images - hits))
        wanted = binomtest(hits, images).proportion_ci(method="wilson")
        found = coverage_interval(inside, n=10).landmarks[0]
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_interval_holds_the_exact_coverage_although_points_err_together() -> None:
    rng, exact, trials = np.random.default_rng(0), _exact(2.0), 300
    held = naive = 0
    for seed in range(trials):
        inside = (_distances(rng, 60, 10) <= 2.0).astype(np.float64)
        found = coverage_interval(inside, n=400, seed=seed).overall
        held += found.low <= exact <= found.high
        naive += abs(found.mean - exact) <= 1.96 * math.sqrt(exact * (1 - exact) / inside.size)
    assert 0.91 <= held / trials <= 0.98
    assert naive / trials < 0.75  # what counting points as independent would give


def test_bootstrap_of_both_sets_holds_the_coverage_that_such_calibrations_reach() -> None:
    calibration, tests, landmarks, trials = 40, 40, 10, 80
    rng = np.random.default_rng(1)
    radii, both, test_alone = [], [], []
    for seed in range(trials):
        known, new = _distances(rng, calibration, landmarks), _distances(rng, tests, landmarks)

        def evaluate(fit: np.ndarray, test: np.ndarray, known: np.ndarray = known, new: np.ndarray = new) -> np.ndarray:
            return (new[test] <= np.quantile(known[fit], 0.9)).astype(np.float64)

        radii.append(float(np.quantile(known, 0.9)))
        both.append(bootstrap_coverage(evaluate, calibration, tests, replicates=100, seed=seed).overall)
        everything = evaluate(np.arange(calibration), np.arange(tests))
        test_alone.append(coverage_interval(everything, n=300, seed=seed).overall)
        assert both[-1].mean == test_alone[-1].mean
    reached = np.mean([_exact(radius) for radius in radii])  # the mean over calibrations of their exact coverage
    held = np.mean([each.low <= reached <= each.high for each in both])
    assert 0.86 <= held <= 0.99
    assert np.mean([each.low <= reached <= each.high for each in test_alone]) < held - 0.05


def test_bootstrap_refits_on_draws_of_whole_images_and_counts_each_landmark() -> None:
    seen = []

    def evaluate(fit: np.ndarray, test: np.ndarray) -> np.ndarray:
        seen.append(fit)
        return np.column_stack([np.ones(len(test)), np.full(len(test), NAN), np.isin(test, fit)])

    found = bootstrap_coverage(evaluate, 30, 5, replicates=200, seed=3)
    assert seen[0].tolist() == list(range(30))  # the mean is of the sets as they are
    repeats = [30 - len(np.unique(fit)) for fit in seen[1:]]
    assert np.mean(repeats) == pytest.approx(30 * (1 - 1 / 30) ** 30, abs=0.5)  # drawn with replacement
    always, never, refitted = found.landmarks
    assert (always.low, always.high, always.images) == (1.0, 1.0, 5)
    assert math.isnan(never.mean) and math.isnan(never.low) and never.images == 0
    assert refitted.mean == 1.0 and refitted.low < 0.5 and found.overall.low < 0.75


def test_the_same_seed_gives_the_same_interval() -> None:
    inside = (_distances(np.random.default_rng(2), 20, 3) <= 2.0).astype(np.float64)
    assert coverage_interval(inside, n=50, seed=1) == coverage_interval(inside, n=50, seed=1)
    assert coverage_interval(inside, n=50, seed=1) != coverage_interval(inside, n=50, seed=2)


def test_resplits_use_every_image_on_one_side_and_average_to_the_stated_level() -> None:
    rng = np.random.default_rng(4)
    distances, sides = _distances(rng, 200, 5), []

    def evaluate(fit: np.ndarray, test: np.ndarray) -> np.ndarray:
        sides.append((fit, test))
        return (distances[test] <= np.quantile(distances[fit], 0.9)).astype(np.float64)

    found = resplit_coverage(evaluate, 200, 100, splits=20, seed=0)
    for fit, test in sides:
        assert len(fit) == 100 and sorted([*fit, *test]) == list(range(200))
    assert len({tuple(fit) for fit, _ in sides}) == 20
    assert found.overall.shape == (20,) and found.landmarks.shape == (20, 5)
    assert found.mean == pytest.approx(0.9, abs=0.02) and 0.005 < found.std < 0.06
    np.testing.assert_allclose(found.landmarks.mean(1), found.overall, atol=1e-12)
    assert found.std == pytest.approx(np.std(found.overall, ddof=1))
    with pytest.raises(MetricError, match="found 200 calibration images of 200"):
        resplit_coverage(evaluate, 200, 200)


def test_one_image_has_no_interval_over_images() -> None:
    """Drawing one image again and again gives itself: an interval of no width would look like certainty."""
    inside = np.array([[1.0, 0.0, 1.0], [np.nan] * 3])
    for table in (inside, inside[:1]):
        found = coverage_interval(table).overall
        assert found.mean == pytest.approx(2 / 3) and found.images == 1
        assert np.isnan([found.low, found.high]).all()
    assert np.isfinite(coverage_interval(np.array([[1.0, 0.0], [1.0, 1.0]])).overall.low)

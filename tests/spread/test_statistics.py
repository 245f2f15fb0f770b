"""Spread against error: closed forms, numerical integration, scipy, and made-up data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import ellipe
from scipy.stats import chi2, spearmanr

from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.spread.statistics import (
    abstention_curve,
    covered,
    elliptic_e,
    expected_radial_error,
    mahalanobis,
    principal_variances,
    rank_correlation,
    region_area,
    reliability,
    spearman,
)

NAN = math.nan


def _covariances(rng: np.random.Generator, *shape: int) -> np.ndarray:
    factor = rng.normal(size=(*shape, 2, 2))
    return factor @ factor.swapaxes(-1, -2) + 0.05 * np.eye(2)


def _gaussian(rng: np.random.Generator, covariance: np.ndarray) -> np.ndarray:
    """One residual of each covariance, (..., 2)."""
    return (np.linalg.cholesky(covariance) @ rng.normal(size=(*covariance.shape[:-1], 1)))[..., 0]


def test_lengths_areas_and_axes_agree_with_linear_algebra() -> None:
    rng = np.random.default_rng(0)
    covariance, residuals = _covariances(rng, 5, 4), rng.normal(size=(5, 4, 2))
    solved = np.linalg.solve(covariance, residuals[..., None])[..., 0]
    np.testing.assert_allclose(mahalanobis(residuals, covariance), np.sqrt((residuals * solved).sum(-1)), rtol=1e-12)
    np.testing.assert_allclose(principal_variances(covariance), np.linalg.eigvalsh(covariance)[..., ::-1], rtol=1e-12)
    np.testing.assert_allclose(region_area(covariance), np.pi * np.sqrt(np.linalg.det(covariance)), rtol=1e-12)


def test_regions_of_a_known_gaussian_hold_their_share_of_the_truth() -> None:
    rng = np.random.default_rng(1)
    covariance = _covariances(rng, 200, 100)
    inside = covered(_gaussian(rng, covariance), covariance * chi2.ppf(0.9, 2))
    assert inside.mean() == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / inside.size))


def test_edge_is_inside_and_unknown_stays_unknown() -> None:
    regions = np.broadcast_to(np.diag([4.0, 9.0]), (1, 5, 2, 2)).copy()
    regions[0, 4] = NAN
    residuals = np.array([[[2.0, 0.0], [0.0, -3.0], [2.0, 0.1], [NAN, 0.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(covered(residuals, regions), [[1.0, 1.0, 0.0, NAN, NAN]])


def test_region_without_area_holds_nothing_but_its_point() -> None:
    flat = np.array([[[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]]])
    assert region_area(flat).tolist() == [[0.0, 0.0, 0.0]]
    assert mahalanobis(np.full((1, 3, 2), 0.5), flat).tolist() == [[math.inf] * 3]
    assert covered(np.zeros((1, 3, 2)), flat).tolist() == [[1.0, 1.0, 1.0]]


def test_covariances_that_are_none_are_refused() -> None:
    wrong = np.broadcast_to(np.eye(2), (2, 3, 2, 2)).copy()
    wrong[1, 2] = [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(MetricError, match=r"at \(1, 2\) \(image, landmark\) has a negative variance, -1"):
        region_area(wrong)
    with pytest.raises(MetricError, match=r"shape \(2, 3\)"):
        expected_radial_error(np.zeros((2, 3)))


def test_expected_error_is_the_integral_over_the_gaussian() -> None:
    for covariance in ([[2.0, 0.7], [0.7, 0.5]], [[1.0, -0.9], [-0.9, 1.0]], [[0.3, 0.0], [0.0, 3.0]]):
        matrix = np.array(covariance)
        root, reach = np.linalg.cholesky(matrix), 9.0  # beyond 9 sigma there is nothing in double precision

        def polar(radius: float, angle: float, root: np.ndarray = root) -> float:
            stretch = np.linalg.norm(root @ [math.cos(angle), math.sin(angle)])
            return float(stretch) * radius**2 * math.exp(-(radius**2) / 2) / (2 * math.pi)

        integral, _ = dblquad(polar, 0, 2 * math.pi, 0, reach)
        assert expected_radial_error(matrix) == pytest.approx(integral, rel=1e-7)


def test_expected_error_of_round_and_of_flat_spread() -> None:
    sigma = np.array([0.5, 3.0])
    round_ones = sigma[:, None, None] ** 2 * np.eye(2)
    np.testing.assert_allclose(expected_radial_error(round_ones), sigma * math.sqrt(math.pi / 2), rtol=1e-14)
    # Along a line the length is half normal; nowhere it is zero.
    line = 4.0 * np.array([[0.5, 0.5], [0.5, 0.5]])
    assert expected_radial_error(line) == pytest.approx(2 * math.sqrt(2 / math.pi), rel=1e-12)
    assert expected_radial_error(np.zeros((2, 2))) == 0.0
    assert np.isnan(expected_radial_error(np.full((2, 2), NAN)))


def test_rank_correlations_are_those_of_scipy_without_the_gaps() -> None:
    rng = np.random.default_rng(2)
    spread = rng.gamma(2.0, size=(40, 3)) * [1.0, 5.0, 25.0]
    error = spread * rng.gamma(1.0, size=(40, 3))
    spread[3, 1], error[7, 2] = NAN, NAN
    found = rank_correlation(spread, error)
    both = np.isfinite(spread) & np.isfinite(error)
    each = [spearmanr(spread[both[:, n], n], error[both[:, n], n]).statistic for n in range(3)]
    np.testing.assert_allclose(found.landmarks, each, atol=1e-13)
    assert found.within == pytest.approx(np.mean(each), abs=1e-13)
    assert found.pooled == pytest.approx(spearmanr(spread[both], error[both]).statistic, abs=1e-13)
    assert found.pooled > found.within + 0.1  # pooled it also knows which landmarks are hard


def test_knowing_only_which_landmarks_are_hard_is_no_correlation_within_them() -> None:
    rng = np.random.default_rng(3)
    spread = np.broadcast_to([1.0, 2.0, 3.0], (50, 3))
    found = rank_correlation(spread, spread * rng.gamma(2.0, size=(50, 3)))
    assert found.pooled > 0.3 and math.isnan(found.within)


def test_rank_correlation_by_hand_and_where_there_is_none() -> None:
    # Ranks 1 2 3 4 against 2 1 4 3: differences of 1, so 1 - 6 x 4 / (4 x 15) = 0.6; the pair with a gap is left out.
    assert spearman(np.array([1.0, 5.0, 6.0, 90.0, NAN]), np.array([3.0, 2.0, 9.0, 7.0, 0.0])) == pytest.approx(0.6)
    assert math.isnan(spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert math.isnan(spearman(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])))


def test_true_spread_lies_on_the_diagonal_of_the_reliability_plot() -> None:
    rng = np.random.default_rng(4)
    covariance = _covariances(rng, 300, 20)
    expected, actual = expected_radial_error(covariance), np.linalg.norm(_gaussian(rng, covariance), axis=-1)
    found = reliability(expected, actual)
    assert found.count.tolist() == [600] * 10
    np.testing.assert_allclose(found.actual, found.expected, rtol=0.12)  # five standard errors of 600 lengths
    assert ((found.low <= found.expected) & (found.expected <= found.high)).sum() >= 7
    assert found.gap < 0.05 < reliability(2 * expected, actual).gap


def test_reliability_by_hand_leaves_out_what_is_unknown() -> None:
    expected = np.array([[1.0, 4.0, NAN], [2.0, 3.0, 9.0]])
    actual = np.array([[1.0, 6.0, 1.0], [3.0, 4.0, NAN]])
    found = reliability(expected, actual, bins=2)
    assert (found.expected.tolist(), found.actual.tolist()) == ([1.5, 3.5], [2.0, 5.0])
    assert found.gap == 1.0
    # Of two images, the draws are both once, or one of them twice.
    assert (found.low.tolist(), found.high.tolist()) == ([1.0, 4.0], [3.0, 6.0])
    assert reliability(expected, actual, bins=9).count.tolist() == [1, 1, 1, 1]


def test_reliability_interval_knows_that_the_points_of_an_image_err_together() -> None:
    rng = np.random.default_rng(5)
    factor = rng.gamma(2.0, 0.5, (100, 1))
    together, apart = (np.broadcast_to(x, (100, 20)).copy() for x in (factor, rng.gamma(2.0, 0.5, (100, 20))))
    wide, narrow = (reliability(np.ones((100, 20)), each, bins=1) for each in (together, apart))
    # 20 equal points an image are one: the interval is that of 100 numbers, root 20 times as wide.
    assert (wide.high - wide.low) == pytest.approx(3.92 * factor.std() / 10, rel=0.1)
    assert (narrow.high - narrow.low) < 0.35 * (wide.high - wide.low)


def test_abstention_by_hand() -> None:
    # Kept in the order 1, 5, 3 mm; the best order is 1, 3, 5.
    found = abstention_curve(np.array([[0.1, 0.3], [0.2, NAN]]), np.array([[1.0, 3.0], [5.0, 0.0]]), radius=3.5)
    assert found.share.tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert found.mre.tolist() == [1.0, 3.0, 3.0] and found.oracle.tolist() == [1.0, 2.0, 3.0]
    assert found.rate.tolist() == pytest.approx([100.0, 50.0, 200 / 3])
    assert (found.random, found.aurc, found.oracle_aurc) == pytest.approx((3.0, 7 / 3, 2.0))
    assert found.normalized_excess == pytest.approx(1 / 3)
    assert [found.kept(share) for share in (1.0, 0.7, 0.01)] == [2, 1, 0]


def test_abstention_by_whole_images_by_hand() -> None:
    # Image means: expected 3, 2 (one point unknown), 1; errors 6, 4, 2; half, none and all within 3 mm.
    expected = np.array([[2.0, 4.0], [2.0, NAN], [1.0, 1.0], [5.0, 5.0]])
    error = np.array([[2.0, 10.0], [4.0, 1.0], [2.0, 2.0], [NAN, NAN]])
    found = abstention_curve(expected, error, radius=3.0, by_image=True)
    assert found.mre.tolist() == [2.0, 3.0, 4.0] and found.rate.tolist() == [100.0, 50.0, 50.0]
    assert found.normalized_excess == pytest.approx(0.0)


def test_perfect_random_and_inverted_spread_have_their_known_normalized_excess() -> None:
    rng = np.random.default_rng(6)
    error = rng.gamma(2.0, size=(500, 20))
    assert abstention_curve(error**3, error).normalized_excess == pytest.approx(0.0, abs=1e-12)
    assert abstention_curve(rng.random(error.shape), error).normalized_excess == pytest.approx(1.0, abs=0.1)
    assert abstention_curve(np.ones_like(error), error).normalized_excess == pytest.approx(1.0, abs=1e-12)
    assert abstention_curve(-error, error).normalized_excess > 1.5
    assert math.isnan(abstention_curve(error, np.ones_like(error)).normalized_excess)


def test_equally_sure_points_are_kept_in_no_order() -> None:
    # The mean over both orders of the tied pair: 2 or 4 first, then always 3.
    assert abstention_curve(np.array([[1.0, 1.0, 2.0]]), np.array([[2.0, 4.0, 9.0]])).mre.tolist() == [3.0, 3.0, 5.0]


def test_nothing_to_measure_is_said() -> None:
    nothing = np.full((2, 3), NAN)
    with pytest.raises(MetricError, match="no point has both"):
        reliability(nothing, np.ones((2, 3)))
    with pytest.raises(MetricError, match=r"\(2, 3\) and actual ones \(3, 2\)"):
        abstention_curve(nothing, np.ones((3, 2)))


def test_the_elliptic_integral_is_scipys() -> None:
    """At both ends, close to them and between: rounding of double precision is all that differs."""
    m = np.concatenate([np.linspace(0, 1, 10_001), 1 - np.geomspace(1e-15, 0.1, 500), np.geomspace(1e-300, 0.1, 500)])
    assert np.abs(elliptic_e(m) / ellipe(m) - 1).max() < 4e-15

"""Few labelled images: a stated coverage holds in a new image, or it is not stated."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.spread.calibration import SpreadCalibration, conformal_quantile
from landmark_diffusion.spread.few_labels import (
    Prior,
    fit_few,
    independent_draws,
    pooled_quantile,
    shrunk_factors,
    stated_levels,
)
from landmark_diffusion.spread.statistics import covered

LANDMARKS = 15
KNOWN = Prior(np.ones(LANDMARKS), np.zeros(LANDMARKS))
UNKNOWN = Prior(np.full(LANDMARKS, np.nan), np.full(LANDMARKS, np.nan))


def clinic(rng: np.random.Generator, alike: float = 0.3) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Images whose landmarks err differently, with heavy tails, and ``alike`` within an image."""
    hard = np.exp(rng.normal(0.5, 0.4, LANDMARKS))

    def draw(images: int) -> tuple[np.ndarray, np.ndarray]:
        tails = rng.standard_normal((images, LANDMARKS, 2)) / np.sqrt(rng.chisquare(4, (images, LANDMARKS, 1)) / 4)
        image = np.exp(rng.normal(0, alike, (images, 1, 1)))
        believed = np.exp(rng.normal(0, 0.3, (images, LANDMARKS, 1, 1))) * np.eye(2)
        return tails * image * hard[:, None] * np.sqrt(believed[..., 0, :1]), believed

    return draw


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.7], ids=["each by itself", "alike", "by image"])
@pytest.mark.parametrize("prior", [KNOWN, UNKNOWN], ids=["known", "new"])
@pytest.mark.parametrize("images", [5, 10, 25])
def test_the_coverage_of_new_images_is_what_is_stated(images: int, prior: Prior, alike: float) -> None:
    rng, shares = np.random.default_rng(images), []
    for _ in range(120):
        draw = clinic(rng, alike)
        found = fit_few(*draw(images), prior)
        residuals, covariance = draw(40)
        calibrated = found.calibrated(covariance)
        shares.append([covered(residuals, found.regions(calibrated, level)).mean() for level in found.levels])
    for level, share in zip(stated_levels(images), np.mean(shares, axis=0), strict=True):
        room = 0.02 + (0.4 + alike) / (images + 1)  # the mean of 120 is off by 0.005
        assert level - 0.012 < share < min(level + room, 1), (level, share)


def test_a_level_is_stated_from_as_many_images_as_leave_the_rest_to_the_new_one() -> None:
    assert [len(stated_levels(images)) for images in (1, 3, 4, 8, 9, 18, 19)] == [1, 1, 2, 2, 3, 3, 4]
    residuals, covariance = clinic(np.random.default_rng(0))(8)
    assert fit_few(residuals, covariance, KNOWN).levels == (0.5, 0.8)
    with pytest.raises(UserError, match=r"found 8 images, expected at least 9 for regions of 90 %"):
        pooled_quantile(np.ones((8, 3)), 0.9)


def test_with_one_landmark_the_bound_is_the_conformal_quantile() -> None:
    lengths = np.random.default_rng(1).exponential(size=(30, 1))
    for level in (0.5, 0.8, 0.9, 0.95):
        assert pooled_quantile(lengths, level) == conformal_quantile(lengths[:, 0], level)


def test_points_that_err_each_by_themselves_are_each_a_draw_and_alike_ones_together() -> None:
    rng = np.random.default_rng(11)
    alone = rng.exponential(size=(400, 10))
    assert 3600 < independent_draws(alone) <= 4000
    together = np.tile(rng.exponential(size=(400, 1)), (1, 10))
    assert independent_draws(together) == pytest.approx(400)
    # variance 1 of images and 3 within: rho = 1/4, so 4000 / (1 + 9 / 4)
    mixed = rng.normal(size=(400, 1)) + np.sqrt(3) * rng.normal(size=(400, 10))
    assert independent_draws(mixed) == pytest.approx(4000 / 3.25, rel=0.08)
    assert independent_draws(rng.exponential(size=(30, 1))) == 30
    assert independent_draws(np.array([[1.0, np.nan], [np.nan, np.nan], [2.0, np.nan]])) == 2


def test_draws_of_a_hand_worked_table() -> None:
    lengths = np.array([[1.0, 3.0], [5.0, np.nan], [5.0, 9.0]])
    # means 2, 5, 7 of 2, 1, 2 points about 4.6: between (2*2.6^2 + 0.4^2 + 2*2.4^2)/2 = 12.6, within (1+1+4+4)/2 = 5;
    # 9/5 points an image, so (12.6 - 5) / ((5 - 9/5)/2) = 4.75 of images; rho = 4.75/9.75; 5 / (1 + 4/5 * rho)
    assert independent_draws(lengths) == pytest.approx(5 / (1 + 0.8 * 4.75 / 9.75))


def test_more_draws_make_the_bound_smaller() -> None:
    lengths = np.arange(1.0, 101.0).reshape(10, 10)
    assert pooled_quantile(lengths, 0.9) == 99.0  # 0.9 * 11 / 10
    assert pooled_quantile(lengths, 0.9, 100) == 91.0  # 0.9 * 101 / 100 = 0.909
    assert pooled_quantile(lengths, 0.9, 20) == 95.0  # 0.9 * 21 / 20 = 0.945


def test_each_image_counts_the_same_however_many_points_it_has() -> None:
    lengths = np.array([[1.0, 2.0, 3.0], [10.0, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    # weights of 1/3 an image: 1/9, 2/9, 3/9 up to 3.0 and 6/9 at 10.0; the rest is the new image's
    assert pooled_quantile(lengths, 0.3) == 3.0
    assert pooled_quantile(lengths, 0.2) == 2.0
    assert pooled_quantile(lengths, 0.5) == 10.0


def test_landmarks_that_differ_by_chance_alone_are_taken_together() -> None:
    rng = np.random.default_rng(2)
    alike = np.linalg.norm(rng.standard_normal((10, 200, 2)), axis=-1)
    factors = shrunk_factors(alike, np.ones(200, dtype=bool))
    assert np.std(np.log(factors)) < 0.25 * np.std(np.log(alike.mean(0)))
    assert abs(np.log(factors).mean()) < 0.03  # they are standard normal


def test_landmarks_that_truly_differ_keep_their_own_with_many_images() -> None:
    rng, hard = np.random.default_rng(3), np.array([0.2, 1.0, 5.0])
    lengths = np.linalg.norm(rng.standard_normal((400, 3, 2)), axis=-1) * hard
    assert np.allclose(shrunk_factors(lengths, np.ones(3, dtype=bool)), hard, rtol=0.1)


def test_known_and_new_landmarks_are_two_groups() -> None:
    rng, known = np.random.default_rng(4), np.arange(40) < 20
    lengths = np.linalg.norm(rng.standard_normal((5, 40, 2)), axis=-1) * np.where(known, 1.0, 10.0)
    factors = shrunk_factors(lengths, known)
    assert np.allclose(factors[known].mean(), 1, rtol=0.15) and np.allclose(factors[~known].mean(), 10, rtol=0.15)


def test_twice_the_belief_and_the_residuals_give_regions_twice_as_wide() -> None:
    residuals, covariance = clinic(np.random.default_rng(5))(12)
    once, twice = fit_few(residuals, covariance, UNKNOWN), fit_few(2 * residuals, 4 * covariance, UNKNOWN)
    small, large = once.calibrated(covariance), twice.calibrated(4 * covariance)
    assert np.allclose(twice.regions(large, 0.9), 4 * once.regions(small, 0.9))
    assert np.allclose(twice.expected_error(large), 2 * once.expected_error(small))
    actual = np.linalg.norm(residuals, axis=-1).mean()
    assert np.isclose(once.expected_error(small).mean(), actual)


def test_what_the_source_knew_goes_to_the_landmark_of_its_place() -> None:
    source = SpreadCalibration(np.array([1.0, 2.0]), np.array([3.0, 4.0]), (0.5,), np.ones((2, 1)), np.ones(2))
    prior = Prior.of(source, (1, None, 0))
    np.testing.assert_array_equal(prior.scale, [2.0, np.nan, 1.0])
    np.testing.assert_array_equal(prior.floor, [4.0, np.nan, 3.0])
    assert np.isnan(Prior.of(None, (0, 1)).scale).all()


def test_points_that_nobody_marked_count_nowhere() -> None:
    residuals, covariance = clinic(np.random.default_rng(6))(10)
    residuals[:, 0], residuals[3] = np.nan, np.nan
    found = fit_few(residuals, covariance, KNOWN)
    without = np.delete(np.arange(10), 3)
    assert found.levels == (0.5, 0.8, 0.9)
    again = fit_few(residuals[without], covariance[without], KNOWN)
    assert np.allclose(found.quantiles, again.quantiles) and np.allclose(found.scale, again.scale)
    with pytest.raises(UserError, match="found 1 images with points"):
        fit_few(residuals[2:4], covariance[2:4], KNOWN)


def test_a_file_holds_fewer_levels_and_the_usual_one_is_the_highest_up_to_90() -> None:
    residuals, covariance = clinic(np.random.default_rng(7))(6)
    found = fit_few(residuals, covariance, KNOWN)
    read = SpreadCalibration.from_dict(json.loads(json.dumps(found.to_dict())), LANDMARKS)
    assert read.levels == (0.5, 0.8) and read.usual_level == 0.8
    assert read.spreads(covariance[0], np.ones((1, 2, 2))).level == 0.8
    assert fit_few(*clinic(np.random.default_rng(8))(30), KNOWN).usual_level == 0.9
    with pytest.raises(UserError, match=r"found 0.9, but the model was calibrated for 0.5, 0.8"):
        read.check_level(0.9)

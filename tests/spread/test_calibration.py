"""Regions have to hold what they state, for any distribution of errors, and be as small as the spread allows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.spread.calibration import LEVELS, SpreadCalibration, conformal_quantile
from landmark_diffusion.spread.statistics import covered, region_area


def draw(images: int, rng: np.random.Generator, heavy: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (I, 3, 2) and believed covariances (I, 3, 2, 2); the truth is twice the belief plus a floor of 4."""
    believed = rng.uniform(0.5, 8, (images, 3, 1, 1)) * np.eye(2)
    normal = rng.standard_normal((images, 3, 2))
    if heavy:
        normal /= np.sqrt(rng.chisquare(3, (images, 3, 1)) / 3)
    return normal * np.sqrt(2 * believed[..., 0, :1] + 4), believed


def test_scale_and_floor_of_the_truth_are_found() -> None:
    residuals, covariance = draw(20_000, np.random.default_rng(0))
    found = SpreadCalibration.fit(residuals, covariance)
    calibrated = found.calibrated(covariance)
    assert np.allclose(calibrated[..., 0, 0].mean(0), 2 * covariance[..., 0, 0].mean(0) + 4, rtol=0.03)
    assert np.allclose(found.scale, 2, rtol=0.15) and np.allclose(found.floor, 4, rtol=0.15)
    # then Mahalanobis lengths are those of a standard normal: the quantile of level p is sqrt(-2 ln(1 - p))
    assert np.allclose(found.quantiles, [math.sqrt(-2 * math.log(1 - level)) for level in LEVELS], rtol=0.05)
    assert np.allclose(found.error_factor, 1, rtol=0.03)


@pytest.mark.parametrize("heavy", [False, True])
def test_regions_hold_what_they_state_on_average_over_calibration_sets(heavy: bool) -> None:
    rng, shares = np.random.default_rng(1), []
    for _ in range(60):
        found = SpreadCalibration.fit(*draw(40, rng, heavy))
        residuals, covariance = draw(500, rng, heavy)
        shares.append(np.nanmean(covered(residuals, found.regions(found.calibrated(covariance), 0.9))))
    assert abs(np.mean(shares) - 0.9) < 0.02  # conformal alone: 0.9 to 0.925; the mix has the same 40


def test_a_spread_that_knows_the_error_makes_regions_smaller() -> None:
    residuals, covariance = draw(3_000, np.random.default_rng(2))
    told = SpreadCalibration.fit(residuals, covariance)
    blind = SpreadCalibration.fit(residuals, np.broadcast_to(np.eye(2), covariance.shape))
    areas = [
        np.exp(np.log(region_area(each.regions(each.calibrated(given), 0.9))).mean())
        for each, given in ((told, covariance), (blind, np.broadcast_to(np.eye(2), covariance.shape)))
    ]
    assert areas[0] < 0.95 * areas[1]


def test_the_quantile_is_the_rank_that_conformal_prediction_asks_for() -> None:
    assert conformal_quantile(np.arange(1, 20) * 1.0, 0.9) == 18  # ceil(20 * 0.9) = 18th of 19
    assert conformal_quantile(np.arange(1, 10) * 1.0, 0.9) == 9
    with pytest.raises(UserError, match=r"8 images with a landmark, expected at least 9 for regions of 90 %"):
        conformal_quantile(np.arange(8.0), 0.9)


def test_points_that_nobody_marked_count_nowhere() -> None:
    residuals, covariance = draw(60, np.random.default_rng(3))
    gaps = np.concatenate([residuals, np.full((5, 3, 2), np.nan)]), np.concatenate([covariance, covariance[:5] * 100])
    whole, gappy = SpreadCalibration.fit(residuals, covariance), SpreadCalibration.fit(*gaps)
    assert np.array_equal(whole.quantiles, gappy.quantiles) and np.array_equal(whole.scale, gappy.scale)
    residuals[:, 1] = np.nan
    with pytest.raises(UserError, match="found 0 images"):
        SpreadCalibration.fit(residuals, covariance)


def test_it_comes_back_from_json_and_damage_is_told() -> None:
    found = SpreadCalibration.fit(*draw(60, np.random.default_rng(4)))
    text = json.loads(json.dumps(found.to_dict()))
    again = SpreadCalibration.from_dict(text, 3)
    assert again.levels == found.levels and np.array_equal(again.quantiles, found.quantiles)
    for name, value in (("scale", [1.0, 2.0]), ("floor", [1.0, -2.0, 1.0]), ("quantiles", [[float("nan")] * 4] * 3)):
        with pytest.raises(ValueError, match=name):
            SpreadCalibration.from_dict({**text, name: value}, 3)
    with pytest.raises(UserError, match=r"found 0\.99, but the model was calibrated for 0\.5, 0\.8, 0\.9, 0\.95"):
        found.check_level(0.99)

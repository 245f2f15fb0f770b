"""From collected answers to a setting's calibration, with figures of how it does on images that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landmark_diffusion.data.geometry import covariance_factors
from landmark_diffusion.spread.calibration import LEVEL, LEVELS, SpreadCalibration
from landmark_diffusion.spread.coverage import Evaluate, resplit_coverage
from landmark_diffusion.spread.doubt import Doubt
from landmark_diffusion.spread.image_score import ImageScore
from landmark_diffusion.spread.model_calibration import SettingCalibration
from landmark_diffusion.spread.statistics import covered, rank_correlation, region_area
from landmark_diffusion.studies.calibrate.collect import Collected

SPLITS = 20


def fit_setting(
    settings: Mapping[str, Any], collected: Collected, changed: Collected | None = None, size: tuple[int, int] = (1, 1)
) -> SettingCalibration:
    """Fit spread and image score on all collected images; the figures are of random halves of them.

    ``changed`` are the same images as other devices would have them, for a network of ``size`` (width, height): with
    them the doubt of points and images is fitted too, and spread to what the doubt widens. Raises UserError where there
    are too few images.
    """
    doubt = None
    if changed is not None:
        both = Collected.join([collected, changed])
        doubt = Doubt.fit(both.answers, both.truth, size)
        collected = collected.widened(doubt)
    spread = SpreadCalibration.fit(collected.residuals, collected.answers.covariance)
    image, figures = ImageScore.fit(collected.answers), resplit_figures(collected)
    return SettingCalibration(dict(settings), spread, image, figures, doubt)


def evaluation(collected: Collected, level: float, test: Collected | None = None) -> Evaluate:
    """Give the function that fits on some images of ``collected`` and says which points of others are covered.

    The others are of ``test`` where that is given, else of ``collected`` itself.
    """
    other = collected if test is None else test

    def evaluate(calibration: np.ndarray, images: np.ndarray) -> np.ndarray:
        answers = collected.answers.take(calibration)
        fitted = SpreadCalibration.fit(collected.residuals[calibration], answers.covariance, (level,))
        calibrated = fitted.calibrated(other.answers.take(images).covariance)
        return covered(other.residuals[images], fitted.regions(calibrated, level))

    return evaluate


def resplit_figures(collected: Collected, splits: int = SPLITS, seed: int = 0) -> dict[str, Any]:
    """Fit on a random half of the images and measure the other, ``splits`` times: means, plain numbers for JSON.

    Too few images for halves (under 40 for 95 %) leave out the coverages that cannot be measured.
    """
    images = len(collected.truth)
    figures: dict[str, Any] = {
        "images": images, "unit": collected.unit, "mre": float(np.nanmean(collected.errors)), "splits": splits,
        "coverage": {},
    }  # fmt: skip
    half = images // 2
    for level in LEVELS:
        if half + 1 < 1 / (1 - level) - 1e-9:
            continue
        found = resplit_coverage(evaluation(collected, level), images, half, splits, seed)
        figures["coverage"][f"{level:g}"] = {"mean": found.mean, "std": found.std}
    if figures["coverage"]:
        figures |= _ranks(collected, half, splits, seed)
    return figures


def _ranks(collected: Collected, half: int, splits: int, seed: int) -> dict[str, Any]:
    """Rank correlations, expected error and area of the regions on the halves that were not fitted.

    Where all points are told to be alike there is no order to compare: a correlation is left out then.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(splits):
        order = rng.permutation(len(collected.truth))
        rows.append(_row(collected, order[:half], order[half:]))
    names = ("spearman_pooled", "spearman_within", "expected_error", "actual_error", "median_area")
    means = zip(names, np.mean(rows, axis=0).tolist(), strict=True)
    return {name: mean for name, mean in means if np.isfinite(mean)}


def _row(collected: Collected, calibration: np.ndarray, test: np.ndarray) -> tuple[float, ...]:
    level = (min(LEVEL, 1 - 1 / (len(calibration) + 1)),)
    fitted = SpreadCalibration.fit(
        collected.residuals[calibration], collected.answers.take(calibration).covariance, level
    )
    calibrated = fitted.calibrated(collected.answers.take(test).covariance)
    squared = covariance_factors(collected.to_unit[test])
    expected, errors = fitted.expected_error(calibrated * squared), collected.errors[test]
    ranks = rank_correlation(expected, errors)
    area = np.median(region_area(fitted.regions(calibrated, level[0]) * squared))
    return ranks.pooled, ranks.within, float(np.nanmean(expected)), float(np.nanmean(errors)), float(area)

"""What is usual is found in spite of faults, and its densities are those of a bivariate t."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_t

from landmark_diffusion.studies.label_faults.usual import UsualResidual, log_t

SCATTER = np.array([[4.0, 1.0], [1.0, 1.0]])


def _draw(count: int, tail: float = 4.0, seed: int = 0) -> np.ndarray:
    """Residuals (count, 1, 2) of a t distribution around (3, -1)."""
    drawn = multivariate_t.rvs([3, -1], SCATTER, df=tail, size=count, random_state=seed)
    return np.asarray(drawn)[:, None]


def test_density_is_scipys() -> None:
    points = _draw(20)[:, 0]
    lengths = np.einsum("ia,ab,ib->i", points, np.linalg.inv(SCATTER), points)
    expected = multivariate_t.logpdf(points, [0, 0], SCATTER, df=3.0)
    np.testing.assert_allclose(log_t(lengths, SCATTER, 3.0), expected, rtol=1e-12)


def test_fit_finds_what_was_drawn() -> None:
    usual = UsualResidual.fit(_draw(4000), None)
    np.testing.assert_allclose(usual.offset, [[3, -1]], atol=0.15)  # 1.3 sigma / sqrt(4000), three times and more
    assert usual.tail == 4
    np.testing.assert_allclose(usual.scatter(None)[0], SCATTER, atol=0.35)  # 4 sigma


def test_known_covariances_go_through() -> None:
    """Twice the covariance in half of the images: the scatter follows, image by image."""
    rng = np.random.default_rng(0)
    factor = np.where(np.arange(3000) % 2, 9.0, 1.0)
    residuals = (rng.standard_normal((3000, 2)) * np.sqrt(factor)[:, None])[:, None]
    covariance = 2.0 * factor[:, None, None, None] * np.eye(2)
    usual = UsualResidual.fit(residuals, covariance)
    assert usual.mix[0] == pytest.approx(0.9)  # the most that the grid allows
    scatter = usual.scatter(covariance)[:, 0, 0, 0]
    assert scatter[1] / scatter[0] == pytest.approx(9, rel=0.5)


def test_faults_move_it_little() -> None:
    clean, spoilt = _draw(200), _draw(200)
    spoilt[:10] += 300
    before, after = UsualResidual.fit(clean, None), UsualResidual.fit(spoilt, None)
    np.testing.assert_allclose(before.offset, after.offset, atol=0.3)
    assert after.distance[0] == pytest.approx(before.distance[0], rel=0.2)


def test_distance_is_the_median() -> None:
    drawn = multivariate_t.rvs([0, 0], np.eye(2), df=3, size=20_000, random_state=1)
    usual = UsualResidual(np.zeros((1, 2)), np.ones(1), np.ones(1), np.zeros(1), 3.0, np.eye(2)[None])
    assert usual.distance[0] == pytest.approx(np.median(np.linalg.norm(drawn, axis=-1)), rel=0.03)


def test_a_landmark_of_few_images_leans_on_the_others() -> None:
    residuals = np.random.default_rng(0).normal(0, 2, (100, 3, 2))
    residuals[2:, 1] = np.nan
    residuals[:2, 1] = [[0.001, 0], [-0.001, 0]]
    usual = UsualResidual.fit(residuals, None)
    assert usual.scale[1] * usual.variance[1] > 0.01  # alone it would be 1e-6
    assert np.isfinite(usual.log_density(residuals, None)[:2, 1]).all()
    assert np.isnan(usual.log_density(residuals, None)[2:, 1]).all()


def test_a_landmark_without_labels_is_no_obstacle() -> None:
    residuals = np.random.default_rng(0).normal(0, 2, (30, 3, 2))
    residuals[:, 2] = np.nan
    usual = UsualResidual.fit(residuals, None)
    assert np.isfinite(usual.scatter(None)).all() and not usual.offset[2].any()

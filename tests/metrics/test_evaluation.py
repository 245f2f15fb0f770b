"""Evaluation: one variant is the prediction whatever its place, and all are measured on the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.metrics import mean_radial_error, success_detection_rate
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Prediction

RADII = (2.0, 4.0)


def cases(images: int = 6, landmarks: int = 4, seed: int = 0) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(9).uniform(0, 90, (images, 2, landmarks, 2))
    points = truth.mean(1) + rng.normal(0, 9, (images, landmarks, 2))
    spread = rng.uniform(1, 9, (images, landmarks, 1, 1)) * np.array([[2.0, 0.3], [0.3, 1.0]])
    return [Prediction(f"{i}", i, points[i], truth[i], (0.1, 0.2), spread[i]) for i in range(images)]


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_the_main_variant_is_told_by_name(order: tuple[str, str]) -> None:
    variants = {"good": cases(), "bad": cases(seed=1)}
    found = evaluate({name: variants[name] for name in order}, radii=RADII, main="good")
    assert found.main == "good" and list(found.points) == list(order)
    jacobian = np.diag([0.1, 0.2])
    own = [[np.trace(jacobian @ c @ jacobian.T) for c in each.covariance] for each in variants["good"]]  # type: ignore[union-attr]
    np.testing.assert_allclose(found.rms_spread, np.sqrt(own), rtol=1e-13)
    with pytest.raises(MetricError, match="main: found None, expected the variant that predicts, of good, bad"):
        evaluate(variants, radii=RADII)
    with pytest.raises(MetricError, match="main: found 'best'"):
        evaluate(variants, radii=RADII, main="best")


def test_log_and_files_have_the_same_mre_and_sdr_to_the_last_bit() -> None:
    """The torchmetrics and their functional twins call what sums up a test's errors."""
    rows = cases(50, 19)
    rows[3].annotations[:, 2] = np.nan
    points = torch.from_numpy(np.stack([each.points for each in rows]))
    truth = torch.from_numpy(mean_of_annotators(np.stack([each.annotations for each in rows])))
    spacing = torch.tensor([0.1, 0.2], dtype=points.dtype)
    found = evaluate({"a": rows}, radii=RADII).summaries["a"]
    assert found.mre == mean_radial_error(points, truth, spacing).item()
    rates = success_detection_rate(points, truth, spacing, radii=RADII)
    assert found.sdr == {radius: rate.item() for radius, rate in rates.items()}


def test_other_rules_measure_the_same_points() -> None:
    sized = [replace(each, image_size=(100, 100)) for each in cases()]
    found = evaluate({"a": sized}, radii=RADII)
    other, afresh = found.under("paper_b"), evaluate({"a": sized}, radii=RADII, protocol="paper_b")
    assert other.points is found.points and other.radii == RADII
    np.testing.assert_array_equal(other.errors["a"], afresh.errors["a"])
    assert found.under("paper_a").radii == (2.0, 2.5, 4.0)  # its own come first


def test_variants_of_other_images_are_refused() -> None:
    with pytest.raises(MetricError, match="variants of different images: b has 5, a has 6"):
        evaluate({"a": cases(), "b": cases()[:5]}, main="a")
    odd = [replace(cases()[0], annotations=cases()[0].annotations[:1]), *cases()[1:]]
    with pytest.raises(MetricError, match=r"annotations of shapes \[\(1, 4, 2\), \(2, 4, 2\)\]"):
        evaluate({"a": odd})

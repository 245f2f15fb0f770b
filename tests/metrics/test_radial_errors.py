"""MRE, its standard deviation, SDR and errors by landmark on one process, against numbers worked out elsewhere."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics import (
    LandmarkErrors,
    MeanRadialError,
    MetricError,
    RadialErrorStd,
    SuccessDetectionRate,
    mean_radial_error,
    radial_error,
    success_detection_rate,
)
from tests.metrics.reference import RADII, Cases, make_cases, reference_errors, reference_summary

EXACT = 1e-12  # float64 sums of a few hundred numbers of size 1


def tensors(cases: Cases, rows: slice | list[int] = slice(None), index: bool = True, in_mm: bool = True) -> dict:
    return {
        "predicted": torch.from_numpy(cases.predicted[rows]),
        "target": torch.from_numpy(cases.target[rows]),
        "spacing": torch.from_numpy(cases.spacing[rows]) if in_mm else None,
        "visible": torch.from_numpy(cases.visible[rows]),
        "index": torch.from_numpy(cases.index[rows]) if index else None,
    }


def points(*values: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("in_mm", [True, False])
@pytest.mark.parametrize("index", [True, False])
def test_agrees_with_independent_numpy(in_mm: bool, index: bool) -> None:
    cases = make_cases(23)
    expected = reference_summary(cases, in_mm)
    metrics = [MeanRadialError(), RadialErrorStd(), SuccessDetectionRate(), LandmarkErrors(7)]
    for metric in metrics:
        for start in range(0, 23, 4):
            metric.update(**tensors(cases, slice(start, start + 4), index, in_mm))
    mre, std, sdr, landmarks = (metric.compute() for metric in metrics)
    assert mre.dtype == torch.float64
    assert mre.item() == pytest.approx(expected["mre"], rel=EXACT)
    assert std.item() == pytest.approx(expected["std"], rel=EXACT)
    assert {radius: rate.item() for radius, rate in sdr.items()} == pytest.approx(expected["sdr"], rel=EXACT)
    np.testing.assert_allclose(landmarks.numpy(), expected["landmarks"], rtol=EXACT)
    assert metrics[0].unit == ("mm" if in_mm else "px")


def test_functional_twins_agree_with_independent_numpy() -> None:
    cases = make_cases(11, seed=3)
    arguments = tensors(cases)
    arguments.pop("index")
    expected = reference_summary(cases)
    np.testing.assert_allclose(radial_error(**arguments), reference_errors(cases), rtol=EXACT)
    assert mean_radial_error(**arguments).item() == pytest.approx(expected["mre"], rel=EXACT)
    rates = success_detection_rate(**arguments, radii=RADII)
    assert {radius: rate.item() for radius, rate in rates.items()} == pytest.approx(expected["sdr"], rel=EXACT)


def test_hand_worked_case_with_anisotropic_spacing() -> None:
    # Two images, two landmarks; spacing 0.5 x 0.25 mm and 0.1 x 0.1 mm.
    # (6, 0) -> 3 mm; (0, 8) -> 2 mm; (3, 4) -> 0.5 mm; the last is missing. Mean 5.5 / 3 mm.
    predicted = torch.tensor([[[16.0, 10.0], [10.0, 18.0]], [[13.0, 14.0], [99.0, 99.0]]])
    target = torch.tensor([[[10.0, 10.0], [10.0, 10.0]], [[10.0, 10.0], [math.nan, math.nan]]])
    spacing = torch.tensor([[0.5, 0.25], [0.1, 0.1]], dtype=torch.float64)
    mre, sdr, landmarks = MeanRadialError(), SuccessDetectionRate(), LandmarkErrors(2)
    for metric in (mre, sdr, landmarks):
        metric.update(predicted, target, spacing)
    assert mre.compute().item() == pytest.approx(5.5 / 3, rel=EXACT)
    assert landmarks.compute().tolist() == pytest.approx([1.75, 2.0], rel=EXACT)
    rates = [rate.item() for rate in sdr.compute().values()]  # 2 mm is not below 2, and 3 mm not below 3
    assert rates == pytest.approx([100 / 3, 200 / 3, 200 / 3, 100.0], rel=EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_boundary_is_outside_when_strict_and_inside_otherwise(dtype: torch.dtype) -> None:
    # 20 px at 0.1 mm; in float32 that spacing makes 2.00000003 mm, which is the same tie.
    spacing = torch.tensor([[0.1, 0.1]], dtype=dtype)
    batch = (points((20.0, 0.0), (12.0, 16.0), (19.99, 0.0)), torch.zeros(1, 3, 2), spacing)
    for strict, expected in ((True, 100 / 3), (False, 100.0)):
        metric = SuccessDetectionRate(radii=(2.0,), strict=strict)
        metric.update(*batch)
        assert metric.compute()[2.0].item() == pytest.approx(expected)
        assert success_detection_rate(*batch, radii=(2.0,), strict=strict)[2.0].item() == pytest.approx(expected)


def test_missing_landmarks_are_left_out_whatever_was_predicted_there() -> None:
    predicted = points((3.0, 4.0), (math.nan, math.nan), (1e9, 0.0))
    target = points((0.0, 0.0), (0.0, 0.0), (math.nan, math.nan))
    visible = torch.tensor([[True, False, True]])
    for index in (None, torch.tensor([4])):
        metric = MeanRadialError()
        metric.update(predicted, target, None, visible, index)
        assert metric.compute().item() == 5.0
    landmarks = LandmarkErrors(3)
    landmarks.update(predicted, target, None, visible)
    assert landmarks.compute()[0].item() == 5.0
    assert torch.isnan(landmarks.compute()[1:]).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_unusable_prediction_is_an_error_that_names_it(value: float) -> None:
    metric = MeanRadialError()
    metric.update(points((3.0, 4.0)), torch.zeros(1, 1, 2))
    bad = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, value]]])
    with pytest.raises(ValueError, match="predicted point of row 1, landmark 1 is"):
        metric.update(bad, torch.zeros(2, 2, 2))
    assert metric.compute().item() == 5.0  # the failed update left no trace


def test_mm_and_pixels_do_not_mix() -> None:
    mm, unknown = torch.tensor([[0.1, 0.1]]), torch.full((1, 2), math.nan)
    one = points((3.0, 4.0))
    for first, second in ((mm, None), (None, mm), (mm, unknown), (unknown, mm)):
        for metric in (MeanRadialError(), SuccessDetectionRate()):
            metric.update(one, torch.zeros_like(one), first)
            with pytest.raises(MetricError, match="spacing"):
                metric.update(one, torch.zeros_like(one), second)
    two = one.expand(2, 1, 2)
    with pytest.raises(MetricError, match="unknown for row 1"):
        MeanRadialError().update(two, torch.zeros_like(two), torch.cat([mm, unknown]))


def test_mixing_is_found_behind_an_image_without_landmarks_and_through_forward() -> None:
    one, nothing = points((3.0, 4.0)), points((math.nan, math.nan))
    metric = MeanRadialError()
    metric.update(one, nothing, None)
    metric.update(one, torch.zeros_like(one), None)
    with pytest.raises(MetricError):
        metric.update(one, torch.zeros_like(one), torch.tensor([[0.1, 0.1]]))
    metric = MeanRadialError()
    metric(one, torch.zeros_like(one), None)  # forward starts from an empty state, so only compute can see both
    metric(one, torch.zeros_like(one), torch.tensor([[0.1, 0.1]]))
    with pytest.raises(MetricError):
        metric.compute()


def test_nan_spacing_means_pixels() -> None:
    metric = MeanRadialError()
    metric.update(points((3.0, 4.0)), points((0.0, 0.0)), torch.full((1, 2), math.nan))
    assert metric.compute().item() == 5.0
    assert metric.unit == "px"


def test_index_must_come_always_or_never() -> None:
    one = points((3.0, 4.0))
    for first, second in ((torch.tensor([0]), None), (None, torch.tensor([0]))):
        metric = MeanRadialError()
        metric.update(one, torch.zeros_like(one), index=first)
        with pytest.raises(MetricError, match="index"):
            metric.update(one, torch.zeros_like(one), index=second)


def test_repeated_index_counts_once_and_without_index_everything_counts() -> None:
    five, one = points((3.0, 4.0)), points((1.0, 0.0))
    zero, place = torch.zeros(1, 1, 2), torch.tensor
    with_index, without = MeanRadialError(), MeanRadialError()
    for value, index in ((five, 7), (one, 2), (five, 7), (five, 7)):
        with_index.update(value, zero, index=place([index]))
        without.update(value, zero)
    assert with_index.compute().item() == 3.0
    assert without.compute().item() == 4.0
    within = MeanRadialError()
    within.update(torch.cat([five, one, five]), torch.zeros(3, 1, 2), index=place([7, 2, 7]))
    assert within.compute().item() == 3.0


def test_repeats_that_differ_are_told() -> None:
    metric = MeanRadialError()
    metric.update(points((3.0, 4.0)), torch.zeros(1, 1, 2), index=torch.tensor([7]))
    metric.update(points((1.0, 0.0)), torch.zeros(1, 1, 2), index=torch.tensor([7]))
    with pytest.warns(UserWarning, match="sample index 7 was given more than once with different results"):
        assert metric.compute().item() == 5.0


def test_order_of_indexed_samples_changes_no_bit() -> None:
    cases = make_cases(50, seed=5)
    values = []
    for order in (np.arange(50), np.random.default_rng(1).permutation(50)):
        metric = MeanRadialError()
        for start in range(0, 50, 7):
            metric.update(**tensors(cases, order[start : start + 7].tolist()))
        values.append(metric.compute().item())
    assert values[0] == values[1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 4))
def test_any_padding_and_batching_equals_the_set_of_samples(draws: list[int], size: int) -> None:
    cases = make_cases(6, landmarks=3, seed=9)
    kept = sorted(set(draws))
    subset = Cases(cases.predicted[kept], cases.target[kept], cases.spacing[kept], cases.visible[kept])
    metric = MeanRadialError()
    for start in range(0, len(draws), size):
        metric.update(**tensors(cases, draws[start : start + size]))
    assert metric.compute().item() == pytest.approx(reference_summary(subset)["mre"], rel=EXACT)


def test_forward_gives_the_batch_and_keeps_the_whole() -> None:
    metric = MeanRadialError()
    zero = torch.zeros(1, 1, 2)
    assert metric(points((3.0, 4.0)), zero, index=torch.tensor([0])).item() == 5.0
    assert metric(points((1.0, 0.0)), zero, index=torch.tensor([1])).item() == 1.0
    assert metric(points((1.0, 0.0)), zero, index=torch.tensor([1])).item() == 1.0
    assert metric.compute().item() == 3.0
    metric.reset()
    metric.update(points((1.0, 0.0)), zero, spacing=torch.ones(1, 2))  # another unit is fine after a reset
    assert metric.compute().item() == 1.0


@pytest.mark.parametrize("make", [MeanRadialError, RadialErrorStd])
def test_nothing_measured_is_nan_with_a_warning(make: Callable[[], MeanRadialError]) -> None:
    metric = make()
    metric.update(points((3.0, 4.0)), points((math.nan, math.nan)))
    with pytest.warns(UserWarning, match="no landmark to measure"):
        assert math.isnan(metric.compute().item())
    with pytest.warns(UserWarning):
        assert math.isnan(make().compute().item())
    with pytest.warns(UserWarning):
        assert all(math.isnan(rate) for rate in SuccessDetectionRate().compute().values())


def test_float32_batches_are_summed_in_float64() -> None:
    # 4,096 errors of 1 + 2**-20 px: float32 sums would lose the small part.
    small = 2.0**-20
    predicted = torch.zeros(1, 4096, 2, dtype=torch.float32)
    predicted[..., 0] = 1 + small
    metric = MeanRadialError()
    for _ in range(8):
        metric.update(predicted, torch.zeros_like(predicted))
    assert metric.compute().item() == 1 + small


def test_half_precision_module_does_not_touch_collected_errors() -> None:
    metric = MeanRadialError()
    metric.update(points((1001.0, 0.0)), torch.zeros(1, 1, 2))
    holder = torch.nn.Module()
    holder.metric = metric
    holder.half()
    assert metric.compute().item() == 1001.0
    assert copy.deepcopy(metric).compute().item() == 1001.0


def test_collection_shares_the_state_and_gives_the_same_numbers() -> None:
    cases = make_cases(9, seed=2)
    collection = MetricCollection({"mre": MeanRadialError(), "std": RadialErrorStd(), "landmarks": LandmarkErrors(7)})
    for start in (0, 5):
        collection.update(**tensors(cases, slice(start, start + 5)))
    expected = reference_summary(cases)
    results = collection.compute()
    assert len(collection.compute_groups) == 1
    assert results["mre"].item() == pytest.approx(expected["mre"], rel=EXACT)
    assert results["std"].item() == pytest.approx(expected["std"], rel=EXACT)
    np.testing.assert_allclose(results["landmarks"], expected["landmarks"], rtol=EXACT)


def test_gradients_do_not_pile_up() -> None:
    predicted = points((3.0, 4.0)).requires_grad_()
    metric = MeanRadialError()
    metric(predicted, torch.zeros(1, 1, 2))
    assert all(not rows.requires_grad for rows in metric.rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predicted": torch.zeros(1, 2, 3)}, "points: found shapes"),
        ({"target": torch.zeros(1, 3, 2)}, "points: found shapes"),
        ({"spacing": torch.ones(3, 2)}, "spacing: found shape"),
        ({"spacing": torch.tensor([[0.1, 0.0]])}, "expected positive"),
        ({"spacing": torch.tensor([[0.1, math.nan]])}, "spacing"),
        ({"visible": torch.ones(1, 3)}, "visible: found shape"),
        ({"index": torch.tensor([0, 1])}, "index: found"),
        ({"index": torch.tensor([0.5])}, "index: found"),
        ({"index": torch.tensor([-1])}, "index: found"),
        ({"target": torch.full((1, 2, 2), math.inf)}, "target point of row 0"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments: dict, message: str) -> None:
    good = {"predicted": torch.zeros(1, 2, 2), "target": torch.zeros(1, 2, 2)}
    with pytest.raises(UserError, match=message):
        MeanRadialError().update(**{**good, **arguments})


@pytest.mark.parametrize("radii", [(), (2.0, 2.0), (0.0,), (math.inf,), (-1.0, 2.0)])
def test_wrong_radii_are_refused(radii: tuple[float, ...]) -> None:
    with pytest.raises(MetricError, match="radii"):
        SuccessDetectionRate(radii=radii)


def test_wrong_number_of_landmarks_is_refused() -> None:
    with pytest.raises(MetricError, match="found 2 landmarks, expected 3"):
        LandmarkErrors(3).update(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2))


def test_no_warning_in_normal_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cases = make_cases(4)
        for metric in (MeanRadialError(), RadialErrorStd(correction=1), SuccessDetectionRate(), LandmarkErrors(7)):
            metric.update(**tensors(cases))
            metric.compute()

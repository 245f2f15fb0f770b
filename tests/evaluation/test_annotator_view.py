"""The annotator-aware view: by hand where the doctors' habits are known, against scipy where ranks are compared."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy.stats import spearmanr

from landmark_diffusion.core.plain import plain
from landmark_diffusion.evaluation.annotator_figure import annotator_figure
from landmark_diffusion.evaluation.annotator_view import AnnotatorView, annotator_view, write_annotators_csv
from landmark_diffusion.evaluation.metrics_file import write_metrics
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Prediction

NAMES, DOCTORS = ("chin", "=nose"), ("senior", "junior")
SCATTER = [(a, b) for a in (-2.0, 2.0) for b in (-1.0, 1.0)]
"""Every sign comes equally often, so that the scatter is exactly orthogonal to any offset."""


def _hand_worked(**more: object) -> list[Prediction]:
    """Four images of 0.5 x 0.25 mm a pixel; the senior's point is predicted.

    At "chin" the junior stands (3, -4) px from the senior, (1.5, -1) mm, plus a scatter of (1, 0.25) mm; at "=nose"
    both agree.
    """
    found = []
    for index, (a, b) in enumerate(SCATTER):
        senior = np.array([[10.0, 20.0], [30.0, 40.0]]) + index
        junior = senior + np.array([[3.0 + a, -4.0 + b], [0.0, 0.0]])
        covariance = np.array([np.diag([4.0, 16.0]) * (index + 1), np.eye(2) * 0.5])
        covariance[:, 0, 1] = covariance[:, 1, 0] = 0.1  # no part of the trace
        found.append(Prediction(str(index), index, senior, np.stack([senior, junior]), (0.5, 0.25), covariance))
    return [replace(each, **more) for each in found]


def _view(predictions: list[Prediction], unit: str = "mm", names: tuple[str, ...] = NAMES) -> AnnotatorView:
    other = [replace(each, points=each.points + 9, covariance=None) for each in predictions]
    variants = {"other": other, "main": predictions, "last": other}
    view = annotator_view(evaluate(variants, names, DOCTORS, (2.0,), unit, main="main"))
    assert view is not None and (view.variant, view.unit) == ("main", unit)
    return view


def test_habit_and_scatter_of_known_doctors_come_out_in_mm_of_each_axis() -> None:
    chin, nose = _view(_hand_worked()).lines
    apart = [math.hypot(1.5 + a * 0.5, -1.0 + b * 0.25) for a, b in SCATTER]
    assert (chin.offset_x, chin.offset_y) == pytest.approx((1.5, -1.0), abs=1e-13)
    assert chin.constant == pytest.approx(math.hypot(1.5, 1.0), abs=1e-13)
    assert chin.rest == pytest.approx(math.sqrt(1 + 0.0625), abs=1e-13)
    assert chin.sigma == pytest.approx(math.sqrt((1 + 0.0625) / 2), abs=1e-13)
    assert chin.distance == pytest.approx(np.mean(apart), abs=1e-13)
    # The senior's own point: half the doctors' distance from their mean, on the senior, on the line between the two.
    assert chin.error == pytest.approx(np.mean(apart) / 2, abs=1e-13)
    assert chin.rms_error == pytest.approx(math.sqrt(np.mean(np.square(apart))) / 2, abs=1e-13)
    assert (chin.nearer, chin.ratio, chin.images) == (0.0, pytest.approx(1.0), 4)
    assert (nose.constant, nose.rest, nose.error) == (0.0, 0.0, 0.0) and math.isnan(nose.ratio)


def test_all_landmarks_together_pool_the_points() -> None:
    view = _view(_hand_worked())
    chin, whole = view.lines[0], view.overall
    assert (whole.number, whole.images) == (None, 8)
    assert (whole.error, whole.distance) == pytest.approx((chin.error / 2, chin.distance / 2))
    # Half of the points have nothing to add: squares are halved, and still add up to the mean squared distance.
    assert whole.constant == pytest.approx(chin.constant / math.sqrt(2))
    assert whole.rest == pytest.approx(chin.rest / math.sqrt(2))
    squares = [(1.5 + a * 0.5) ** 2 + (-1.0 + b * 0.25) ** 2 for a, b in SCATTER]
    assert whole.constant**2 + whole.rest**2 == pytest.approx(np.sum(squares) / 8)


def test_spread_is_the_root_of_the_mean_trace_in_the_unit_of_the_spacing() -> None:
    # Variances 4 k and 16 k px^2 are k and k mm^2 at 0.5 x 0.25 mm, k = 1 to 4: the mean trace is 5.
    chin, nose = _view(_hand_worked()).lines
    assert chin.spread == pytest.approx(math.sqrt(5.0), abs=1e-13)
    assert nose.spread == pytest.approx(math.sqrt(0.5 * (0.25 + 0.0625)), abs=1e-13)
    assert _view(_hand_worked(), "px").lines[0].spread == pytest.approx(math.sqrt(20 * 2.5), abs=1e-13)
    assert _view(_hand_worked(spacing=None), "px").lines[0].spread == pytest.approx(math.sqrt(20 * 2.5), abs=1e-13)
    grid = _view(_hand_worked(length_unit="px256"), "px256")
    assert grid.lines[0].spread == chin.spread and "lengths in px of 256x256" in grid.to_markdown()


def test_without_covariance_the_spread_is_absent_and_a_gap_is_left_out() -> None:
    view = _view(_hand_worked(covariance=None))
    assert view.correlations is None and math.isnan(view.lines[0].spread)
    assert "spread" not in view.to_dict()["overall"] and view.to_dict()["spearman"] is None
    assert "spread |" not in view.to_markdown() and "Spearman" not in view.to_markdown()
    some = _hand_worked()
    some[3].covariance = None  # k = 4 is missing: the mean trace is 2 (1 + 2 + 3) / 3
    assert _view(some).lines[0].spread == pytest.approx(2.0, abs=1e-13)


def test_what_one_doctor_left_out_counts_for_error_and_spread_but_not_for_the_split() -> None:
    rows = _hand_worked()
    rows[0].annotations[1, 0] = np.nan  # the senior alone: the prediction is on the spot
    rows[1].annotations[:, 0] = np.nan  # nobody: neither error nor spread
    chin = _view(rows).lines[0]
    kept = np.array([(1.5 + a * 0.5, -1.0 + b * 0.25) for a, b in SCATTER[2:]])
    assert chin.images == 2 and (chin.offset_x, chin.offset_y) == pytest.approx(tuple(kept.mean(0)))
    assert chin.rest == pytest.approx(0.25) and chin.distance == pytest.approx(np.hypot(*kept.T).mean())
    assert chin.error == pytest.approx((0.0 + np.hypot(*kept.T).sum() / 2) / 3)
    assert chin.spread == pytest.approx(math.sqrt(2 * (1 + 3 + 4) / 3), abs=1e-13)


@pytest.mark.parametrize("annotators", ["one", "a second who marked nothing"])
def test_one_annotator_leaves_no_view(annotators: str, tmp_path) -> None:
    rows = _hand_worked()
    for each in rows:
        each.annotations[1:] = np.nan
        each.annotations = each.annotations[: 1 if annotators == "one" else 2]
    results = Results(evaluate({"main": rows}, NAMES, DOCTORS, (2.0,)))
    assert results.annotators is None
    found = json.loads(write_metrics(tmp_path / "a.json", results).read_text())
    assert found["annotator_view"] is None


def test_a_protocol_on_another_grid_has_no_view() -> None:
    rows = _hand_worked(image_size=(100, 100))
    assert annotator_view(evaluate({"main": rows}, NAMES, DOCTORS, (2.0,), "mm", "paper_b")) is None


def test_of_three_annotators_the_first_two_are_split_and_the_nearest_of_all_counts() -> None:
    rows = _hand_worked()
    for each in rows:
        each.points = each.points + np.array([[0.0, 100.0], [0.0, 0.0]])
        third = each.points + np.array([[4.0, 0.0], [0.0, 0.0]])
        each.annotations = np.stack([*each.annotations, third])
    chin = _view(rows).lines[0]
    assert (chin.offset_x, chin.offset_y) == pytest.approx((1.5, -1.0), abs=1e-13)
    assert chin.nearer == pytest.approx(4 * 0.5)


def test_correlations_are_those_of_scipy_over_landmarks_and_within_them() -> None:
    rng = np.random.default_rng(0)
    landmarks, images = 8, 30
    scale = rng.uniform(1, 9, landmarks)
    rows = []
    for index in range(images):
        annotations = rng.normal(0, 1, (2, landmarks, 2)) * scale[:, None] + rng.normal(0, 3, (landmarks, 1))
        factor = rng.uniform(0.2, 3, landmarks)
        points = annotations.mean(0) + rng.normal(0, 1, (landmarks, 2)) * (scale * factor)[:, None]
        covariance = np.eye(2) * ((scale * factor) ** 2 / 2)[:, None, None]
        annotations[:, 3] = np.nan if index == 5 else annotations[:, 3]
        rows.append(Prediction(str(index), index, points, annotations, (0.1, 0.1), covariance))
    rows[7].covariance = None
    view = _view(rows, names=tuple("abcdefgh"))
    spread, error = np.full((images, landmarks), np.nan), np.full((images, landmarks), np.nan)
    for index, each in enumerate(rows):
        error[index] = np.linalg.norm(each.points - each.annotations.mean(0), axis=-1)
        if each.covariance is not None:
            spread[index] = np.sqrt(np.trace(each.covariance, axis1=1, axis2=2))
    found = view.correlations
    assert found is not None
    for name, got in (("rest", found.rest), ("constant", found.offset), ("error", found.error)):
        assert got == pytest.approx(spearmanr(view.column("spread"), view.column(name)).statistic, abs=1e-12)
    within = [spearmanr(s, e, nan_policy="omit").statistic for s, e in zip(spread.T, error.T, strict=True)]
    assert found.within == pytest.approx(np.mean(within), abs=1e-12)
    assert found.within > 0.3 and found.rest > 0.9  # what it was built to have


def test_csv_holds_every_number_and_nothing_that_a_spreadsheet_runs(tmp_path) -> None:
    view = _view(_hand_worked())
    text = write_annotators_csv(tmp_path / "annotators.csv", view).read_bytes().decode()
    chin, nose, whole = csv.DictReader(io.StringIO(text))
    assert (chin["number"], chin["landmark"], nose["landmark"]) == ("1", "chin", "'=nose")
    assert (whole["number"], whole["landmark"], whole["offset_x"]) == ("", "all", "")
    for name in ("error", "rms_error", "nearer", "distance", "constant", "rest", "sigma", "spread"):
        assert float(chin[name]) == pytest.approx(getattr(view.lines[0], name), abs=5e-7)
    assert (float(chin["offset_x"]), float(chin["offset_y"])) == pytest.approx((1.5, -1.0))
    assert nose["ratio"] == "" and chin["unit"] == "mm" and chin["images"] == "4"
    assert "nan" not in text and "\r" not in text and not list(tmp_path.glob(".tmp*"))


def test_table_says_what_it_shows_and_fits_80_columns() -> None:
    view = _view(_hand_worked(), names=("lower incisal incision", "nose"))
    console = Console(width=80, file=io.StringIO())
    console.print(view)
    printed = console.file.getvalue()
    row = next(line for line in printed.splitlines() if line.startswith("1 lower"))
    # Apart by (0.5 or 2.5, -1.25 or -0.75) mm: 1.35, 0.90, 2.80, 2.61, mean 1.91. Then the offset hypot(1.5, 1), the
    # rest hypot(1, 0.25), it over root 2, and the spread, root 5.
    assert row.split()[-8:] == ["0.96", "0.00", "1.00", "1.91", "1.80", "1.03", "0.73", "2.24"]
    assert "1.50 | -1.00 | 1.80" in view.to_markdown()
    assert "main beside senior and junior; lengths in mm" in printed


def test_json_block_is_plain_and_repeats_nothing(tmp_path) -> None:
    results = Results(evaluate({"main": _hand_worked()}, NAMES, DOCTORS, (2.0,)))
    found = json.loads(write_metrics(tmp_path / "metrics.json", results).read_text())
    block, view = found["annotator_view"], _view(_hand_worked())
    assert block == plain(view.to_dict()) and block["overall"]["spread"] == view.overall.spread
    assert set(block["landmarks"][0]) == {"number", "rms_error", "sigma", "spread", "nearer", "ratio"}
    elsewhere = found["landmarks"][0]
    assert elsewhere["variants"]["main"]["mre"] == pytest.approx(view.lines[0].error)
    assert elsewhere["annotators"]["rest"] == view.lines[0].rest
    nearer = next(row for row in found["table"] if row["label"] == "main to nearer †")
    assert nearer["mre"] == view.overall.nearer


@pytest.mark.parametrize("spread", [True, False])
def test_figure_is_drawn_with_and_without_spread(tmp_path, spread: bool) -> None:
    rows = _hand_worked() if spread else _hand_worked(covariance=None)
    with Image.open(annotator_figure(tmp_path / "annotators.png", _view(rows))) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    orange = (np.abs(pixels - [0xFF, 0x6A, 0x1A]) < 40).all(-1)
    # Two triangles by landmark and two in the second panel (some 20 pixels each), or none.
    assert (orange.sum() > 60) == spread and (pixels.shape[1] > 1000) == spread


def test_wrong_covariances_are_named() -> None:
    rows = _hand_worked()
    rows[2].covariance = np.eye(2)
    with pytest.raises(MetricError, match=r"2: found a covariance of shape \(2, 2\), expected \(2, 2, 2\)"):
        _view(rows)
    rows[2].covariance = np.array([np.eye(2), -np.eye(2)])
    with pytest.raises(MetricError, match="2: covariance of point 1 is negative"):
        _view(rows)

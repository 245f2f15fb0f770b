"""The spread of a test: by hand in mm of each axis, against what made-up predictions were drawn from, and as files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from landmark_diffusion.core.plain import plain
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.evaluation import tested_spreads
from landmark_diffusion.evaluation.spread_figure import spread_figure
from landmark_diffusion.evaluation.spread_view import Spreads, SpreadView, spread_view, write_spread_csv
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.records import Prediction, Unit
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import SpreadCalibration
from landmark_diffusion.spread.statistics import expected_radial_error

NAMES = ("chin", "=nose")
NAN = math.nan
N = 3
ROUND = math.sqrt(math.pi / 2)
"""Expected length over sigma of a round Gaussian."""


def _hand_worked() -> tuple[list[Prediction], Spreads]:
    """Four images of 0.5 x 0.25 mm a pixel; two doctors whose mean is the truth.

    At "chin" the truth lies 1 to 4 mm to the right of the point (2 to 8 px), in a round spread of sigma 1 to 4 mm and
    a region of radius 2.5 mm. At "=nose" it lies 1 mm below it (4 px), in a spread of 2 mm and a region of radius 2 mm,
    and is unknown in the third image. The method's own covariance states half the sigma.
    """
    found, covariance, regions = [], [], []
    round_ones = np.diag([1 / 0.25, 1 / 0.0625])  # squared pixels of a round spread of sigma 1 mm
    for index in range(4):
        points = np.array([[10.0, 20.0], [30.0, 40.0]]) + index
        truth = points + np.array([[2.0 * (index + 1), 0.0], [0.0, 4.0]])
        truth[1] = NAN if index == 2 else truth[1]
        sigma = np.array([index + 1.0, 2.0])[:, None, None]
        covariance.append(round_ones * sigma**2)
        regions.append(round_ones * np.array([2.5, 2.0])[:, None, None] ** 2)
        annotations = truth + np.array([3.0, -1.0]) * np.array([-1.0, 1.0])[:, None, None]
        found.append(Prediction(str(index), index, points, annotations, (0.5, 0.25), covariance[-1] / 4))
    stacked = np.stack(covariance)
    return found, Spreads(stacked, expected_radial_error(stacked), np.stack(regions), 0.9)


def _seen(
    predictions: list[Prediction], names: tuple[str, ...], spreads: Spreads | None = None, unit: Unit | None = None,
    radius: float = 2.0,
) -> SpreadView | None:  # fmt: skip
    return spread_view(evaluate({"a": predictions}, names, (), (radius,), unit), spreads)


def _view(calibrated: bool = True) -> SpreadView:
    predictions, spreads = _hand_worked()
    view = _seen(predictions, NAMES, spreads if calibrated else None)
    assert view is not None
    return view


def _made_up(images: int = 150, landmarks: int = 6) -> tuple[list[Prediction], Spreads]:
    """Truths drawn from the stated spread, which differs by point; regions hold 90 % of it; half of it is stated."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(images, landmarks, 2, 2)) * rng.gamma(2.0, 4.0, (images, landmarks, 1, 1))
    covariance = factor @ factor.swapaxes(-1, -2) + np.eye(2)
    residuals = (np.linalg.cholesky(covariance) @ rng.normal(size=(images, landmarks, 2, 1)))[..., 0]
    points = rng.uniform(0, 2000, (images, landmarks, 2))
    predictions = [
        Prediction(str(i), i, points[i], (points + residuals)[i, None], (0.1, 0.1), covariance[i] / 4)
        for i in range(images)
    ]
    regions = covariance * -2 * math.log(0.1)  # chi-squared with two degrees of freedom
    return predictions, Spreads(covariance, expected_radial_error(covariance), regions, 0.9)


def test_numbers_come_out_in_mm_although_x_and_y_have_spacings_of_their_own() -> None:
    view = _view()
    chin, nose = view.lines
    assert (view.unit, view.level, view.images, view.truth) == ("mm", 0.9, 4, "mean of the 2 annotators")
    assert (chin.points, nose.points, view.overall.points) == (4, 3, 7)
    assert (chin.coverage, nose.coverage, view.overall.coverage) == pytest.approx((0.5, 1.0, 5 / 7))
    assert (chin.area_mean, nose.area_median) == pytest.approx((math.pi * 6.25, math.pi * 4))
    assert (view.overall.area_mean, view.overall.area_median) == pytest.approx(
        (math.pi * (4 * 6.25 + 3 * 4) / 7, math.pi * 6.25)
    )
    assert (chin.expected, nose.expected) == pytest.approx((2.5 * ROUND, 2 * ROUND))
    assert (chin.actual, nose.actual, view.overall.actual) == pytest.approx((2.5, 1.0, 13 / 7))
    assert chin.rank == 1.0 and math.isnan(nose.rank) and view.ranks.within == 1.0
    assert view.overall.rank == view.ranks.pooled
    assert nose.low < 0.5 and nose.high == 1.0  # three of three are no proof of 90 %


def test_expected_error_of_a_long_ellipse_is_that_in_mm_also_where_x_and_y_differ() -> None:
    predictions, spreads = _hand_worked()
    long = np.zeros_like(spreads.covariance)
    long[..., 0, 0] = 16.0  # sigma of 4 px along x, 2 mm, and none along y: half normal
    stated = 3.0 * expected_radial_error(long)  # a calibration may state another length than the Gaussian's
    view = _seen(predictions, NAMES, replace(spreads, covariance=long, expected_error=stated))
    assert view is not None and view.lines[0].expected == pytest.approx(3 * 2 * math.sqrt(2 / math.pi))
    view = _seen(predictions, NAMES, replace(spreads, covariance=long * 0, expected_error=stated * 0 + 2.0))
    assert view is not None and view.lines[0].expected == pytest.approx(2 * math.sqrt(0.125))


def test_abstention_and_reliability_are_of_the_points_in_mm() -> None:
    view = _view()
    # Points by expected error: chin of image 0, then four of sigma 2 mm, then the chins of images 2 and 3.
    assert view.by_point.mre.tolist() == pytest.approx([1.0, 1.125, 7 / 6, 1.1875, 1.2, 1.5, 13 / 7])
    assert view.by_point.rate[-1] == pytest.approx(100 * 4 / 7)  # 2 mm is not within 2 mm
    assert view.by_image.mre[[0, 1, 3]].tolist() == pytest.approx([1.0, 1.25, 2.0])  # the last two are equally sure
    assert view.reliability.count.sum() == 7 and view.uncalibrated is not None
    np.testing.assert_allclose(view.uncalibrated.expected, view.reliability.expected / 2)
    np.testing.assert_allclose(view.uncalibrated.actual, view.reliability.actual)


def test_spread_that_the_truth_was_drawn_from_is_found_true() -> None:
    predictions, spreads = _made_up()
    view = _seen(predictions, tuple("abcdef"), spreads)
    assert view is not None
    assert view.overall.low < 0.9 < view.overall.high and view.overall.high - view.overall.low < 0.06
    assert view.overall.expected == pytest.approx(view.overall.actual, rel=0.05)
    assert view.uncalibrated is not None and view.reliability.gap < view.uncalibrated.gap / 4
    assert min(view.column("rank")) > 0.2 and view.by_point.normalized_excess < 0.6


def test_spreads_are_those_of_the_images_in_dataset_order() -> None:
    predictions, spreads = _made_up(images=12)
    rows = [5, 3, 5, 0, 1, 2, 4, 6, 11, 10, 9, 8, 7, 0]  # as several processes give them: interleaved, padded
    found, wanted = (
        _seen(each, tuple("abcdef"), spreads) for each in ([predictions[row] for row in rows], predictions)
    )
    assert found is not None and wanted is not None
    assert plain(found.to_dict()) == plain(wanted.to_dict())


def test_calibrated_spreads_follow_each_image_s_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Network pixels differ from image to image, and predictions come interleaved."""
    predictions, _ = _made_up(images=4, landmarks=N)
    spread = SpreadCalibration(*np.full((2, N), 2.0), (0.9,), np.full((N, 1), 3.0), np.ones(N))
    _calibrated_by(monkeypatch, lambda answers: answers.covariance, spread)
    frames = [Frame.fit((100, 100), (10 * (i + 1), 50)) for i in range(4)]
    evaluation = evaluate({"a": [predictions[row] for row in (2, 0, 2, 3, 1)]})
    module: Any = SimpleNamespace(num_landmarks=N, prediction_settings=dict)
    found = tested_spreads.tested_spreads("x.ldx", module, evaluation, frames)
    assert found is not None and found.regions is not None
    for image, prediction in enumerate(predictions):  # 2 C + 2 px^2 of the network
        own = 2 * np.asarray(prediction.covariance) + 2 * np.diag([(10 / (image + 1)) ** 2, 4.0])
        np.testing.assert_allclose(found.covariance[image], own, rtol=1e-12)
        np.testing.assert_allclose(found.regions[image], 9 * own, rtol=1e-12)
    assert tested_spreads.tested_spreads(None, module, evaluation, frames) is None
    some = evaluate({"a": [replace(predictions[0], covariance=None), *predictions[1:]]})
    assert tested_spreads.tested_spreads("x.ldx", module, some, frames) is None


def _calibrated_by(
    monkeypatch: pytest.MonkeyPatch, covariance: Callable[[Answers], np.ndarray], spread: SpreadCalibration
) -> None:
    setting = SimpleNamespace(spread=spread, covariance=covariance)
    calibration = SimpleNamespace(find=lambda settings: setting)
    monkeypatch.setattr(tested_spreads, "is_model_file", lambda path: True)
    monkeypatch.setattr(tested_spreads, "read_facts", lambda path: SimpleNamespace(calibration={}))
    monkeypatch.setattr(tested_spreads.Calibration, "from_dict", lambda *_: calibration)


def test_the_calibration_widens_what_a_test_found_as_what_detection_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is handed the answers in network pixels, those of the first guess and the probabilities among them."""
    predictions, _ = _made_up(images=4, landmarks=N)
    rng = np.random.default_rng(1)
    outside, missed = rng.uniform(0, 1, (2, 4, N))
    frames = [Frame.fit((100, 100), (10 * (i + 1), 50)) for i in range(4)]
    mine = [replace(each, outside=outside[i], missed=missed[i]) for i, each in enumerate(predictions)]
    first = [
        replace(each, points=each.points + 3.0, covariance=4 * np.asarray(each.covariance)) for each in predictions
    ]
    seen: list[Answers] = []

    def widened(answers: Answers) -> np.ndarray:
        seen.append(answers)
        return 5 * answers.covariance

    spread = SpreadCalibration(*np.full((2, N), 2.0), (0.9,), np.full((N, 1), 3.0), np.ones(N))
    _calibrated_by(monkeypatch, widened, spread)
    evaluation = evaluate({"one look": first, "chain": [mine[row] for row in (2, 0, 2, 3, 1)]}, main="chain")
    module: Any = SimpleNamespace(num_landmarks=N, prediction_settings=dict)
    found = tested_spreads.tested_spreads("x.ldx", module, evaluation, frames)
    (answers,) = seen
    assert found is not None and answers.first_points is not None and answers.first_covariance is not None
    for image, prediction in enumerate(predictions):
        scale = np.array([(image + 1) / 10, 0.5])  # network pixels of an original one
        np.testing.assert_allclose(answers.points[image], (prediction.points + 0.5) * scale - 0.5, rtol=1e-12)
        np.testing.assert_allclose(answers.first_points[image] - answers.points[image], np.tile(3 * scale, (N, 1)))
        np.testing.assert_allclose(answers.covariance[image], prediction.covariance * np.outer(scale, scale))
        own = 10 * np.asarray(prediction.covariance) + 2 * np.diag(scale**-2)
        np.testing.assert_allclose(found.covariance[image], own, rtol=1e-12)
    np.testing.assert_allclose(answers.first_covariance, 4 * answers.covariance)
    np.testing.assert_array_equal(answers.outside, outside)
    np.testing.assert_array_equal(answers.missed, missed)


def test_without_calibration_there_is_no_coverage_and_it_says_so() -> None:
    view = _view(calibrated=False)
    assert view.level is None and view.uncalibrated is None
    assert view.lines[0].expected == pytest.approx(1.25 * ROUND)  # of the method's own covariance
    assert math.isnan(view.overall.coverage) and math.isnan(view.overall.area_mean)
    text = view.to_markdown()
    assert "uncalibrated: the method's own covariance, no regions" in text and "inside" not in text
    found = plain(view.to_dict())
    assert found["calibrated"] is False and found["level"] is None and found["overall"]["coverage"] is None


def test_image_without_covariance_is_left_out_of_the_methods_own_spread() -> None:
    predictions, _ = _hand_worked()
    predictions[0].covariance = None
    view = _seen(predictions, NAMES)
    assert view is not None and (view.images, view.overall.points) == (3, 5)
    assert view.lines[0].actual == pytest.approx(3.0)


def test_units_without_mm() -> None:
    predictions, spreads = _hand_worked()
    bare = [replace(each, spacing=None) for each in predictions]
    grid = [replace(each, length_unit="px256") for each in predictions]
    for given, unit, shown in ((bare, None, "px"), (predictions, "px", "px"), (grid, None, "px256")):
        view = _seen(given, NAMES, spreads, unit=unit, radius=3.0)
        assert view is not None and view.unit == shown and view.by_point.radius == 3.0
        assert view.lines[0].actual == pytest.approx(2.5 if shown == "px256" else 5.0)
    assert "px of 256x256" in view.to_markdown() and "(px of 256x256)²" in view.to_markdown()


def test_there_is_no_view_without_spread_or_truth() -> None:
    predictions, spreads = _hand_worked()
    assert _seen([replace(each, covariance=None) for each in predictions], NAMES) is None
    unknown = [replace(each, annotations=each.annotations * NAN) for each in predictions]
    assert _seen(unknown, NAMES, spreads) is None


def test_wrong_spreads_are_named() -> None:
    predictions, spreads = _hand_worked()
    with pytest.raises(MetricError, match="spreads of 4 images for 3 predictions"):
        _seen(predictions[:3], NAMES, spreads)
    with pytest.raises(MetricError, match="regions and their level belong together"):
        _seen(predictions, NAMES, replace(spreads, level=None))
    predictions[2].covariance = np.eye(2)
    with pytest.raises(MetricError, match=r"2: found a covariance of shape \(2, 2\), expected \(2, 2, 2\)"):
        _seen(predictions, NAMES)


def test_csv_holds_every_number_and_nothing_that_a_spreadsheet_runs(tmp_path) -> None:
    view = _view()
    text = write_spread_csv(tmp_path / "spread.csv", view).read_bytes().decode()
    chin, nose, whole = csv.DictReader(io.StringIO(text))
    assert (chin["number"], chin["landmark"], nose["landmark"]) == ("1", "chin", "'=nose")
    assert (whole["number"], whole["landmark"], whole["points"], whole["level"]) == ("", "all", "7", "0.9")
    assert float(whole["coverage"]) == pytest.approx(5 / 7, abs=5e-7)
    assert float(chin["area_median"]) == pytest.approx(math.pi * 6.25, abs=5e-7)
    assert (float(chin["coverage_low"]), float(chin["coverage_high"])) == pytest.approx(
        (view.lines[0].low, view.lines[0].high), abs=5e-7
    )
    assert nose["spearman"] == "" and chin["unit"] == "mm" and float(chin["actual_error"]) == 2.5
    assert "nan" not in text and "\r" not in text and not list(tmp_path.glob(".tmp*"))
    text = write_spread_csv(tmp_path / "spread.csv", _view(calibrated=False)).read_text()
    assert next(csv.DictReader(io.StringIO(text)))["coverage"] == ""


def test_table_says_what_it_shows_and_fits_80_columns() -> None:
    predictions, spreads = _hand_worked()
    view = _seen(predictions, ("lower incisal incision", "nose"), spreads)
    console = Console(width=80, file=io.StringIO())
    console.print(view)
    printed = console.file.getvalue()
    row = next(line for line in printed.splitlines() if line.startswith("1 lower incisal incision"))
    # Wilson's interval of 2 of 4; a circle of 2.5 mm; 2.5 root(pi / 2).
    assert row.split()[-6:] == ["50.0", "15.0-85.0", "19.63", "3.13", "2.50", "1.00"]
    assert "regions of stated 90 %; 7 points of 4 images; truth: mean of the 2" in printed
    kept = next(line for line in printed.splitlines() if line.startswith("100 %"))
    assert kept.split()[2:] == ["1.86", "1.86", "57.1", "2.00", "2.00", "50.0"]
    assert view is not None and "| all | 7 | 71.4 |" in view.to_markdown()


def test_json_block_is_plain() -> None:
    view = _view()
    block = json.loads(json.dumps(plain(view.to_dict()), allow_nan=False))
    assert block["overall"]["coverage"] == pytest.approx(5 / 7) and block["landmarks"][1]["rank"] is None
    assert len(block["reliability"]["expected"]) == len(block["reliability_uncalibrated"]["low"]) == 7
    assert block["abstention"]["points"]["kept"][0] == pytest.approx(
        {"share": 1.0, "mre": 13 / 7, "rate": 400 / 7, "oracle": 13 / 7}
    )
    assert block["spearman"] == {"pooled": view.ranks.pooled, "within": 1.0}


def test_figure_marks_what_misses_the_stated_level(tmp_path) -> None:
    predictions, spreads = _made_up()
    narrow = replace(spreads, regions=spreads.covariance.copy())
    orange = {}
    for name, given in {"true": spreads, "narrow": narrow}.items():
        view = _seen(predictions, tuple("abcdef"), given)
        assert view is not None
        with Image.open(spread_figure(tmp_path / f"{name}.png", view)) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        orange[name] = int((np.abs(pixels - [0xD5, 0x5E, 0x00]) < 30).all(-1).sum())
    assert orange["narrow"] > 4 * max(orange["true"], 50)


def test_figure_of_a_single_image_is_drawn_and_shows_coverage_only_of_regions(tmp_path) -> None:
    predictions, spreads = _hand_worked()
    assert spreads.regions is not None
    one = Spreads(spreads.covariance[:1], spreads.expected_error[:1], spreads.regions[:1], 0.9)
    heights = []
    for given in (one, None):
        view = _seen(predictions[:1], NAMES, given)
        assert view is not None
        with Image.open(spread_figure(tmp_path / "one.png", view)) as picture:
            heights.append(picture.height)
    assert heights[0] > heights[1] + 100

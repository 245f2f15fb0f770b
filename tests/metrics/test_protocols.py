"""Evaluation under a named protocol says how it measured, and measures that."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics import mean_radial_error, success_detection_rate
from landmark_diffusion.metrics.evaluation import misfit
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.protocols import PROTOCOLS, Protocol, get_protocol
from landmark_diffusion.metrics.records import Prediction
from tests.metrics.measured import measured

RADII = (2.0, 2.5, 3.0, 4.0)


def by_hand() -> list[Prediction]:
    """Errors against the mean: 3, 2 and 20, missing mm; senior first, 1 mm to the left of the mean."""
    annotations = np.array([[[90.0, 100.0], [90.0, 100.0]], [[110.0, 100.0], [110.0, 100.0]]])
    one = Prediction("a", 0, np.array([[130.0, 100.0], [100.0, 120.0]]), annotations, (0.1, 0.1))
    lacking = annotations.copy()
    lacking[:, 1] = math.nan
    two = Prediction("b", 1, np.array([[100.0, 300.0], [5.0, 5.0]]), lacking, (0.1, 0.1))
    return [two, one, two]  # out of order and padded, as several processes give them


def random_cases(images: int = 20, landmarks: int = 5) -> list[Prediction]:
    rng = np.random.default_rng(4)
    return [
        Prediction(f"{i}", i, rng.uniform(0, 60, (landmarks, 2)), rng.uniform(0, 60, (2, landmarks, 2)), (0.1, 0.2))
        for i in range(images)
    ]


def test_by_hand() -> None:
    result = measured(by_hand(), radii=RADII)
    assert result["unit"] == "mm"
    assert result["mre"] == pytest.approx(25 / 3)
    assert result["median"] == pytest.approx(3.0)
    assert result["std"] == pytest.approx(math.sqrt((9 + 4 + 400) / 3 - (25 / 3) ** 2))
    assert result["sdr"] == pytest.approx({2.0: 0.0, 2.5: 100 / 3, 3.0: 100 / 3, 4.0: 200 / 3})
    assert result["beyond"] == pytest.approx(100 / 3)
    assert result["landmark_mre"] == pytest.approx([11.5, 2.0])
    assert result["landmark_sdr"][4.0] == pytest.approx([50.0, 100.0])
    assert (result["images"], result["points"], result["missing"]) == (2, 3, 1)


def test_pixels_say_so() -> None:
    result = measured(by_hand(), radii=(25.0,), unit="px")
    assert result["unit"] == "px"
    assert result["mre"] == pytest.approx(250 / 3)
    assert result["sdr"] == pytest.approx({25.0: 100 / 3})
    assert result["beyond"] is None
    assert "25 px" in result["protocol"]


def test_pixels_of_the_256_grid_say_so() -> None:
    cases = [replace(case, length_unit="px256") for case in by_hand()]
    result = measured(cases, radii=(3.0,))
    assert (result["unit"], result["beyond"]) == ("px256", None)
    assert result["mre"] == pytest.approx(25 / 3)
    assert "error < 3 px of 256x256" in result["protocol"]
    assert measured(cases, radii=(25.0,), unit="px")["mre"] == pytest.approx(250 / 3)


def test_truth_strictness_and_radii_are_those_of_the_protocol() -> None:
    senior = measured(by_hand(), replace(PROTOCOLS["default"], truth="senior"), radii=RADII)
    assert senior["landmark_mre"] == pytest.approx([(4 + math.hypot(1, 20)) / 2, math.hypot(1, 2)])
    each = measured(by_hand(), replace(PROTOCOLS["default"], truth="each"), radii=RADII)
    assert each["points"] == 6
    assert each["landmark_mre"] == pytest.approx([(4 + 2 + 2 * math.hypot(1, 20)) / 4, math.hypot(1, 2)])
    loose = measured(by_hand(), replace(PROTOCOLS["default"], strict=False), radii=RADII)
    assert loose["sdr"] == pytest.approx({2.0: 100 / 3, 2.5: 100 / 3, 3.0: 200 / 3, 4.0: 200 / 3})
    assert tuple(measured(by_hand(), "paper_a")["sdr"]) == (2.0, 2.5, 4.0)
    assert tuple(measured(by_hand(), "contour_hugging")["sdr"]) == RADII


def test_agrees_with_the_torch_metrics() -> None:
    cases = random_cases()
    predicted = torch.from_numpy(np.stack([case.points for case in cases]))
    target = torch.from_numpy(np.stack([case.truth for case in cases]))
    spacing = torch.tensor([0.1, 0.2], dtype=torch.float64)
    result = measured(cases, radii=RADII)
    assert result["mre"] == pytest.approx(mean_radial_error(predicted, target, spacing).item(), rel=1e-13)
    rates = success_detection_rate(predicted, target, spacing, radii=RADII)
    assert result["sdr"] == pytest.approx({radius: rate.item() for radius, rate in rates.items()}, rel=1e-13)


def test_contour_hugging_s_network_grid_gives_the_distances_of_the_original_frame() -> None:
    # Their code: points times one factor (padding keeps the aspect), distance there, times mm per network pixel.
    factor = 2400 / 800
    cases = [replace_spacing(case) for case in random_cases()]
    theirs = [np.linalg.norm(case.points / factor - case.truth / factor, axis=-1) * 0.1 * factor for case in cases]
    assert measured(cases, "contour_hugging")["mre"] == pytest.approx(np.mean(theirs), rel=1e-13)


def replace_spacing(case: Prediction) -> Prediction:
    return replace(case, spacing=(0.1, 0.1))


def test_result_survives_json() -> None:
    result = measured(random_cases(), radii=RADII)
    again = json.loads(json.dumps(result, allow_nan=False))
    assert again["mre"] == result["mre"]
    assert again["sdr"]["2.5"] == result["sdr"][2.5]


def test_every_protocol_says_its_rules_in_one_line() -> None:
    for name, protocol in PROTOCOLS.items():
        line = protocol.describe(RADII, "mm")
        assert name == protocol.name
        assert "\n" not in line
        frame = "original frame, unrounded" if protocol.frame == "original" else "256x256 grid, truth and prediction"
        assert all(part in line for part in (name, "mean of the annotators", frame, "error <"))
    assert "2 / 2.5 / 4 mm" in PROTOCOLS["paper_a"].describe()
    assert "the dataset's radii" in PROTOCOLS["default"].describe()
    assert "error <= 6 px" in replace(PROTOCOLS["default"], strict=False, radii=(6.0,), unit="px").describe()


def test_faults_are_told() -> None:
    with pytest.raises(UserError, match="'paper_A'; did you mean paper_a"):
        get_protocol("paper_A")
    with pytest.raises(UserError, match="known: default, paper_a, contour_hugging, paper_b, paper_b_hand"):
        get_protocol("zzz")
    with pytest.raises(MetricError, match="no predictions"):
        measured([], radii=RADII)
    with pytest.raises(MetricError, match="leaves the radii to the dataset"):
        measured(by_hand())
    with pytest.raises(UserError, match="frame is 'network'"):
        Protocol("x", frame="network")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="truth is 'median'"):
        Protocol("x", truth="median")  # type: ignore[arg-type]


def test_data_that_do_not_fit_the_protocol_are_told() -> None:
    cases = random_cases()
    junior = replace(PROTOCOLS["default"], truth="junior")
    with pytest.raises(MetricError, match=r"0: the protocol's truth is the junior .* found 1 annotator"):
        measured([replace(cases[0], annotations=cases[0].annotations[:1])], junior, radii=RADII)
    with pytest.raises(MetricError, match=r"others none \(3\)"):
        measured([*cases[:3], replace(cases[3], spacing=None)], radii=RADII)
    grid = [replace(case, length_unit="px256") for case in cases[3:5]]
    with pytest.raises(MetricError, match="different units: mm, px256"):
        measured([*cases[:3], *grid], radii=RADII)
    with pytest.raises(MetricError, match="an error in mm needs the spacing in mm"):
        measured(grid, "paper_a")
    with pytest.raises(MetricError, match="an error in mm needs the spacing"):
        measured([replace(cases[3], spacing=None)], "paper_a")
    with pytest.raises(MetricError, match="different numbers of landmarks"):
        measured([cases[0], Prediction("z", 99, np.zeros((2, 2)), np.zeros((2, 2, 2)), (1, 1))], radii=RADII)
    with pytest.raises(MetricError, match="none of the predictions has a truth"):
        measured([replace(cases[0], annotations=np.full((1, 5, 2), math.nan))], radii=RADII)


def unmeasured(spacing: tuple[float, float] | None, annotators: int = 1, landmarks: int = 5) -> list[Prediction]:
    """An image of the user's own, of which nothing is found yet."""
    truth = np.random.default_rng(0).uniform(20, 80, (annotators, landmarks, 2))
    return [Prediction("own", 0, np.full((landmarks, 2), np.nan), truth, spacing, image_size=(100, 100))]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("spacing", [None, (0.1, 0.1)])
@pytest.mark.parametrize("landmarks", [3, 5])
def test_a_misfit_is_what_evaluate_will_raise(name: str, spacing: tuple[float, float] | None, landmarks: int) -> None:
    """Told before the hours of a test, and nothing is told that could be measured after all."""
    cases = unmeasured(spacing, landmarks=landmarks)
    fault = misfit(cases, name)
    found = [replace(case, points=case.truth + 1) for case in cases]
    if fault is None:
        assert measured(found, name, radii=RADII if PROTOCOLS[name].radii is None else None)["points"] == landmarks
        return
    with pytest.raises(MetricError) as told:
        measured(found, name, radii=RADII)
    assert fault == str(told.value)


def test_what_does_not_fit_ones_own_images() -> None:
    assert "needs the spacing" in str(misfit(unmeasured(None), "paper_b"))
    assert "needs the spacing in mm" in str(misfit(unmeasured(None), "paper_a"))
    assert "landmarks 1 and 5, found 3" in str(misfit(unmeasured((0.1, 0.1), landmarks=3), "paper_b_hand"))
    junior = replace(PROTOCOLS["default"], truth="junior")
    assert "found 1 annotator(s)" in str(misfit(unmeasured(None), junior))
    assert misfit(unmeasured(None, annotators=2), junior) is None

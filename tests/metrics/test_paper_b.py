"""Protocol paper_b gives the number that the released code of paper B would print for the same points."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics.functional import MetricError
from landmark_diffusion.metrics.grid256 import redrawn
from landmark_diffusion.metrics.protocols import PROTOCOLS, Protocol
from landmark_diffusion.metrics.records import Prediction
from tests.metrics.measured import measured, radial_errors

CEPH = (1935, 2400)
RADII = (2.0, 2.5, 3.0, 4.0)
WIDE, HIGH = 0.1 * 1935 / 256, 0.1 * 2400 / 256  # mm of a grid pixel: 0.756 and 0.9375


def at_grid(points: object, size: tuple[int, int] = CEPH) -> np.ndarray:
    """Original pixels of points given on the grid."""
    return np.asarray(points, dtype=float) * size / 256


def ceph(points: object, truth: object, spacing: tuple[float, float] | None = (0.1, 0.1)) -> Prediction:
    """One annotator's cephalogram, points given on the grid."""
    return Prediction("a", 0, at_grid(points), at_grid([truth]), spacing, image_size=CEPH)


def random_cephs(images: int = 60, seed: int = 0) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    found = []
    for index in range(images):
        truth = rng.uniform(150, (1785, 2250), (19, 2))
        points = truth + rng.normal(0, 20, (19, 2))
        annotations = truth + rng.normal(0, 10, (2, 19, 2))
        found.append(Prediction(f"{index}", index, points, annotations, (0.1, 0.1), image_size=CEPH))
    return found


def test_both_points_are_rounded_to_the_grid_before_they_are_compared() -> None:
    # 100.4 and 100.6 lie 0.2 px apart and become neighbours; 100.6 and 101.4 lie 0.8 px apart and become one.
    case = ceph([[100.4, 50.0], [100.6, 50.0]], [[100.6, 50.0], [101.4, 50.0]])
    np.testing.assert_allclose(radial_errors([case], "paper_b", "px256")[0], [1.0, 0.0])
    # Halves go to the even number, up or down.
    half = Prediction("h", 0, np.array([[1.0, 3.0], [5.0, 0.0]]), np.zeros((1, 2, 2)) + 60, image_size=(512, 512))
    moved = np.array([[30.0, 30.0]]) - [[0, 2], [2, 0]]  # 0.5 -> 0, 1.5 -> 2, 2.5 -> 2
    np.testing.assert_allclose(radial_errors([half], "paper_b", "px256")[0], np.hypot(*moved.T))


def test_half_pixels_between_grid_and_image_cancel() -> None:
    # A prediction exactly on the annotation is no error, wherever it lies in its grid pixel.
    cases = [replace(case, points=case.truth) for case in random_cephs()]
    assert measured(cases, "paper_b", RADII)["mre"] == 0.0


def test_a_grid_pixel_of_a_cephalogram_has_the_axes_factors_in_the_released_order() -> None:
    case = ceph([[101.0, 50.0], [100.0, 51.0], [103.0, 54.0]], [[100.0, 50.0]] * 3)
    # The pixel's true size, x before y, ...
    own = replace(PROTOCOLS["paper_b"], scale="spacing")
    np.testing.assert_allclose(
        radial_errors([case], own)[0], [0.755859375, 0.9375, math.hypot(3 * WIDE, 4 * HIGH)], rtol=1e-12
    )
    # ... and what the code prints: x times 2400 / 256, y times 1935 / 256.
    found = measured([case], "paper_b", RADII)
    expected = [0.9375, 0.755859375, math.hypot(3 * HIGH, 4 * WIDE)]
    np.testing.assert_allclose(found["landmark_mre"], expected, rtol=1e-12)
    assert found["unit"] == "mm" and found["beyond"] == 0.0
    assert "256x256 grid, truth and prediction rounded" in found["protocol"] and "<= 2 / 2.5" in found["protocol"]
    assert "x by the spacing of y" in found["protocol"]


def test_an_error_equal_to_the_radius_is_a_hit_only_here() -> None:
    # 3 grid px of a chest radiograph: a hit within 3 px under <=, none under <.
    case = Prediction(
        "c", 0, at_grid([[103.0, 50.0], [100.0, 54.0]], (3000, 2900)), at_grid([[[100.0, 50.0]] * 2], (3000, 2900)),
        (256 / 3000, 256 / 2900), length_unit="px256", image_size=(3000, 2900),
    )  # fmt: skip
    released, honest = measured([case], "paper_b", (3, 6, 9)), measured([case], "default", (3, 6, 9))
    assert released["unit"] == honest["unit"] == "px256"
    assert released["beyond"] is None and honest["beyond"] is None
    assert released["mre"] == 3.5 and honest["mre"] == pytest.approx(3.5, abs=1e-12)
    assert released["sdr"] == {3.0: 50.0, 6.0: 100.0, 9.0: 100.0}
    assert honest["sdr"] == {3.0: 0.0, 6.0: 100.0, 9.0: 100.0}
    assert "<= 3 / 6 / 9 px of 256x256" in released["protocol"] and "spacing of y" not in released["protocol"]


def test_hands_are_scaled_by_the_wrist_on_the_grid() -> None:
    # Wrist ends 30 px right and 40 px down on the grid after rounding: 50 grid px, so 1 mm a grid px on both axes,
    # whatever the spacing of the record says.
    size = (1200, 2200)
    truth = np.array([[60.3, 100.2], [80, 80], [90, 60], [120, 70], [89.6, 140.4]])
    points = truth.copy()
    points[1] = [83, 84]
    case = Prediction("hand", 0, at_grid(points, size), at_grid([truth], size), (0.2, 0.2), image_size=size)
    found = measured([case], "paper_b_hand", (2, 4, 10))
    np.testing.assert_allclose(found["landmark_mre"], [0, 5.0, 0, 0, 0])
    assert found["unit"] == "mm" and found["sdr"] == {2.0: 80.0, 4.0: 80.0, 10.0: 100.0}
    # The truth's wrist, not the prediction's.
    shifted = replace(case, points=case.points + at_grid([[0, 10]], size) * [[1], [0], [0], [0], [0]])
    assert measured([shifted], "paper_b_hand", (2, 4, 10))["landmark_mre"][1] == pytest.approx(5.0)
    assert measured([replace(case, spacing=None)], "paper_b_hand", (2, 4, 10))["mre"] == pytest.approx(1.0)


def test_a_truth_at_the_border_moves_inwards_with_its_cut_disc() -> None:
    inside = np.array([[5.0, 5.0], [250.4, 128.0], [100.0, 249.6]])
    np.testing.assert_array_equal(redrawn(inside), np.rint(inside))
    # At the left border half a disc is left: columns 0 to 5 whose outline reaches 5, 5, 5, 5, 4, 3 px up and down,
    # at radius sqrt(34.66): x = 0..5 -> floor(sqrt(34.66 - x^2)) = 5, 5, 5, 5, 4, 3. Its centroid by the trapezoids.
    reach = np.array([5.0, 5, 5, 5, 4, 3])
    area = (reach[1:] + reach[:-1]).sum()
    first = sum(2 * ((a + b) / 2 * x + a / 6 + b / 3) for x, (a, b) in enumerate(pairwise(reach)))
    np.testing.assert_allclose(redrawn(np.array([[0.2, 99.7]])), [[first / area, 100.0]], rtol=1e-12)
    # Mirrored and turned, it is the same.
    np.testing.assert_allclose(
        redrawn(np.array([[255.0, 100.0], [100.0, 0.0], [100.0, 255.0]])),
        [[255 - first / area, 100.0], [100.0, first / area], [100.0, 255 - first / area]],
        rtol=1e-12,
    )
    assert np.isnan(redrawn(np.full((1, 2), np.nan))).all()
    # An annotation one pixel outside the image is seen, and comes back inside.
    assert (redrawn(np.array([[-1.0, 100.0]])) > 0).all()


def test_rounding_hides_at_most_half_a_diagonal_on_each_side() -> None:
    cases = random_cephs()
    diagonal = math.hypot(WIDE, HIGH)
    honest = radial_errors(cases)
    rounded = radial_errors(cases, replace(PROTOCOLS["paper_b"], scale="spacing"))
    assert np.abs(honest - rounded).max() <= diagonal
    assert np.abs(honest - rounded).max() > diagonal / 2  # 1,140 points: the bound is nearly met
    # The released order of the factors adds at most their ratio, 24 %, on either side.
    released = radial_errors(cases, "paper_b")
    assert (released <= rounded * HIGH / WIDE + 1e-9).all() and (released >= rounded * WIDE / HIGH - 1e-9).all()


def test_rounding_the_truth_alone_is_the_third_of_a_millimetre_that_the_table_warns_of() -> None:
    cases = random_cephs(400)
    rounding = [
        np.linalg.norm((np.rint(c.truth / CEPH * 256) - c.truth / CEPH * 256) * [WIDE, HIGH], axis=-1) for c in cases
    ]
    assert np.mean(rounding) == pytest.approx(0.325, abs=0.005)  # facts.md
    assert "0.3 mm" in PROTOCOLS["paper_b"].caution


def test_missing_points_are_left_out_and_the_truth_is_the_mean_of_both() -> None:
    annotations = at_grid([[[99, 50], [10, 10]], [[101, 52], [10, 10]]])
    annotations[:, 1] = np.nan
    case = Prediction("a", 0, at_grid([[100, 53], [0, 0]]), annotations, (0.1, 0.1), image_size=CEPH)
    found = measured([case], "paper_b", RADII)
    assert (found["points"], found["missing"]) == (1, 1)
    assert found["mre"] == pytest.approx(2 * WIDE)  # two px down, by the width's factor


def test_what_is_missing_is_told_with_what_is_needed() -> None:
    case = ceph([[100.0, 50.0]], [[101.0, 50.0]])
    with pytest.raises(MetricError, match=r"a: errors on the 256x256 grid need the image's size.*image_size=\(W, H\)"):
        measured([replace(case, image_size=None)], "paper_b", RADII)
    with pytest.raises(MetricError, match=r"a: .* mm, which needs the spacing, or in px256"):
        measured([replace(case, spacing=None)], "paper_b", RADII)
    with pytest.raises(MetricError, match="needs landmarks 1 and 5, found 1"):
        measured([case], "paper_b_hand", RADII)
    five = ceph([[9.0, 9.0]] * 5, [[9.2, 9.1]] * 5)
    with pytest.raises(MetricError, match="1 and 5 at two places"):
        measured([five], "paper_b_hand", RADII)
    case.points[0] = np.nan
    with pytest.raises(MetricError, match="a: predicted point 0"):
        measured([case], "paper_b", RADII)
    with pytest.raises(UserError, match="scale is 'swapped' in the frame 'original'"):
        Protocol("x", scale="swapped")
    with pytest.raises(UserError, match="frame is 'grid256' and rounding 'none'"):
        Protocol("x", frame="grid256")


def test_real_annotators_differ_by_the_same_within_the_rounding(shared_data) -> None:
    folder: Path = shared_data("isbi2015")
    cases = []
    for number in range(1, 151):
        senior, junior = (
            np.loadtxt(folder / f"400_{who}" / f"{number:03}.txt", delimiter=",", max_rows=19)
            for who in ("senior", "junior")
        )
        cases.append(Prediction(f"{number:03}", number, junior, senior[None], (0.1, 0.1), image_size=CEPH))
    honest = measured(cases, "default", RADII)["mre"]
    assert honest == pytest.approx(2.35, abs=0.01)
    # Means over 2,850 points differ by far less than single points: by what the swapped factors and rounding leave.
    assert abs(measured(cases, "paper_b", RADII)["mre"] - honest) < 0.3
    unswapped = radial_errors(cases, replace(PROTOCOLS["paper_b"], scale="spacing"))
    assert np.abs(unswapped - radial_errors(cases)).max() <= math.hypot(WIDE, HIGH)

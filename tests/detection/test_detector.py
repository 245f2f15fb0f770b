"""Detector: the same radiograph gives the same points however it comes, and the regions hold what they state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from landmark_diffusion import DiffusionHeatmapModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.readers.radiograph import Radiograph, read_radiograph
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.detector import UNLIKE_NOTE, Detector, check_spacing, network_input
from landmark_diffusion.detection.reasons import reason_note
from landmark_diffusion.methods.heatmap_finetune import HeatmapFinetuneModule
from landmark_diffusion.modelfile.model_file import read_facts, write_model_file
from landmark_diffusion.spread.calibration import LEVELS
from landmark_diffusion.spread.model_calibration import Calibration
from landmark_diffusion.spread.statistics import covered, region_area
from tests.detection.bad_inputs import deep, write_dicom
from tests.detection.tiny_model import (
    IMAGES,
    NAMES,
    answers_of,
    as_radiograph,
    facts,
    made_up_residuals,
    make_calibration,
    picture,
    pictures,
    write_other,
    write_positions,
)
from tests.methods.tiny_positions import H, N, W, module

SHIPPED = Path(__file__).parents[2] / "weights" / "ceph_small.ldx"
BATCH_TOLERANCE = 1e-3
"""Network pixels between batches of other sizes: convolutions may add up in another order; 1e-5 was found."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx")


@pytest.fixture(scope="module")
def calibration(model: Path) -> Calibration:
    return make_calibration(model)


@pytest.fixture(scope="module")
def calibrated(model: Path, calibration: Calibration) -> Path:
    return write_positions(model.with_name("calibrated.ldx"), calibration)


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    return Detector.load(model)


def refusal(action: Callable[[], object]) -> str:
    """The one line that an action is refused with."""
    with pytest.raises(UserError) as refused:
        action()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def write_all_depths(folder: Path, grey: np.ndarray) -> list[Path]:
    """The same picture as 8, 16 and 12-in-16 bit files; the DICOM files say 0.1 mm."""
    spacing = {"ImagerPixelSpacing": [0.1, 0.1]}
    Image.fromarray(grey).save(folder / "8.png")
    Image.fromarray(deep(16, grey)).save(folder / "16.tif")
    Image.fromarray(deep(12, grey)).save(folder / "12_in_16.tif")
    return [
        folder / "8.png", folder / "16.tif", folder / "12_in_16.tif", write_dicom(folder / "8.dcm", grey, **spacing),
        write_dicom(folder / "12_in_16.dcm", deep(12, grey), BitsStored=12, **spacing),
    ]  # fmt: skip


# ---- the same picture, the same points ------------------------------------------------------------------------------


def check_depths(detector: Detector, folder: Path, grey: np.ndarray) -> None:
    """One grey goes into the network whatever the file, so that the points are the same to the last bit."""
    plain, *others = write_all_depths(folder, grey)
    wanted = detector(plain)
    with_option = detector(plain, spacing=0.1)
    for path in others:
        found = detector(path)
        np.testing.assert_array_equal(found.points, wanted.points)
        if path.suffix == ".dcm":
            assert (found.spacing, found.spacing_source) == ((0.1, 0.1), "ImagerPixelSpacing")
            np.testing.assert_array_equal(found.points_mm, with_option.points_mm)


def test_points_do_not_depend_on_the_depth_or_kind_of_the_file(detector: Detector, tmp_path: Path) -> None:
    check_depths(detector, tmp_path, picture(0))


def test_real_radiograph_gives_the_same_points_from_each_kind_of_file(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Issue 6, "Done when" 1: PNG, 16-bit TIFF and DICOM with 0.1 mm within 0.01 px, and the same mm."""
    source = sorted((shared_data("isbi2015") / "cepha400").glob("*.jpg"))[200]
    detector = Detector.load(SHIPPED)
    grey = read_radiograph(source).grey
    check_depths(detector, tmp_path, grey)
    found = detector(source)
    np.testing.assert_array_equal(found.points, detector(tmp_path / "16.tif").points)
    assert found.points.shape == (19, 2) and found.size == grey.shape[::-1]
    assert ((found.points > 0) & (found.points < found.size)).all()


def test_path_text_array_and_radiograph_are_taken_alike(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(0)).save(path)
    by_path = detector(path)
    assert (by_path.name, by_path.path, by_path.size) == ("a", str(path), (150, 200))
    assert by_path.landmark_names == NAMES and by_path.model == "tiny.ldx"
    for same in (str(path), picture(0), np.repeat(picture(0)[..., None], 3, -1), read_radiograph(path)):
        np.testing.assert_array_equal(detector(same).points, by_path.points)
    assert detector(picture(0)).name == detector(picture(0)).path == "image"
    assert detector(picture(0), name="b").path == "b" and detector(path, name="b").path == str(path)


def test_view_of_an_array_is_read_as_what_it_shows(detector: Detector) -> None:
    """A mirrored or transposed view lies in memory in another order."""
    wide = np.repeat(picture(0, (300, 200)), 2, 0)
    for view in (wide[:, ::-1], wide[::2], wide.T, np.asfortranarray(wide)):
        np.testing.assert_array_equal(detector(view).points, detector(view.copy()).points)


def test_colour_array_is_read_as_its_file(detector: Detector, tmp_path: Path) -> None:
    colour = np.stack([picture(0), picture(1), picture(2)], -1)
    Image.fromarray(colour).save(tmp_path / "c.png")
    np.testing.assert_array_equal(detector(colour).points, detector(tmp_path / "c.png").points)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.zeros((9, 9)), "array of float64 and shape (9, 9), expected uint8"),
        (np.zeros((9, 9), np.uint16), "uint16"),
        (np.zeros((9, 9, 4), np.uint8), "shape (9, 9, 4)"),
        (np.zeros((1, 9, 9), np.uint8), "shape (1, 9, 9)"),
        (np.zeros((9,), np.uint8), "shape (9,)"),
        (np.zeros((0, 9), np.uint8), "shape (0, 9)"),
        (torch.zeros(9, 9, dtype=torch.uint8), "found a Tensor"),
        ([[0, 1]], "found a list"),
        (None, "found a NoneType"),
        ("gone.png", "gone.png: the image file does not exist"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(detector: Detector, wrong: Any, says: str) -> None:
    assert says in refusal(lambda: detector(wrong))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3000, 2), (64, 80), (4000, 3)])
def test_image_of_any_size_has_points_within_it_or_at_its_edge(detector: Detector, size: tuple[int, int]) -> None:
    found = detector(np.full(size[::-1], 128, np.uint8))
    reach = 20 * np.maximum(np.array(size) / (W, H), 1)  # a chain may leave the image by a part of a window
    assert np.isfinite(found.points).all()
    assert (found.points > -reach).all() and (found.points < np.array(size) + reach).all()


# ---- neither batch nor order nor name -------------------------------------------------------------------------------


def test_points_do_not_depend_on_batch_order_or_name(model: Path) -> None:
    """Samples too: their noise belongs to the image's content."""
    detector = Detector.load(model, samples=3)
    radiographs = pictures(5, first=0)
    alone = [detector(each).points for each in radiographs]
    found = detector.detect(radiographs, list("abcde"), list("abcde"))
    backwards = detector.detect(radiographs[::-1], list("vwxyz"), list("vwxyz"))[::-1]
    for one, first, second in zip(alone, found, backwards, strict=True):
        tolerance = BATCH_TOLERANCE * 150 / W
        np.testing.assert_allclose(first.points, one, rtol=0, atol=tolerance)
        np.testing.assert_allclose(second.points, one, rtol=0, atol=tolerance)
    assert np.abs(alone[0] - alone[1]).max() > 1  # else all of this would hold for points that never move


def test_samples_repeat_by_the_stored_seed_and_differ_by_another(model: Path) -> None:
    first, again = (Detector.load(model, samples=2)(picture(0)) for _ in range(2))
    stored, other = (Detector.load(model, samples=2, seed=seed)(picture(0)) for seed in (3, 4))
    assert read_facts(model).seed == first.settings["seed"] == 3
    for same in (again, stored):
        np.testing.assert_array_equal(same.points, first.points)
    assert np.abs(other.points - first.points).max() > 0.01
    assert other.settings["seed"] == 4


def test_one_run_without_noise_does_not_depend_on_the_seed(model: Path) -> None:
    first, other = (Detector.load(model, seed=seed)(picture(0)) for seed in (3, 4))
    np.testing.assert_array_equal(other.points, first.points)


def test_training_in_the_same_process_changes_nothing(
    detector: Detector, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``seed_everything`` leaves a seed in the environment."""
    sampling = Detector.load(model, samples=2)
    before = sampling(picture(0)).points
    monkeypatch.setenv("PL_GLOBAL_SEED", "77")
    torch.manual_seed(5)
    np.testing.assert_array_equal(sampling(picture(0)).points, before)


# ---- geometry and spacing -------------------------------------------------------------------------------------------


def block(factor: int) -> np.ndarray:
    """A picture with ``factor`` x ``factor`` pixels of one grey for each of the network's: resized it is the same."""
    return np.kron(picture(0, (W, H)), np.ones((factor, factor), np.uint8))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_larger_image_has_its_points_and_spread_in_its_own_pixels(calibrated: Path, factor: int) -> None:
    """Pixel centres are at integers, so a point x of the small image is (x + 0.5) f - 0.5 of the large one."""
    detector = Detector.load(calibrated)
    small, large = detector(block(1)), detector(block(factor))
    np.testing.assert_allclose(large.points, (small.points + 0.5) * factor - 0.5, rtol=1e-12)
    np.testing.assert_allclose(large.covariance, factor**2 * small.covariance, rtol=1e-9)
    np.testing.assert_allclose(large.regions, factor**2 * small.regions, rtol=1e-9)
    np.testing.assert_allclose(large.expected_error, factor * small.expected_error, rtol=1e-9)
    assert large.image_score == small.image_score


def test_stretched_image_has_its_spread_stretched(calibrated: Path) -> None:
    """3 times as wide alone: x variances 9 times, covariances 3 times."""
    detector = Detector.load(calibrated)
    plain, wide = detector(block(1)), detector(np.repeat(block(1), 3, 1))
    np.testing.assert_allclose(wide.regions, plain.regions * [[9, 3], [3, 1]], rtol=1e-9)


def test_option_goes_before_the_spacing_of_the_file(detector: Detector, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", picture(0), ImagerPixelSpacing=[0.2, 0.1])  # row, column: y, x
    found, given = detector(path), detector(path, spacing=(0.3, 0.4))
    assert (found.spacing, found.spacing_source) == ((0.1, 0.2), "ImagerPixelSpacing")
    np.testing.assert_array_equal(found.points_mm, found.points * [0.1, 0.2])
    assert (given.spacing, given.spacing_source) == ((0.3, 0.4), "option")
    np.testing.assert_array_equal(given.points_mm, given.points * [0.3, 0.4])
    assert detector(path, spacing=0.5).spacing == (0.5, 0.5)


def test_without_spacing_there_are_pixels_alone(detector: Detector) -> None:
    found = detector(picture(0))
    assert found.spacing is None and found.points_mm is None and found.spacing_source == "unknown"


def test_spacing_that_is_not_calibrated_is_noted(detector: Detector, tmp_path: Path) -> None:
    found = detector(write_dicom(tmp_path / "a.dcm", picture(0), PixelSpacing=[0.1, 0.1]))
    assert found.spacing_source == "PixelSpacing (uncalibrated)" and "not calibrated" in " ".join(found.notes)


def test_a_spacing_that_makes_it_metres_large_is_noted(detector: Detector, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", picture(), PixelSpacing=[50, 50])
    for found in (detector(path), detector(picture(), spacing=50)):
        (note,) = [each for each in found.notes if "makes an image of" in each]
        assert note.startswith("A spacing of 50 mm a pixel makes an image of 150x200 px 7.5 m wide and 10 m high")
    assert not any("makes an image" in each for each in detector(picture(), spacing=0.5).notes)


@pytest.mark.parametrize("wrong", [0, -0.1, float("nan"), float("inf"), (), (0.1, 0), (1, 1, 1), [[1, 1]], "tenth"])
def test_spacing_that_is_none_is_refused(wrong: Any) -> None:
    assert "expected mm per pixel above 0: one value, or two for x and y" in refusal(lambda: check_spacing(wrong))


# ---- settings -------------------------------------------------------------------------------------------------------


def test_one_step_gives_the_first_guess(model: Path) -> None:
    chain, first = Detector.load(model), Detector.load(model, steps=1)
    image = torch.from_numpy(picture(0, (W, H)))[None].float() / 255
    frame = Frame.fit((W, H), (W, H))
    guess = chain.answers(chain.find([image])).first_points
    assert guess is not None
    np.testing.assert_allclose(first(picture(0, (W, H))).points, frame.to_original(guess[0]), atol=1e-6)
    assert first.settings["variant"] == "single-step" and chain.settings["variant"] == "multi-step"


def test_fast_takes_the_methods_own_few_steps_and_gives_way_to_steps(model: Path) -> None:
    fast = Detector.load(model, fast=True)
    assert fast.settings["steps"] == fast.module.fast_steps == 2
    assert Detector.load(model, fast=True, steps=3).settings["steps"] == 3
    assert Detector.load(model).settings["steps"] == read_facts(model).model["sampling"]["steps"] == 5
    np.testing.assert_array_equal(fast(picture(0)).points, Detector.load(model, steps=2)(picture(0)).points)


def test_results_say_what_they_were_found_with(model: Path) -> None:
    found = Detector.load(model, steps=3, samples=2, decoder="argmax", spread="samples")(picture(0))
    assert found.settings == {
        "variant": "multi-step", "steps": 3, "samples": 2, "decoder": "argmax", "spread": "samples", "seed": 3
    }  # fmt: skip
    assert found.model == "tiny.ldx"


def test_spread_of_maps_and_of_samples_add_up(model: Path) -> None:
    within, between, both = (
        Detector.load(model, samples=4, spread=spread)(picture(0)) for spread in ("heatmap", "samples", "both")
    )
    assert within.covariance is not None and between.covariance is not None and both.covariance is not None
    np.testing.assert_allclose(within.covariance + between.covariance, both.covariance, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(within.points, both.points)
    assert (np.linalg.eigvalsh(both.covariance) > 0).all()
    assert np.abs(between.covariance).max() > 0.01


def test_decoder_is_the_one_asked_for(tmp_path: Path) -> None:
    """The hottest pixel is a whole one of the network, the maps' mean is not."""
    path = write_other(tmp_path / "h.ldx", HeatmapFinetuneModule)
    image = picture(0, (W, H))
    hottest, mean = (Detector.load(path, decoder=kind)(image) for kind in ("argmax", "expectation"))
    np.testing.assert_array_equal(hottest.points, hottest.points.round())
    assert np.abs(mean.points - mean.points.round()).max() > 0.05
    assert mean.settings["decoder"] == "expectation"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "steps: found 0, expected at least 1"),
        ({"samples": -1}, "samples: found -1, expected at least 1"),
        ({"decoder": "centroid"}, "decoder: found 'centroid', expected one of argmax"),
        ({"spread": "all"}, "spread: found 'all', expected one of heatmap, samples, both"),
        ({"spread": "samples"}, "set samples to 2 or more"),
        ({"level": 0}, "level: found 0, expected a number between 0 and 1"),
        ({"level": 90}, "level: found 90"),
        ({"level": float("nan")}, "level: found nan"),
        ({"seed": -1}, "seed: found -1, expected a whole number from 0"),
        ({"device": "gpu"}, "device: found 'gpu', expected cpu, cuda or cuda:1"),
        ({"device": "meta"}, "device: 'meta' cannot be used"),
    ],
)
def test_option_that_makes_no_sense_is_refused_when_the_model_is_loaded(
    model: Path, options: dict[str, Any], says: str
) -> None:
    assert says in refusal(lambda: Detector.load(model, **options))


def test_spread_of_samples_where_none_are_drawn_is_refused(model: Path) -> None:
    """The first evaluation has no noise: eight samples of it would be one."""
    assert "need 2 steps or more" in refusal(lambda: Detector.load(model, steps=1, samples=8))


@pytest.mark.parametrize(
    ("method", "more"),
    [(HeatmapFinetuneModule, {}), (DiffusionHeatmapModule, {"diffusion": False, "sampling.samples": 3})],
)
def test_method_without_steps_says_so_and_takes_one(tmp_path: Path, method: Any, more: dict[str, Any]) -> None:
    path = write_other(tmp_path / "once.ldx", method, more)
    for option in ("steps", "samples"):
        said = refusal(lambda name=option: Detector.load(path, **{name: 4}))  # type: ignore[misc]
        assert said == f"{option}: found 4, but a {method.__name__} looks at an image once; leave it out"
        Detector.load(path, **{option: 1})
    found = Detector.load(path, fast=True)(picture(0))
    assert (found.settings["steps"], found.settings["samples"], found.settings["spread"]) == (1, 1, "heatmap")
    assert found.covariance is not None and np.isfinite(found.covariance).all()


def test_heatmap_diffusion_refuses_more_steps_than_it_was_trained_with(tmp_path: Path) -> None:
    path = write_other(tmp_path / "a.ldx", DiffusionHeatmapModule, {"noise.steps": 6})
    assert "steps: found 7, expected 1 to 6" in refusal(lambda: Detector.load(path, steps=7))
    found = Detector.load(path, steps=2, samples=2)(picture(0))
    assert found.settings["spread"] == "both" and found.covariance is not None


# ---- calibration ----------------------------------------------------------------------------------------------------


@cache
def all_detections(path: Path, level: float) -> tuple[list[Detection], np.ndarray]:
    """Detections of 200 new pictures, and made-up truth (I, N, 2) in original pixels."""
    size = (100, 300)  # which the network's grid stretches
    radiographs = pictures(200, first=5000, size=size)
    names = [str(number) for number in range(len(radiographs))]
    found = Detector.load(path, level=level).detect(radiographs, names, names)
    answers = answers_of(Detector.load(path), radiographs)
    residuals = made_up_residuals(answers.covariance, seed=2) * (np.array(size) / (W, H))
    return found, np.stack([each.points for each in found]) + residuals


def detections(path: Path, level: float) -> tuple[list[Detection], np.ndarray]:
    """The same without the few images that are flagged, and so have no regions."""
    found, truth = all_detections(path, level)
    return [each for each in found if not each.unlike], truth[[not each.unlike for each in found]]


@pytest.mark.parametrize("level", LEVELS)
def test_regions_hold_the_share_that_they_state(calibrated: Path, level: float) -> None:
    """Of about 600 points in 200 new images; three deviations of that and of the calibration's images."""
    found, truth = detections(calibrated, level)
    regions = np.stack([each.regions for each in found])  # type: ignore[arg-type]
    residuals = truth - np.stack([each.points for each in found])
    tolerance = 3 * np.sqrt(level * (1 - level) * (1 / 600 + 1 / IMAGES / N))
    assert covered(residuals, regions).mean() == pytest.approx(level, abs=tolerance)
    assert {each.level for each in found} == {level}


def test_expected_error_is_the_mean_error(calibrated: Path) -> None:
    found, truth = detections(calibrated, 0.9)
    expected = np.stack([each.expected_error for each in found])  # type: ignore[arg-type]
    actual = np.linalg.norm(truth - np.stack([each.points for each in found]), axis=-1)
    assert expected.mean() == pytest.approx(actual.mean(), rel=0.15)


def test_higher_level_has_larger_regions_around_the_same_points(calibrated: Path) -> None:
    areas = []
    for level in LEVELS:
        found, _ = detections(calibrated, level)
        areas.append(np.stack([region_area(each.regions) for each in found]))  # type: ignore[arg-type]
    assert (np.diff(areas, axis=0) > 0).all()


def test_level_that_was_not_fitted_lists_those_that_were(calibrated: Path, model: Path) -> None:
    said = refusal(lambda: Detector.load(calibrated, level=0.85))
    assert said == "level: found 0.85, but the model was calibrated for 0.5, 0.8, 0.9, 0.95"
    Detector.load(model, level=0.85)  # without a calibration there is nothing that it could be wrong about


@pytest.mark.parametrize("options", [{"steps": 4}, {"fast": True}, {"samples": 2}, {"decoder": "argmax"}])
def test_other_settings_have_no_regions(calibrated: Path, options: dict[str, Any]) -> None:
    """They have other errors, which were not measured."""
    found = Detector.load(calibrated, **options)(picture(0))
    unknown = (found.level, found.regions, found.expected_error, found.image_score, found.unlike)
    assert unknown == (None,) * 5 and found.covariance is not None


def test_image_unlike_the_calibrations_is_flagged_and_others_are_not(calibrated: Path, tmp_path: Path) -> None:
    found, _ = all_detections(calibrated, 0.9)
    assert sum(bool(each.unlike) for each in found) <= 8  # of 200, where 2 are expected
    scores = np.array([each.image_score for each in found])
    assert (scores > 0).all() and (scores <= 1).all() and 0.3 < scores.mean() < 0.7

    tiny = calibrated.with_name("tiny.ldx")
    detector = Detector.load(write_positions(tmp_path / "one.ldx", make_calibration(tiny, noisy(0, IMAGES))))
    alike, *others = (detector(each) for each in (*noisy(0, 1, seed=9), *pictures(5, first=1)))
    assert alike.unlike is False and not alike.notes and alike.unlike_reason == ""
    for other in others:
        assert other.unlike is True and other.image_score == pytest.approx(1 / (1 + IMAGES))  # odder than all of them
        assert other.notes == (UNLIKE_NOTE, reason_note("unknown")) and other.unlike_reason == "unknown"
        assert (other.level, other.regions, other.expected_error) == (None,) * 3  # they would not hold
        assert other.covariance is not None


def test_reason_is_what_undoes_the_fault_and_the_points_stay_those_of_the_image_as_it_is(
    calibrated: Path, tmp_path: Path
) -> None:
    tiny = calibrated.with_name("tiny.ldx")
    detector = Detector.load(write_positions(tmp_path / "one.ldx", make_calibration(tiny, noisy(0, IMAGES))))
    (upright,) = (each.grey for each in noisy(0, 1, seed=9))
    wrong = [as_radiograph(np.ascontiguousarray(each)) for each in (255 - upright, upright[:, ::-1], np.rot90(upright))]
    batch = [as_radiograph(upright), *wrong]
    names = [str(number) for number in range(len(batch))]
    found = detector.detect(batch, names, names)
    assert [each.unlike_reason for each in found] == ["", "negative", "mirrored", "turned left"]
    assert "mirror it left to right and detect again" in found[2].notes[-1]
    plain = detector.find([network_input(each.grey, Frame.fit(each.grey.shape[::-1], (W, H))) for each in batch])
    expected = np.stack(
        [
            Frame.fit(each.grey.shape[::-1], (W, H)).to_original(points)
            for each, points in zip(batch, detector.answers(plain).points, strict=True)
        ]
    )
    assert np.stack([each.points for each in found]) == pytest.approx(expected, abs=2e-3)


def noisy(number: int, count: int, seed: int = 0) -> list[Radiograph]:
    """The same picture under ``count`` draws of noise."""
    rng = np.random.default_rng(seed)
    grey = picture(number).astype(float)
    return [as_radiograph((grey + rng.normal(0, 2, grey.shape)).clip(0, 255).astype(np.uint8)) for _ in range(count)]


def test_damaged_calibration_says_how_to_mend_it(tmp_path: Path, calibration: Calibration) -> None:
    stored = calibration.to_dict()
    for broken in (
        {}, {**stored, "settings": 3}, {**stored, "settings": [{**stored["settings"][0], "spread": {}}]},
        {**stored, "settings": [{**stored["settings"][0], "image": None}]},
    ):  # fmt: skip
        content = replace(facts(), calibration=broken)
        path = write_model_file(tmp_path / "x.ldx", content, module().state_dict(), overwrite=True)
        said = refusal(lambda path=path: Detector.load(path))  # type: ignore[misc]
        assert said.startswith("x.ldx: the calibration in it is damaged") and "ldx calibrate --overwrite" in said


def test_calibration_of_another_number_of_landmarks_is_refused(tmp_path: Path, calibration: Calibration) -> None:
    (setting,) = calibration.settings
    fewer = replace(setting.spread, scale=setting.spread.scale[:2])
    path = write_positions(tmp_path / "x.ldx", replace(calibration, settings=(replace(setting, spread=fewer),)))
    assert "damaged" in refusal(lambda: Detector.load(path))

"""A radiograph in any of the sixteen forms gives the points of the upright one, in its own pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.forms import BY_NAME, FORMS, UPRIGHT, Form
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.detection.detection import UNKNOWN_SPACING
from landmark_diffusion.detection.detector import UNLIKE_NOTE, Detector
from landmark_diffusion.detection.orientation import in_file, turned_upright
from landmark_diffusion.detection.reasons import TURNS
from landmark_diffusion.detection.writers.points_json import PointsJsonWriter, read_points_json
from landmark_diffusion.finders.orientation import RecognisedForm, new_form_network
from landmark_diffusion.modelfile.model_file import read_model_file, write_model_file
from landmark_diffusion.spread.model_calibration import Calibration
from tests.detection.detections import make_detection, make_doubted
from tests.detection.tiny_model import IMAGES, as_radiograph, facts, make_calibration, picture, tiny_options
from tests.methods.test_orientation import TopLeft
from tests.methods.tiny_positions import module

SIZE = (150, 200)
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def upright_picture(seed: int = 0) -> np.ndarray:
    """A picture whose form ``with_corner`` tells for certain, (H, W) uint8: bright in the upper left."""
    grey = (picture(seed, SIZE) // 4).astype(np.uint8)
    grey[:62, :70] += 180
    grey[:31, 70:117] += 120
    return grey


def with_corner(path: Path, **options: object) -> Detector:
    """The detector of a model file, with a network that looks for the bright corner in place of the learned one."""
    detector = Detector.load(path, **options)
    if detector.form_network is not None:
        detector.form_network.score = torch.nn.Sequential(TopLeft(), torch.nn.Flatten())
    return detector


def write_model(path: Path, calibration: Calibration | None = None, learned: bool = True) -> Path:
    options = tiny_options({"orientation.learn": True} if learned else {})
    weights = module().state_dict()
    if learned:
        weights |= {f"form_network.{name}": value for name, value in new_form_network(1).state_dict().items()}
    said = replace(facts(options=options), calibration=None if calibration is None else calibration.to_dict())
    return write_model_file(path, said, weights, True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.ldx")


@pytest.fixture(scope="module")
def calibrated(model: Path) -> Path:
    usual = [as_radiograph(upright_picture(seed)) for seed in range(1000, 1120)]
    return write_model(model.with_name("calibrated.ldx"), make_calibration(model, usual))


def radiograph(grey: np.ndarray, spacing: tuple[float, float] | None = None) -> Radiograph:
    return Radiograph(grey, spacing, UNKNOWN_SPACING if spacing is None else "ImagerPixelSpacing", (), 8)


# ---- the points ---------------------------------------------------------------------------------------------------

TOLERANCE = 0.02
"""Pixels of the file: an image that is turned first is resized with other sums, which may round a grey value."""


@forms
def test_every_form_gives_the_points_of_the_upright_one(calibrated: Path, form: Form) -> None:
    detector, grey, spacing = with_corner(calibrated), upright_picture(), (0.1, 0.25)
    upright = detector(radiograph(grey, spacing))
    image = form.apply(grey)
    found = detector(radiograph(image, form.upright_size(spacing)))
    size = image.shape[::-1]
    assert (found.orientation, found.size, upright.orientation) == (form.name, size, "upright")
    assert found.orientation_probability is not None and found.orientation_probability > 0.99
    np.testing.assert_allclose(found.points, form.apply_points(upright.points, size), rtol=0, atol=TOLERANCE)
    for name in ("covariance", "regions"):
        wanted = form.apply_matrices(getattr(upright, name))
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=0, atol=0.01 * np.abs(wanted).max())
    np.testing.assert_allclose(found.expected_error, upright.expected_error, rtol=0.01)
    assert found.spacing == form.upright_size(spacing)
    np.testing.assert_allclose(found.areas_mm2(), upright.areas_mm2(), rtol=0.01)
    assert found.image_score == pytest.approx(upright.image_score, abs=0.05) and found.unlike == upright.unlike
    assert found.pixels is not None
    np.testing.assert_array_equal(found.pixels, image)


def test_distances_in_mm_are_those_of_the_upright_image(model: Path) -> None:
    """x and y of a spacing stay the file's: turned, they have changed places there already."""
    detector, spacing = with_corner(model), (0.1, 0.25)
    lengths = []
    for form in FORMS:
        found = detector(radiograph(form.apply(upright_picture()), form.upright_size(spacing)))
        assert found.points_mm is not None
        lengths.append(np.linalg.norm(np.diff(found.points_mm, axis=0), axis=1))
    np.testing.assert_allclose(lengths, np.tile(lengths[0], (16, 1)), rtol=0, atol=TOLERANCE)


def test_forms_may_be_mixed_in_a_batch(model: Path) -> None:
    detector = with_corner(model)
    images = [form.apply(upright_picture(place)) for place, form in enumerate(FORMS)]
    names = [form.name for form in FORMS]
    found = detector.detect([radiograph(each) for each in images], names, names)
    assert [each.orientation for each in found] == names
    for each, image in zip(found, images, strict=True):
        np.testing.assert_allclose(each.points, detector(image).points, rtol=0, atol=TOLERANCE)


def test_what_was_done_is_said(model: Path) -> None:
    detector = with_corner(model)
    assert detector(upright_picture()).notes == ()
    (note,) = detector(upright_picture()[:, ::-1]).notes
    assert note == "It was recognised as mirrored and put right to find the points, which are in the file's own pixels."


def test_what_is_not_certain_is_left_as_it_is(model: Path) -> None:
    flat = np.full((200, 150), 90, np.uint8)
    found, plain = with_corner(model)(flat), with_corner(model, orientation="as-is")(flat)
    assert found.orientation == "unknown" and found.form == UPRIGHT
    assert found.orientation_probability == pytest.approx(1 / 16)
    assert found.notes[0] == "Its orientation is not certain (upright with p = 0.06): it was taken as it is."
    np.testing.assert_array_equal(found.points, plain.points)


# ---- with and without ---------------------------------------------------------------------------------------------


def test_an_option_switches_it_off(model: Path, tmp_path: Path) -> None:
    """The image is then taken as a model without it takes it."""
    without = Detector.load(write_model(tmp_path / "without.ldx", learned=False))
    mirrored = FORMS[4].apply(upright_picture())
    found, wanted = with_corner(model, orientation="as-is")(mirrored), without(mirrored)
    np.testing.assert_array_equal(found.points, wanted.points)
    for each in (found, wanted):
        assert (each.orientation, each.orientation_probability, each.notes) == ("", None, ())


def test_another_word_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match="orientation: found 'no', expected one of auto, as-is"):
        Detector.load(model, orientation="no")


def test_a_model_file_keeps_what_was_learned(model: Path) -> None:
    detector, wanted = Detector.load(model), new_form_network(1).state_dict()
    assert detector.form_network is not None
    found = detector.form_network.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert "form_network.score.0.weight" in read_model_file(model).weights


def test_reasons_do_not_double_up(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recognised and undone is no reason to be unlike, and is not tried again; else all is as it was."""
    constant = [as_radiograph(np.full((200, 150), 100 + seed, np.uint8)) for seed in range(IMAGES)]
    path = write_model(model.with_name("others.ldx"), make_calibration(model, constant))
    detector, plain = with_corner(path), with_corner(path, orientation="as-is")
    mirrored = FORMS[4].apply(upright_picture())
    looks = {"auto": 0, "as-is": 0}
    for name, each in (("auto", detector), ("as-is", plain)):
        monkeypatch.setattr(each, "_scores", counted(each._scores, looks, name))
    found, without = detector(mirrored), plain(mirrored)
    assert found.unlike and without.unlike and found.orientation == "mirrored"
    assert found.unlike_reason == "unknown" and looks["auto"] <= 1 < len(TURNS) <= looks["as-is"]
    assert found.notes[1] == UNLIKE_NOTE and "in the orientation that was recognised" in found.notes[2]


def counted(scores: Callable[[list[np.ndarray]], np.ndarray], looks: dict[str, int], name: str) -> Callable[..., Any]:
    def call(greys: list[np.ndarray]) -> np.ndarray:
        looks[name] += len(greys)
        return scores(greys)

    return call


# ---- in files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [*BY_NAME, "unknown", ""])
def test_points_json_keeps_it(tmp_path: Path, orientation: str) -> None:
    share = None if not orientation else 0.875
    detection = replace(make_detection(), orientation=orientation, orientation_probability=share)
    PointsJsonWriter.save(tmp_path / "points.json", detection)
    (found,) = read_points_json(tmp_path / "points.json")
    assert (found.orientation, found.orientation_probability) == (orientation, share)
    assert found.form == BY_NAME.get(orientation, UPRIGHT)


def change(path: Path, edit: Callable[[dict], object]) -> Path:
    content = json.loads(path.read_text())
    edit(content["images"][0])
    path.write_text(json.dumps(content))
    return path


def test_a_file_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    PointsJsonWriter.save(path, make_detection())
    change(path, lambda image: [image.pop(name) for name in ("orientation", "orientation_probability")])
    (found,) = read_points_json(path)
    assert (found.orientation, found.orientation_probability) == ("", None)


@pytest.mark.parametrize("wrong", ["sideways", 1, [], "turned left\n"])
def test_a_word_that_is_none_is_refused(tmp_path: Path, wrong: object) -> None:
    path = tmp_path / "points.json"
    PointsJsonWriter.save(path, make_detection())
    change(path, lambda image: image.update(orientation=wrong))
    with pytest.raises(DataError, match="orientation"):
        read_points_json(path)


@forms
def test_doubt_goes_with_the_landmarks_and_not_with_the_frame(form: Form) -> None:
    detection = make_doubted(pixels=False)
    file = in_file(replace(detection, size=form.upright_size(detection.size)), RecognisedForm(form, 1.0))
    for found in (file, turned_upright(file)):
        for name in ("outside", "far", "doubtful"):
            np.testing.assert_array_equal(getattr(found, name), getattr(detection, name))
        assert found.marks == detection.marks


# ---- upright again ------------------------------------------------------------------------------------------------


@forms
def test_turned_upright_undoes_the_turn_alone(form: Form) -> None:
    """What ``ldx analyse`` measures: the same as of the upright picture, or of it mirrored."""
    upright = make_detection(spacing=(0.1, 0.25), pixels=False)
    there = replace(upright, size=form.upright_size(upright.size), spacing=form.upright_size((0.1, 0.25)))
    file = in_file(there, RecognisedForm(form, 1.0))
    found = turned_upright(file)
    mirror = Form(form.mirrored)
    np.testing.assert_allclose(found.points, mirror.apply_points(upright.points, upright.size), atol=1e-9)
    np.testing.assert_allclose(found.covariance, mirror.apply_matrices(upright.covariance))
    assert found.size == upright.size and found.spacing == (0.1, 0.25)
    np.testing.assert_allclose(found.ellipses_mm()[:, :2], upright.ellipses_mm()[:, :2])


# ---- the landmarks have the last word -------------------------------------------------------------------------------


class Scores:
    """A doubt that knows which pictures have right points: those whose brightest quarter is at the upper left."""

    def __init__(self, detector: Detector, prefers: Form) -> None:
        self.prefers, self.detector = prefers, detector

    def image_scores(self, answers: list[np.ndarray]) -> np.ndarray:
        wanted = [self.prefers.undo(grey) for grey in answers]
        return np.array([float(upright_corner(grey)) for grey in wanted])


def upright_corner(grey: np.ndarray) -> bool:
    """Whether the upper left is not the brightest quarter: the score of a picture that lies otherwise."""
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    quarters = [grey[:height, :width], grey[:height, width:], grey[height:, :width], grey[height:, width:]]
    return int(np.argmax([quarter.mean() for quarter in quarters])) != 0


@pytest.mark.parametrize("wrong", [False, True])
def test_the_landmarks_say_whether_a_picture_is_to_be_put_right(
    model: Path, monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    """A cover may look to the small network like a mirrored picture; the landmarks are found in it as it is."""
    detector, grey = with_corner(model), BY_NAME["mirrored"].apply(upright_picture())
    prefers = BY_NAME["mirrored"] if wrong else UPRIGHT  # where the landmarks are found: as it is, or put right
    known = SimpleNamespace(doubt=Scores(detector, prefers))
    monkeypatch.setattr(detector, "calibration", known)
    monkeypatch.setattr(detector, "look", lambda greys: (None, greys))
    ((found,), (upright,)) = (detector.recognise([each]) for each in (grey, upright_picture()))
    assert found is not None and found.form == BY_NAME["mirrored"] and found.probability > 0.99
    assert found.by_landmarks is (not wrong) and found.used == (UPRIGHT if wrong else BY_NAME["mirrored"])
    assert upright is not None and upright.by_landmarks is None and upright.used == UPRIGHT


@pytest.mark.parametrize(("batch", "looks"), [(["mirrored"], 2), (["mirrored", "upright"], 3), (["upright"], 1)])
def test_what_recognising_saw_is_not_looked_at_again(
    model: Path, monkeypatch: pytest.MonkeyPatch, batch: list[str], looks: int
) -> None:
    """Where it saw the whole batch, so that the network rounds as it would anew: the points are the same bits."""
    detector, look = with_corner(model), with_corner(model).look
    found = [radiograph(BY_NAME[name].apply(upright_picture(n))) for n, name in enumerate(batch)]
    seen: list[tuple[Any, Any]] = []

    def looked(greys: list[np.ndarray]) -> Any:
        seen.append((greys, look(greys)))
        return seen[-1][1]

    def image_scores(answers: Any) -> np.ndarray:
        (greys,) = (greys for greys, (_, told) in seen if told is answers)
        return np.array([float(upright_corner(grey)) for grey in greys])

    monkeypatch.setattr(detector, "calibration", SimpleNamespace(doubt=SimpleNamespace(image_scores=image_scores)))
    monkeypatch.setattr(detector, "look", looked)
    monkeypatch.setattr(detector, "_trust", lambda answer, frame: {})
    ours = detector.detect(found, batch, batch)
    assert len(seen) == looks
    frames, answers = look([BY_NAME[name].undo(each.grey) for name, each in zip(batch, found, strict=True)])
    for place, (name, each) in enumerate(zip(batch, ours, strict=True)):
        points = frames[place].to_original(answers.points[place])
        np.testing.assert_array_equal(each.points, BY_NAME[name].apply_points(points, each.size))

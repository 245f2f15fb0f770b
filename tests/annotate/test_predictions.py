"""A model's points on their way to the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.annotate.images import FolderImages
from landmark_diffusion.annotate.landmarks import landmark_list, places_of
from landmark_diffusion.annotate.predictions import Predictor, model_shape, shown
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detector import Detector
from tests.annotate.folders import NINETEEN, phantoms
from tests.annotate.told import ToldPredictor
from tests.detection.tiny_model import NAMES, H, W, write_positions


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(write_positions(tmp_path_factory.mktemp("model") / "tiny.ldx"))


def wait_for(predictor: Predictor, count: int) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (summary := predictor.summary())["looked"] < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    return summary


def test_all_images_are_looked_at_and_a_broken_one_does_not_stop_it(tmp_path: Path, detector: Detector) -> None:
    phantoms(tmp_path, 3)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    images = FolderImages(tmp_path, print)
    names = (NAMES[1], "unknown", NAMES[0])
    predictor = Predictor(detector, images.images, names, lambda place: False)
    predictor.want(3)
    predictor.start()
    summary = wait_for(predictor, 4)
    predictor.close()
    assert summary["predicted"] == [False, True, True, True] and predictor.found(0) is None
    found = predictor.found(2)
    expected = detector(images[2].file)
    assert found is not None and found["points"][1] is None
    np.testing.assert_allclose(found["points"][0], expected.points[1], atol=1e-3)
    np.testing.assert_allclose(found["points"][2], expected.points[0], atol=1e-3)


def test_the_image_that_is_looked_at_comes_first_and_done_ones_last(tmp_path: Path, detector: Detector) -> None:
    images = FolderImages(phantoms(tmp_path, 3), print)
    predictor = Predictor(detector, images.images, NAMES, lambda place: place == 2)
    predictor.want(1)
    order = []
    for _ in range(3):
        order.append(place := predictor._next())
        predictor._found[place] = {}
    assert order == [1, 0, 2]
    predictor._found.clear()
    predictor.want(2)
    assert predictor._next() == 2


def test_what_is_shown_is_what_was_detected() -> None:
    told = ToldPredictor()
    found = shown(told.detection, [3, None, 11])
    assert found["doubtful"] == [True, False, False] and found["absent"] == [False, False, True]
    assert found["ellipses"][0] == pytest.approx([6, 4, 0]) and found["ellipses"][1] is None
    assert found["errors"][0] == pytest.approx(told.detection.expected_error[3], abs=1e-5) and found["unit"] == "px"
    every = shown(told.detection, range(19))
    assert np.argsort(every["doubts"])[::-1][:2].tolist() == [7, 3]  # doubtful ones first, the larger error before
    assert every["doubt"] == pytest.approx(
        100 * told.detection.expected_error[np.arange(19) != 11].mean() / 387, abs=1e-5
    )
    far = np.linspace(0.29, 0, 19)  # nothing that is shown: it does not order
    order = np.argsort(shown(ToldPredictor(far=far).detection, range(19))["doubts"])[::-1].tolist()
    assert order == [7, 3, 11, *(place for place in range(18, -1, -1) if place not in (3, 7, 11))]
    plain = shown(ToldPredictor(level=None, regions=None, expected_error=None, far=None, doubtful=None).detection, [0])
    assert (
        plain["ellipses"] is None and plain["errors"] is None and plain["doubt"] is None and plain["doubts"] == [None]
    )


def test_an_unlike_image_comes_first_and_says_so() -> None:
    told = ToldPredictor(unlike=True, image_score=0.001, regions=None, expected_error=None, level=None)
    found = shown(told.detection, range(19))
    assert found["unlike"] and found["words"].startswith("Unlike the training images") and found["doubt"] >= 1000


def test_landmarks_come_from_the_option_the_model_and_the_table(tmp_path: Path) -> None:
    assert landmark_list("b, a", ("a", "c"), ("A", "d")) == ("b", "A")
    assert landmark_list("", ("sub nasale", "c"), ("Sub_Nasale", "d")) == ("Sub_Nasale", "c", "d")
    assert landmark_list("", ("nasion", "sella"), ("1", "2")) == ("1", "2")
    names = tmp_path / "names.txt"
    names.write_text("\ufeffnasion\n\n sella \n", encoding="utf-8")
    assert landmark_list(str(names), (), ()) == ("nasion", "sella")
    for asked, said in (("", "no landmark is known"), ("a,a", "twice"), ("a,b\x1b", "control characters")):
        with pytest.raises(UserError, match=said):
            landmark_list(asked, (), ())
    assert places_of(("Sella", "x"), ("nasion", "sella")) == [1, None]
    assert places_of(("1", "2"), ("nasion", "sella")) == [0, 1]


def test_the_mean_shape_of_a_model_is_in_shares_of_the_image(detector: Detector) -> None:
    import torch

    assert model_shape(detector, NINETEEN) == [None] * 19
    prior = detector.module.shape_prior
    mean = torch.full_like(prior.mean, 319.5)
    try:
        prior.mean.copy_(mean)
        prior.covariance.copy_(torch.eye(len(mean)))
        (x, y), other = model_shape(detector, (NAMES[0], "other"))
        assert (x, y) == pytest.approx((0.5, 320 / 640 * W / H)) and other is None
    finally:
        prior.covariance.zero_()

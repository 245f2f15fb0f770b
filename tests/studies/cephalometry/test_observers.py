"""A model's points are matched with the doctors' images, also where the file holds many more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.studies.cephalometry.observers import MODEL, Observers, with_model

SIZE = (100, 120)


class Counted:
    """A detection that counts how often its name is looked at."""

    looks = 0

    def __init__(self, name: str, path: str, points: np.ndarray) -> None:
        self._name, self.path, self.size = name, path, SIZE
        self.landmark_names, self.points = LANDMARK_NAMES, points

    @property
    def name(self) -> str:
        Counted.looks += 1
        return self._name

    def without_absent(self) -> Counted:
        return self


def doctors(count: int) -> tuple[list[Any], Observers]:
    samples = [SimpleNamespace(image_id=f"{number:03}", size=SIZE) for number in range(count)]
    points = {name: np.zeros((count, len(LANDMARK_NAMES), 2)) for name in ("senior", "junior")}
    return samples, Observers(tuple(each.image_id for each in samples), LANDMARK_NAMES, points, (0.1, 0.1))


def detections(names: list[tuple[str, str]]) -> list[Any]:
    return [Counted(name, path, np.full((len(LANDMARK_NAMES), 2), float(i))) for i, (name, path) in enumerate(names)]


def test_images_are_found_by_name_and_else_by_the_stem_of_their_path() -> None:
    samples, both = doctors(3)
    found = with_model(both, samples, detections([("x", "in/002.png"), ("000", "y.png"), ("z", "z.png")]))  # type: ignore[arg-type]
    assert found.image_ids == ("000", "002")
    assert found.points[MODEL][:, 0, 0].tolist() == [1.0, 0.0]


def test_a_landmark_outside_the_image_is_none_of_the_model_s() -> None:
    samples, both = doctors(1)
    count = len(LANDMARK_NAMES)
    outside = np.where(np.arange(count) == 3, 0.9, 0.1)
    detection = Detection("000", "000.png", SIZE, LANDMARK_NAMES, np.ones((count, 2)), outside=outside)
    found = with_model(both, samples, [detection]).points[MODEL][0]
    assert np.isnan(found[3]).all() and (np.delete(found, 3, 0) == 1).all()


def test_a_name_goes_before_a_path_and_twice_is_refused() -> None:
    samples, both = doctors(1)
    found = with_model(both, samples, detections([("x", "in/000.png"), ("000", "y.png")]))  # type: ignore[arg-type]
    assert found.points[MODEL][0, 0, 0] == 1.0
    with pytest.raises(UserError, match="image 000 is 2 times among the points"):
        with_model(both, samples, detections([("x", "a/000.png"), ("y", "b/000.png")]))  # type: ignore[arg-type]


def test_each_detection_is_looked_at_a_few_times_however_many_images_there_are() -> None:
    """400 images times 5,000 detections took 20 s."""
    samples, both = doctors(100)
    many = detections([(f"n{number}", str(Path("in") / f"{number:03}.png")) for number in range(500)])
    Counted.looks = 0
    assert len(with_model(both, samples, many).image_ids) == 100  # type: ignore[arg-type]
    assert Counted.looks <= 2 * len(many)

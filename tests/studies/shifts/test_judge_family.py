"""Points found in the changed image are measured in the original's pixels, and regions judge the truth there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from landmark_diffusion.data.cache import ImageCache
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.data.shifts import FAMILIES, shift_image
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.studies.shifts.judge import PLAIN, judge_family

SOURCE = PhantomDataset(count=(1, 1, 3), image_size=(97, 120))
SAMPLES = SOURCE.samples("test")


@cache
def drawn(place: int) -> np.ndarray:
    """One of the images, drawn once."""
    return SOURCE.load_image(SAMPLES[place])


class KnowingDetector:
    """Finds the truth, ``off`` px of the original to the right, with round regions of ``radius`` changed px."""

    def __init__(self, family: str, off: float, radius: float = 1.0) -> None:
        self.family, self.off, self.radius = family, off, radius
        self.seen: list[int] = []

    def detect(
        self, radiographs: Sequence[Radiograph], paths: Sequence[str], names: Sequence[str], explain: bool
    ) -> list[Detection]:
        assert not explain
        self.seen.append(len(radiographs))
        return [self._find(*each) for each in zip(radiographs, names, strict=True)]

    def _find(self, radiograph: Radiograph, name: str) -> Detection:
        (place,) = (place for place, each in enumerate(SAMPLES) if each.image_id == name)
        sample = SAMPLES[place]
        points = sample.mean_points + np.array([self.off, 0.0])
        if self.family != PLAIN:
            changed = shift_image(drawn(place), sample.mean_points, self.family, 7, name)
            assert (changed.grey == radiograph.grey).all()
            points = changed.to_shifted(points)
        count = len(points)
        return Detection(
            name, name, radiograph.grey.shape[::-1], SOURCE.landmark_names, points, level=0.9,
            regions=np.tile(np.eye(2) * self.radius**2, (count, 1, 1)), unlike=name == SAMPLES[0].image_id,
        )  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> LandmarkTorchDataset:
    return LandmarkTorchDataset(SOURCE, SAMPLES, (64, 80), "stretch", ImageCache(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("family", [PLAIN, *FAMILIES])
def test_errors_are_those_of_the_original_pixels(family: str, images: LandmarkTorchDataset) -> None:
    told: list[int] = []
    detector = KnowingDetector(family, off=1.5)
    found = judge_family(detector, images, family, 7, 2, lambda: told.append(1))  # type: ignore[arg-type]
    assert detector.seen == [2, 1] and len(told) == 3
    known = np.isfinite(found.errors)
    assert found.errors.shape == (3, len(SOURCE.landmark_names)) and known.mean() > 0.9
    assert found.errors[known] == pytest.approx(1.5 * SOURCE.spacing[0])
    assert (np.isfinite(found.covered) == known).all()
    assert found.unlike.tolist() == [1.0, 0.0, 0.0]


def test_regions_are_of_the_changed_image(images: LandmarkTorchDataset) -> None:
    """The window is cut out and not scaled, so 1.5 px stay 1.5 px; turned they are as long."""
    for family in (PLAIN, "zoom", "turn"):
        for radius, inside in ((1.4, 0.0), (1.6, 1.0)):
            detector = KnowingDetector(family, off=1.5, radius=radius)
            found = judge_family(detector, images, family, 7, 4, lambda: None)  # type: ignore[arg-type]
            assert set(found.covered[np.isfinite(found.covered)]) == {inside}


def test_what_the_image_lost_is_not_counted(images: LandmarkTorchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from landmark_diffusion.data.shifts import ShiftedImage
    from landmark_diffusion.studies.shifts import judge

    sample = SAMPLES[0]
    edge = np.sort(sample.mean_points[:, 0])[2] + 0.51  # the three leftmost are cut off

    def cut(grey: np.ndarray, points: np.ndarray, *_: object) -> ShiftedImage:
        first = int(np.ceil(edge))
        matrix = np.eye(3)
        matrix[0, 2] = -first
        return ShiftedImage(grey[:, first:].copy(), matrix)

    class Anywhere(KnowingDetector):
        def _find(self, radiograph: Radiograph, name: str) -> Detection:
            size = radiograph.grey.shape[::-1]
            return Detection(name, name, size, SOURCE.landmark_names, np.zeros((len(SOURCE.landmark_names), 2)))

    monkeypatch.setattr(judge, "shift_image", cut)
    found = judge_family(Anywhere("turn", 0), images, "turn", 0, 4, lambda: None)  # type: ignore[arg-type]
    assert np.isnan(found.errors[0]).sum() == (sample.mean_points[:, 0] < np.ceil(edge) - 0.5).sum() >= 3
    assert np.isnan(found.covered).all() and np.isnan(found.unlike).all()

"""From pixels to files: phantoms with faults, looked at by a pretended model that knows each image by its pixels."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Finding, LandmarkDataset, Stage
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.studies.label_faults.material import LabelMaterial
from landmark_diffusion.studies.label_faults.study import LabelStudy, misfit, study_labels

COUNT, SIZE = 30, [97, 120]


class Spoilt(LandmarkDataset):
    """Phantoms in one part, in which a test puts its faults."""

    name, annotator_names, radii, unit = "spoilt", ("exact",), (2.0,), "mm"

    def __init__(self) -> None:
        inner = build_dataset("phantom", None, image_size=SIZE, count=(COUNT, 0, 0))
        self.landmark_names = inner.landmark_names
        self.list = [replace(each, annotations=each.annotations[:1].copy()) for each in inner.samples("train")]
        self.images = [inner.load_image(each) for each in inner.samples("train")]
        self.broken: set[str] = set()

    def samples(self, stage: Stage) -> list[LandmarkSample]:
        return self.list if stage == "train" else []

    def load_image(self, sample: LandmarkSample) -> np.ndarray:
        if sample.image_id in self.broken:
            raise DataError("cannot be decoded", sample.image_id)
        return self.images[[each.image_id for each in self.list].index(sample.image_id)]

    def check(self, decode: bool = True) -> list[Finding]:
        return []


class PretendedDetector:
    """Finds the true points but for noise in images that it knows, the middle of the image in all others."""

    model, seed = "pretended.ldx", 0

    def __init__(self, data: Spoilt, names: tuple[str, ...] | None = None, noise: float = 0.4) -> None:
        rng = np.random.default_rng(0)
        self.names = names or data.landmark_names
        places = [data.landmark_names.index(name) for name in self.names]
        self.known = {
            image.tobytes(): each.annotations[0][places] + rng.normal(0, noise, (len(places), 2))
            for image, each in zip(data.images, data.list, strict=True)
        }
        self.facts = SimpleNamespace(landmark_names=self.names, data={"dataset": "phantom"})
        self.settings: dict[str, Any] = {"steps": 1}

    def detect(self, radiographs: list[Radiograph], paths: Any, names: Any, explain: bool = True) -> list[Detection]:
        found = []
        for each in radiographs:
            middle = np.tile(np.array(each.grey.shape[::-1]) / 2, (len(self.names), 1))
            points = self.known.get(each.grey.tobytes(), middle)
            covariance = np.tile(np.eye(2), (len(points), 1, 1))
            size = each.grey.shape[1], each.grey.shape[0]
            found.append(Detection("", "", size, self.names, points, covariance))
        return found


@pytest.fixture(scope="module")
def clean() -> Spoilt:
    return Spoilt()


def _study(data: Spoilt, detector: PretendedDetector) -> LabelStudy:
    return study_labels(detector, data)  # type: ignore[arg-type]


def _copy(clean: Spoilt) -> Spoilt:
    copy = Spoilt.__new__(Spoilt)
    copy.__dict__ |= clean.__dict__
    copy.list = [replace(each, annotations=each.annotations.copy()) for each in clean.list]
    copy.images, copy.broken = list(clean.images), set()
    return copy


def test_faults_are_found_written_and_drawn(clean: Spoilt, tmp_path: Path) -> None:
    data, detector = _copy(clean), PretendedDetector(clean)
    data.images[4] = np.ascontiguousarray(data.images[4][:, ::-1])
    data.list[9].annotations[0] = data.list[20].annotations[0]
    data.list[12].annotations[0, [0, 7]] = data.list[12].annotations[0, [7, 0]]
    data.list[15].annotations[0, 3] += (9, 7)
    data.list[17].annotations[0, 2] = np.nan
    data.broken = {data.list[25].image_id}
    study = _study(data, detector)
    assert {(each.kind, each.image) for each in study.judgement.faults} == {
        ("image turned", 4), ("other image", 9), ("exchanged", 12), ("slipped", 15)
    }  # fmt: skip
    assert len(study.unread) == 1 and data.list[25].image_id not in study.material.ids
    paths = study.write(tmp_path, {"model": "pretended.ldx"}, cases=3)
    assert [path.name for path in paths] == ["label_faults.csv", "label_faults.json", "label_faults.png"]
    rows = list(csv.DictReader(paths[0].open()))
    document = json.loads(paths[1].read_text())
    assert [row["image"] for row in rows] == [each["image"] for each in document["faults"]]
    assert rows[0]["rank"] == "1" and float(rows[0]["score"]) >= float(rows[-1]["score"])
    mirrored = next(row for row in rows if row["kind"] == "image turned")
    assert (mirrored["image"], mirrored["orientation"]) == (data.list[4].image_id, "mirrored")
    slip = next(row for row in rows if row["kind"] == "slipped")
    assert slip["landmarks"] == data.landmark_names[3]
    with Image.open(paths[2]) as picture:
        assert picture.width > 1000 and picture.height > 400
    assert "mirrored" in " ".join(" ".join(row) for row in study.grids()[0].sections[0])
    above = ("29 images judged; doubts about 4 images, in 3 of them about all labels or an exchange",)
    assert study.grids()[0].above == above


def test_the_mirrored_image_shows_the_models_points_where_they_lie_in_it(clean: Spoilt) -> None:
    data, detector = _copy(clean), PretendedDetector(clean)
    data.images[4] = np.ascontiguousarray(data.images[4][:, ::-1])
    study = _study(data, detector)
    (fault,) = study.judgement.faults
    expected = detector.known[clean.images[4].tobytes()] * (-1, 1) + (SIZE[0] - 1, 0)
    np.testing.assert_allclose(study._shown_points(fault), expected)


def test_clean_labels(clean: Spoilt, tmp_path: Path) -> None:
    study = _study(clean, PretendedDetector(clean))
    assert study.judgement.faults == ()
    assert [path.suffix for path in study.write(tmp_path, {}, 12)] == [".csv", ".json"]  # nothing to draw


def test_a_model_of_some_of_the_landmarks_in_another_order(clean: Spoilt) -> None:
    data = _copy(clean)
    names = tuple(reversed(data.landmark_names[:9]))
    data.list[12].annotations[0, [1, 7]] = data.list[12].annotations[0, [7, 1]]
    study = _study(data, PretendedDetector(clean, names))
    (fault,) = study.judgement.faults
    assert {study.material.landmarks[place] for place in fault.landmarks} == {
        data.landmark_names[1], data.landmark_names[7]
    }  # fmt: skip
    assert any("not judged" in note for note in study.notes)


def test_a_model_that_knows_nothing_of_these_images_is_refused(clean: Spoilt) -> None:
    detector = PretendedDetector(clean)
    detector.known = {}
    with pytest.raises(UserError, match=r"pretended\.ldx does not know these images"):
        _study(clean, detector)


def test_no_labels(clean: Spoilt) -> None:
    data = _copy(clean)
    for each in data.list:
        each.annotations[:] = np.nan
    with pytest.raises(UserError, match="found no labels among 30 images"):
        _study(data, PretendedDetector(clean))


def test_misfit_is_a_share_of_the_shapes_radius() -> None:
    """A square of side 2 has its corners sqrt(2) from the middle; all points lie 1 from the labels; one has none."""
    square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    labels = np.stack([square, square + 5, np.full((4, 2), np.nan)])[:, None]
    points = np.stack([square, square + 5, square]) + np.eye(2)[0]
    made = LabelMaterial(
        ("a", "b", "c"), ("",) * 3, tuple("abcd"), ("one",), labels, points,
        None, np.full((3, 2), 9.0), np.full((3, 2), 0.5), np.zeros(3, bool), np.zeros((3, 4), bool), "mm",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert misfit(made) == pytest.approx(1 / np.sqrt(2))

"""COCO keypoints: against pycocotools, its authors' reader, and a file shaped like person_keypoints_val2017.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.labels.coco import coco_document
from landmark_diffusion.data.labels.label_set import ABSENT
from tests.data.labels.label_sets import label_sets

LIKE_COCO: dict[str, Any] = {
    "info": {"description": "COCO 2017 Dataset", "url": "http://cocodataset.org", "version": "1.0", "year": 2017},
    "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}],
    "images": [
        {"license": 4, "file_name": "000000397133.jpg", "coco_url": "http://x/000000397133.jpg", "height": 427,
         "width": 640, "date_captured": "2013-11-14 17:02:52", "id": 397133},
        {"license": 4, "file_name": "sub/000000037777.jpg", "height": 230, "width": 352, "id": 37777},
    ],
    "annotations": [
        {"segmentation": [[125.12, 539.69, 140.94, 522.43, 100.67, 496.54]], "num_keypoints": 2, "area": 47803.27955,
         "iscrowd": 0, "keypoints": [142, 309, 1, 177, 320, 2, 0, 0, 0], "image_id": 397133,
         "bbox": [73.35, 206.02, 300.58, 372.5], "category_id": 1, "id": 183126},
        {"segmentation": [], "num_keypoints": 0, "area": 10, "iscrowd": 0, "keypoints": [0] * 9, "image_id": 37777,
         "bbox": [0, 0, 5, 2], "category_id": 1, "id": 183127},
    ],
    "categories": [
        {"supercategory": "person", "id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"],
         "skeleton": [[1, 2], [1, 3]]}
    ],
}  # fmt: skip


def written(folder: Path, content: Any) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_file_like_the_data_sets_own(tmp_path: Path) -> None:
    form, labels = read_labels(written(tmp_path, LIKE_COCO))
    assert form.name == "coco" and labels.landmark_names == ("nose", "left_eye", "right_eye")
    first, second = labels.images
    assert (first.name, first.size, second.name, second.marks) == (
        "000000397133.jpg", (640, 427), "sub/000000037777.jpg", {}
    )  # fmt: skip
    assert first.marks == {
        ("annotator", "nose"): Mark(142, 309, Flag.HIDDEN),
        ("annotator", "left_eye"): Mark(177, 320),
    }
    assert labels.skeleton == (("nose", "left_eye"), ("nose", "right_eye"))
    assert labels.left_out == {"outline": 1, "box": 1, "object without keypoints": 1}


@settings(max_examples=15, deadline=None)
@given(labels=label_sets())
def test_pycocotools_reads_what_is_written(labels: LabelSet, tmp_path_factory: pytest.TempPathFactory) -> None:
    labels = labels.by(labels.annotator_names[0])
    path = tmp_path_factory.mktemp("coco") / "labels.json"
    label_format("coco").write(labels, path, ImageFolder())
    coco = COCO(path)
    (category,) = coco.loadCats(coco.getCatIds())
    assert tuple(category["keypoints"]) == labels.landmark_names
    for entry, image in zip(coco.loadImgs(sorted(coco.getImgIds())), labels.images, strict=True):
        assert (entry["file_name"], (entry["width"], entry["height"])) == (image.name, image.size)
        placed = {landmark: mark for (_, landmark), mark in image.marks.items() if mark.placed}
        objects = coco.loadAnns(coco.getAnnIds(imgIds=entry["id"]))
        assert len(objects) == bool(placed)
        for found in objects:
            assert found["num_keypoints"] == len(placed)
            values = np.reshape(found["keypoints"], (-1, 3))
            for name, (x, y, visibility) in zip(labels.landmark_names, values, strict=True):
                mark = placed.get(name)
                expected = (0, 0, 0) if mark is None else (mark.x, mark.y, 1 if mark.flag is Flag.HIDDEN else 2)
                assert (x, y, visibility) == expected


def test_coco_s_own_measure_takes_what_is_written(tmp_path: Path) -> None:
    """Predictions with scores against the same points: an average precision of 1."""
    names = [f"L{number}" for number in range(17)]  # it knows no other number of keypoints
    marks = {("annotator", name): Mark(10.0 * n + 0.25, 20.5 + n, score=0.9) for n, name in enumerate(names)}
    labels = LabelSet(tuple(names), ("annotator",), (LabelledImage("a.png", (300, 400), None, marks),))
    coco = COCO(written(tmp_path, coco_document(labels)))
    evaluation = COCOeval(coco, coco.loadRes(coco_document(labels)["annotations"]), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def changed(**entries: Any) -> dict[str, Any]:
    return LIKE_COCO | {"annotations": [LIKE_COCO["annotations"][0] | entries]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LIKE_COCO | {"annotations": [LIKE_COCO["annotations"][0]] * 2},
         r"annotations\[1\]: 000000397133.jpg has several objects with keypoints \('nose' is there twice\)"),
        (changed(keypoints=[1, 2, 2]), r"annotations\[0\]: found 3 values of keypoints, expected 9"),
        (changed(keypoints=[1, 2, 3] * 3), r"keypoint 'nose': found v 3, expected 0, 1 or 2"),
        (changed(keypoints=[float("nan"), 2, 2] * 3), r"x of 'nose': found nan, expected a finite number"),
        (changed(keypoints=["1", 2, 2] * 3), r"x of 'nose': found '1', expected a number"),
        (changed(image_id=5), r"image_id: found 5, which no image has"),
        (LIKE_COCO | {"images": LIKE_COCO["images"][:1] * 2}, r"images\[1\]: the id 397133 is there twice|twice"),
        (LIKE_COCO | {"images": [{"id": 1, "file_name": "..", "width": 3, "height": 4}]}, "the name of an image"),
        (LIKE_COCO | {"images": [{"id": 1, "file_name": "a", "width": 2.5, "height": 4}]}, "expected whole pixels"),
        (LIKE_COCO | {"categories": []}, "found no category with keypoints"),
        (LIKE_COCO | {"categories": [{"id": 1, "keypoints": ["a", "a"]}], "annotations": []}, "'a' is there twice"),
        (LIKE_COCO | {"categories": [{"id": 1, "keypoints": ["a"], "skeleton": [[1, 2]]}]}, "two numbers of keypoints"),
    ],
)  # fmt: skip
def test_faults_are_named(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, content))


def test_what_it_cannot_hold_is_said(tmp_path: Path) -> None:
    marks = {("anna", "N"): Mark(1, 2, Flag.UNSURE, "model", "2026-01-01"), ("anna", "S"): ABSENT}
    labels = LabelSet(("N", "S"), ("anna",), (LabelledImage("a.png", None, (0.1, 0.1), marks),))
    assert label_format("coco").write(labels, tmp_path / "a.json", ImageFolder()) == [
        "COCO keypoints keeps no annotator's name",
        "COCO keypoints has no flag for unsure points: they are written as visible (1 point)",
        "COCO keypoints cannot say that a point is not in the image: it is missing then (1 point)",
        "COCO keypoints keeps no spacing (1 image)",
        "COCO keypoints keeps no time of a mark (1 point)",
        "COCO keypoints does not keep how a point was made (1 point)",
        "COCO keypoints has no size of 1 image, which some tools ask for: name --images",
    ]

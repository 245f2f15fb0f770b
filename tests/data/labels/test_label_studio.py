"""Label Studio: tasks in the shape of its exports JSON and JSON_MIN (docs: guide/export, tags/keypointlabels)."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.labels.label_studio import task


def point(label: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]}
    made = {"id": f"id{label}", "type": "keypointlabels", "from_name": "kp-1", "to_name": "img-1", "image_rotation": 0}
    return made | {"original_width": 200, "original_height": 400, "origin": "manual", "value": value} | more


def annotation(*results: Any, **more: Any) -> dict[str, Any]:
    made = {
        "id": 1, "completed_by": {"id": 3, "email": "anna@lab.org", "first_name": "", "last_name": ""}, "result": [],
        "was_cancelled": False, "ground_truth": False, "created_at": "2026-01-01T10:00:00.000000Z",
        "updated_at": "2026-01-02T10:00:00.000000Z", "lead_time": 12.5, "prediction": {}, "task": 5,
    }  # fmt: skip
    return made | {"result": list(results)} | more


def export(*annotations: Any, image: str = "/data/upload/2/1a2b3c4d-a.png", **more: Any) -> dict[str, Any]:
    made = {"id": 5, "annotations": list(annotations), "file_upload": "1a2b3c4d-a.png", "drafts": [], "predictions": []}
    return made | {"data": {"image": image}, "meta": {}, "project": 2, "inner_id": 1} | more


SHORT = {
    "image": "/data/upload/2/1a2b3c4d-a.png", "id": 5, "annotator": 3, "annotation_id": 1, "lead_time": 12.5,
    "created_at": "2026-01-01T10:00:00.000000Z", "updated_at": "2026-01-02T10:00:00.000000Z",
    "kp-1": [{"x": 50, "y": 25, "width": 0.3, "keypointlabels": ["N"], "original_width": 200, "original_height": 400}],
    "box": [{"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["head"]}],
}  # fmt: skip


def written(folder: Path, *tasks: Any) -> Path:
    path = folder / "tasks.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_percent_of_the_sides_from_edge_to_edge(tmp_path: Path) -> None:
    """The first pixel of 200x400 has its centre at 0.25 and 0.125 percent; 100 percent is the last pixel's far edge."""
    form, labels = read_labels(written(tmp_path, export(annotation(point("N", 0.25, 0.125), point("S", 100, 50)))))
    assert form.name == "label-studio" and labels.annotator_names == ("anna@lab.org",)
    (image,) = labels.images
    assert (image.name, image.size) == ("a.png", (200, 400))
    time = "2026-01-02T10:00:00.000000Z"
    assert image.marks == {
        ("anna@lab.org", "N"): Mark(0, 0, origin="by hand", time=time),
        ("anna@lab.org", "S"): Mark(199.5, 199.5, origin="by hand", time=time),
    }


def test_several_people_other_results_and_what_is_skipped(tmp_path: Path) -> None:
    box = {"id": "b", "type": "rectanglelabels", "from_name": "r", "to_name": "img-1", "value": {"x": 1}}
    quality = {"id": "q", "type": "choices", "from_name": "quality", "to_name": "img-1", "value": {"choices": ["good"]}}
    flag = {"id": "idN", "type": "choices", "from_name": "flag", "to_name": "img-1", "value": {"choices": ["hidden"]}}
    second = annotation(point("N", 51, 25, origin="prediction-changed", score=0.5), completed_by=4)
    path = written(
        tmp_path,
        export(annotation(point("N", 50, 25), flag, box, quality), second, annotation(was_cancelled=True)),
        export(image="/data/local-files/?d=sub%2Fb%20c.png", predictions=[{"result": [point("N", 1, 1)]}]),
    )  # fmt: skip
    _, labels = read_labels(path)
    assert [image.name for image in labels.images] == ["a.png", "sub/b c.png"]
    assert labels.annotator_names == ("anna@lab.org", "4") and labels.images[1].marks == {}
    marks = labels.images[0].marks
    assert marks["anna@lab.org", "N"].flag is Flag.HIDDEN
    assert (marks["4", "N"].origin, marks["4", "N"].score) == ("corrected", 0.5)
    assert labels.left_out == {"rectanglelabels": 1, "choices": 1, "skipped annotation": 1, "prediction": 1}


def test_the_short_form(tmp_path: Path) -> None:
    again = SHORT | {"annotator": 4, "annotation_id": 2, "kp-1": [], "box": []}
    form, labels = read_labels(written(tmp_path, SHORT, again))
    assert form.name == "label-studio" and labels.annotator_names == ("3", "4") and len(labels.images) == 1
    assert (labels.images[0].marks["3", "N"].x, labels.images[0].marks["3", "N"].y) == (99.5, 99.5)
    assert labels.left_out == {"rectanglelabels": 1}


def test_predictions_count_where_nobody_has_looked_at_them(tmp_path: Path) -> None:
    labels = LabelSet(
        ("N", "S"),
        ("annotator",),
        (LabelledImage("b/ä.png", (30, 40), None, {("annotator", "N"): Mark(1, 2, score=0.75)}),),
    )
    made = task(labels, labels.images[0], "xrays/b/ä.png", "ceph.ldx")
    address = "/data/local-files/?d=xrays/b/%C3%A4.png"
    assert made["data"] == {"image": address, "image_name": "b/ä.png", "width": 30, "height": 40}
    (prediction,) = made["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("ceph.ldx", 0.75) and "annotations" not in made
    _, found = read_labels(written(tmp_path, made))
    assert found.annotator_names == ("ceph.ldx",) and found.images[0].name == "b/ä.png"
    mark = found.images[0].marks["ceph.ldx", "N"]
    assert (mark.origin, mark.score) == ("model", 0.75) and (mark.x, mark.y) == pytest.approx((1, 2), abs=1e-12)


def test_the_interface_beside_the_tasks_knows_what_they_name(tmp_path: Path) -> None:
    """Label Studio refuses results whose from_name, to_name or label its interface does not have."""
    marks = {("anna", 'N "1"'): Mark(1, 2, Flag.UNSURE), ("anna", "S"): Mark(float("nan"), float("nan"), Flag.ABSENT)}
    labels = LabelSet(('N "1"', "S"), ("anna", "bo"), (LabelledImage("a.png", (30, 40), None, marks),))
    label_format("label-studio").write(labels, tmp_path / "tasks.json", ImageFolder())
    root = ElementTree.parse(tmp_path / "tasks.config.xml").getroot()
    elements = {each.get("name"): each for each in root.iter() if each.get("name")}
    (made,) = json.loads((tmp_path / "tasks.json").read_text())
    assert elements["image"].get("value") == "$image" and "image" in made["data"]
    results = [each for found in made["annotations"] for each in found["result"]]
    assert [each["type"] for each in results] == ["textarea", "keypointlabels", "choices", "choices"]
    for each in results:
        element = elements[each["from_name"]]
        assert element.get("toName") == each["to_name"] == "image" and element.tag.lower() == each["type"]
        values = each["value"].get("keypointlabels") or each["value"].get("choices") or []
        assert set(values) <= {child.get("value") for child in element}


def test_what_label_studio_made_of_what_was_written() -> None:
    """Its export (1.23.2) of tasks and interface that were written here, after an import without a complaint."""
    form, labels = read_labels(Path(__file__).parent / "label_studio_1.23.2.json")
    assert form.name == "label-studio" and labels.left_out == {}
    assert (labels.annotator_names, set(labels.landmark_names)) == (("anna", "bo"), {"N", "S", "Me"})
    first, second = labels.images
    assert (first.name, first.size, first.spacing) == ("a.png", (200, 400), (0.1, 0.1))
    assert (second.name, second.size, second.marks) == ("sub/b c.png", (64, 32), {})
    flags = {key: mark.flag for key, mark in first.marks.items()}
    assert flags == {
        ("anna", "N"): Flag.HIDDEN, ("anna", "S"): Flag.UNSURE, ("anna", "Me"): Flag.ABSENT,
        ("bo", "N"): Flag.VISIBLE, ("bo", "S"): Flag.VISIBLE,
    }  # fmt: skip
    assert (first.marks["anna", "S"].x, first.marks["anna", "S"].y) == (99.5, 50.25)
    assert (first.marks["anna", "S"].origin, first.marks["bo", "S"].origin) == ("corrected", "by hand")
    _, short = read_labels(Path(__file__).parent / "label_studio_1.23.2_min.json")
    for image, other in zip(labels.images, short.images, strict=True):
        assert image.name == other.name and image.marks.keys() == other.marks.keys()
        for key, mark in image.marks.items():
            assert not mark.placed or (other.marks[key].x, other.marks[key].y) == (mark.x, mark.y)
    assert short.left_out == {"flag of a point": 2} and set(short.annotator_names) == {"anna", "bo"}


def test_the_address_is_below_the_folder_that_is_served(tmp_path: Path) -> None:
    """Label Studio serves no folder itself, but those within: the images' folder is named in the address."""
    (tmp_path / "xrays" / "sub").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(tmp_path / "xrays" / "sub" / "a b.png")
    labels = LabelSet(("N",), ("annotator",), (LabelledImage("sub/a b.png"), LabelledImage("x.png", (3, 4))))
    label_format("label-studio").write(labels, tmp_path / "t.json", ImageFolder(tmp_path / "xrays"))
    found = [each["data"]["image"] for each in json.loads((tmp_path / "t.json").read_text())]
    assert found == ["/data/local-files/?d=xrays/sub/a%20b.png", "/data/local-files/?d=x.png"]
    assert [image.name for image in read_labels(tmp_path / "t.json")[1].images] == ["sub/a b.png", "x.png"]


def test_sizes_are_needed(tmp_path: Path) -> None:
    labels = LabelSet(("N",), ("a",), (LabelledImage("a.png"),))
    with pytest.raises(
        UserError, match=r"Label Studio needs the size of each image, and that of 'a\.png' is not known"
    ):
        label_format("label-studio").write(labels, tmp_path / "a.json", ImageFolder())


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (export(annotation(point("N", 1, 1), point("N", 2, 2))), r"a\.png: the landmark 'N' is marked twice by 'anna@"),
        (export(annotation(point("N", 1, 1, image_rotation=90))), r"\[0\] \(id 5\): a\.png was turned by 90 degrees"),
        (export(annotation(point("N", "1", 1))), r"'N': x: found '1', expected a number"),  # type: ignore[arg-type]
        (export(annotation(point("N", 1, 1), point("S", 1, 1, original_width=9))), r"a\.png: found 9x400 px, but"),
        (export(annotation({"type": "keypointlabels", "value": {"x": 1, "y": 1}})), "found the labels None at a point"),
        (export(annotation(result="no")), "result: expected a list of objects"),
        (export(data={"text": "no image"}), r"\[0\] \(id 5\): data: found no image among 'text'"),
        (7, r"\[0\]: expected a task with data"),
    ],
)
def test_faults_name_the_task(entry: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, entry), "label-studio")

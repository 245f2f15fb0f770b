"""Predictions in the forms of tools: read back by the forms' readers, they are the detections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.data.labels import Flag, read_labels
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.forms import make_writers
from landmark_diffusion.detection.writer import Writer
from tests.detection.detections import make_detection, make_doubted

NAMES = ("coco", "labelme", "cvat", "label-studio")


def run(name: str, detections: list[Detection], folder: Path) -> list[Path]:
    (writer,) = make_writers([name], folder)
    assert isinstance(writer, Writer)
    targets = writer.targets([each.name for each in detections])
    for each in detections:
        writer.add(each)
    (opened,) = writer.close()
    assert sorted(targets) == sorted(path for path in folder.rglob("*") if path.is_file())
    return [opened, *targets]


def moved(detection: Detection, path: str) -> Detection:
    return replace(detection, path=path)


@pytest.mark.parametrize("name", NAMES)
def test_points_flags_and_scores_come_back(name: str, tmp_path: Path) -> None:
    first, second = moved(make_doubted("a"), "x/a.png"), moved(make_detection("b", seed=1), "x/sub/b.png")
    second.points[2] = np.nan
    opened, *_ = run(name, [first, second], tmp_path / "out")
    form, labels = read_labels(opened)
    assert form.name == name and labels.landmark_names == first.landmark_names
    names = ["x/a.png", "x/sub/b.png"] if name == "labelme" else ["a.png", "sub/b.png"]
    assert [Path(image.name).name for image in labels.images] == ["a.png", "b.png"]
    assert name == "labelme" or [image.name for image in labels.images] == names
    (by,) = labels.annotator_names
    for detection, image in zip((first, second), labels.images, strict=True):
        assert image.size == detection.size
        for number, landmark in enumerate(detection.landmark_names):
            mark = image.marks.get((by, landmark))
            if detection.absent[number] and "absent" in form.holds:
                assert mark is not None and mark.flag is Flag.ABSENT
            elif detection.absent[number] or np.isnan(detection.points[number]).any():
                assert mark is None
            else:
                assert mark is not None and np.hypot(*(detection.points[number] - (mark.x, mark.y))) < 1e-6
                doubted = detection.in_doubt[number] and "unsure" in form.holds
                assert mark.flag is (Flag.UNSURE if doubted else Flag.VISIBLE)
                assert "score" not in form.holds or mark.score == (
                    None if detection.far is None else pytest.approx(1 - detection.far[number])
                )
                assert "origin" not in form.holds or mark.origin == "model"


def test_what_a_tool_cannot_hold_is_said(tmp_path: Path, aloud: None, capsys: pytest.CaptureFixture[str]) -> None:
    run("coco", [make_doubted("a")], tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "coco: COCO keypoints has no flag for unsure points: they are written as visible (2 points)",
        "coco: COCO keypoints cannot say that a point is not in the image: it is missing then (1 point)",
    ]


def test_labelme_leads_to_the_image_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "sub" / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    run("labelme", [moved(make_detection("a"), "images/sub/a.png")], Path("found"))
    path = tmp_path / "found" / "labelme" / "a.json"
    assert (path.parent / json.loads(path.read_text())["imagePath"]).samefile("images/sub/a.png")


def test_label_studio_takes_them_for_predictions(tmp_path: Path) -> None:
    """Annotations would be somebody's work; and every name in them is one of the interface's."""
    run("label-studio", [make_doubted("a")], tmp_path)
    (task,) = json.loads((tmp_path / "label_studio.json").read_text())
    (prediction,) = task["predictions"]
    assert "annotations" not in task and prediction["model_version"] == "ceph_small.ldx"
    assert prediction["score"] == pytest.approx(np.mean([0.98, 0.6, 0.99, 0.75]))
    assert 'value="landmark 5"' in (tmp_path / "label_studio.config.xml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_whose_name_is_no_text(name: str, tmp_path: Path) -> None:
    """Such names exist on Linux; the short name, which is safe, stands for them."""
    run(name, [moved(make_detection("b_d"), "x/b\udce4d.png"), make_detection("c")], tmp_path / "out")

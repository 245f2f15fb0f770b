"""LabelMe: files in the shape of its version 5 (labelme/_label_file.py), as no copy of the program is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels


def shape(label: str, points: Any, **more: Any) -> dict[str, Any]:
    made = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": "point", "flags": {}}
    return made | {"mask": None} | more


def document(*shapes: Any, **more: Any) -> dict[str, Any]:
    made = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    return made | {"imageHeight": 400, "imageWidth": 300} | more


def written(folder: Path, content: Any, name: str = "a.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_centre_of_the_first_pixel_is_at_a_half(tmp_path: Path) -> None:
    path = written(tmp_path, document(shape("N", [[0.5, 0.5]]), shape("S", [[100.0, 50.25]], flags={"hidden": True})))
    form, labels = read_labels(path)
    assert form.name == "labelme" and labels.landmark_names == ("N", "S")
    (image,) = labels.images
    assert (image.name, image.size) == ("a.png", (300, 400))
    assert image.marks == {
        ("annotator", "N"): Mark(0, 0), ("annotator", "S"): Mark(99.5, 49.75, Flag.HIDDEN)
    }  # fmt: skip


def test_a_folder_with_sub_folders_other_shapes_and_other_files(tmp_path: Path) -> None:
    written(
        tmp_path, document(shape("N", [[1, 2]]), shape("box", [[1, 2], [3, 4]], shape_type="rectangle")), "x/a.json"
    )
    written(tmp_path, document(shape("S", [[1, 2]]), imagePath="..\\images\\b.png"), "x/b.json")
    written(tmp_path, {"something": "else"}, "zother.json")
    (tmp_path / "labels.txt").write_text("__ignore__\nS\nN\nMe\n")
    _, labels = read_labels(tmp_path)
    assert [image.name for image in labels.images] == ["x/a.png", "images/b.png"]
    assert labels.landmark_names == ("S", "N", "Me")
    assert labels.left_out == {"rectangle": 1, "other JSON file": 1}


def test_a_flag_of_the_image_says_what_is_not_in_it(tmp_path: Path) -> None:
    flags = {"N absent": True, "S absent": False, "teeth absent": True, "good": True}
    written(tmp_path, document(shape("S", [[1, 2]]), flags=flags))
    (tmp_path / "labels.txt").write_text("S\nN\n")
    _, labels = read_labels(tmp_path)
    assert labels.images[0].marks["annotator", "N"].flag is Flag.ABSENT and len(labels.images[0].marks) == 2
    assert labels.left_out == {"flag of an image": 2}


def test_the_program_finds_the_image_from_what_is_written(tmp_path: Path) -> None:
    """It joins the folder of the JSON and imagePath; without the image it does not open the file."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(tmp_path / "images" / "sub" / "a.png")
    labels = LabelSet(
        ("N",), ("annotator",), (LabelledImage("sub/a.png", (3, 4), None, {("annotator", "N"): Mark(1, 1)}),)
    )
    for target in (tmp_path / "out", tmp_path / "images"):
        label_format("labelme").write(labels, target, ImageFolder(tmp_path / "images"), overwrite=True)
        found = json.loads((target / "sub" / "a.json").read_text())
        assert (target / "sub" / found["imagePath"]).resolve() == (tmp_path / "images" / "sub" / "a.png").resolve()
        assert found["shapes"] == [shape("N", [[1.5, 1.5]])] and found["imageData"] is None
    assert (tmp_path / "images" / "sub" / "a.png").is_file()


def test_one_file_cannot_stand_for_two_images(tmp_path: Path) -> None:
    labels = LabelSet(("N",), ("annotator",), (LabelledImage("a.png"), LabelledImage("a.jpg")))
    with pytest.raises(UserError, match=r"one file 'a\.json' for images that differ in their endings: a\.jpg"):
        label_format("labelme").write(labels, tmp_path / "out", ImageFolder())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (document(shape("N", [[1, 2]]), shape("N", [[3, 4]])), r"a\.png: the landmark 'N' is marked twice"),
        (document(shape("N", [[1, 2], [3, 4]])), r"a\.json: shapes\[0\]: found points .* expected one pair"),
        (document(shape("N", [["1", 2]])), r"shapes\[0\] \('N'\): found '1', expected a number"),
        (document(shape("N", [[1e300, 2]])), r"expected a finite number of pixels"),
        (document(shape("", [[1, 2]])), r"shapes\[0\]\.label: found an empty text"),
        (document(shape("\x1b[2J", [[1, 2]])), r"expected a text without control characters"),
        (document(imageWidth=-3), r"imageWidth: found -3, expected whole pixels"),
        (document(imagePath=7), r"imagePath: found 7, expected a text"),
    ],
)
def test_faults_name_the_file_and_the_shape(content: Any, said: str, tmp_path: Path) -> None:
    written(tmp_path, content)
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path)

"""YOLO pose: files in the shape of Ultralytics' documentation (datasets/pose) and of what its loader checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels

ME = "annotator"
DATA = """# Ultralytics YOLO, as coco8-pose.yaml
path: heads # dataset root dir
train: images/train
val: images/train
kpt_shape: [3, 3] # number of keypoints, number of dims
flip_idx: [0, 2, 1]
names:
  0: head
kpt_names:
  0:
    - N
    - S
    - Me
download: https://example.org/heads.zip
"""


def dataset(root: Path, line: str, data: str | None = DATA, size: tuple[int, int] = (200, 400)) -> Path:
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if data is not None:
        (root / "heads.yaml").write_text(data)
    Image.new("L", size).save(root / "images/train/a.png")
    (root / "labels/train/a.txt").write_text(line)
    return root


BOX = "0 0.5 0.5 0.4 0.4"


def test_the_centre_of_the_first_pixel_is_half_a_pixel_from_the_edge(tmp_path: Path) -> None:
    line = f"{BOX} 0.0025 0.00125 2.000000 0.5 0.5 1 0 0 0\n"
    form, labels = read_labels(dataset(tmp_path / "heads", line))
    assert form.name == "yolo" and labels.landmark_names == ("N", "S", "Me")
    (image,) = labels.images
    assert (image.name, image.size) == ("images/train/a.png", (200, 400))
    assert image.marks[ME, "S"] == Mark(99.5, 199.5, Flag.HIDDEN) and (ME, "Me") not in image.marks
    assert (image.marks[ME, "N"].x, image.marks[ME, "N"].y) == pytest.approx((0, 0), abs=1e-9)


def test_mirroring_as_ultralytics_does_it_is_mirroring_the_pixels(tmp_path: Path) -> None:
    """Instances.fliplr: x becomes width - x, in pixels of which the share is taken; pixel i becomes width - 1 - i."""
    for share in (0.3, 1 - 0.3):
        _, labels = read_labels(dataset(tmp_path / str(share), f"{BOX} {share} 0.5 2 0.5 0.5 2 0.5 0.5 2"))
        found = labels.images[0].marks[ME, "N"].x
        assert found == pytest.approx(0.3 * 200 - 0.5 if share == 0.3 else 200 - 1 - (0.3 * 200 - 0.5))


@pytest.mark.parametrize(
    ("line", "data", "names", "points"),
    [
        (f"{BOX} 0.25 0.5 0 0 0.5 0.25", DATA.replace("[3, 3]", "[3, 2]"), ("N", "S", "Me"), ("N", "Me")),
        (f"{BOX} 0.25 0.5 0.75 0.5", None, ("1", "2"), ("1", "2")),
        (f"{BOX} 0.25 0.5 2 0.75 0.5 0", None, ("1", "2"), ("1",)),
        (f"{BOX} 0.25 0.5 2 0 0 0 0.5 0.25 1", DATA.split("kpt_names")[0], ("1", "2", "3"), ("1", "3")),
    ],
    ids=["two numbers each", "no yaml", "no yaml, three numbers", "no names"],
)
def test_keypoints_of_two_and_three_numbers(
    line: str, data: str | None, names: tuple[str, ...], points: tuple[str, ...], tmp_path: Path
) -> None:
    form, labels = read_labels(dataset(tmp_path / "heads", line, data))
    assert form.name == "yolo" and labels.landmark_names == names
    assert {name for _, name in labels.images[0].marks} == set(points)
    assert labels.images[0].marks[ME, names[0]] == Mark(49.5, 199.5)


def test_predictions_of_ultralytics_have_a_probability(tmp_path: Path) -> None:
    _, labels = read_labels(dataset(tmp_path / "heads", f"{BOX} 0.25 0.5 0.875 0.5 0.5 0.25 0.5 0.25 0.5"))
    assert labels.images[0].marks[ME, "N"] == Mark(49.5, 199.5, score=0.875)


def test_boxes_without_keypoints_and_images_without_objects(tmp_path: Path) -> None:
    root = dataset(tmp_path / "heads", f"{BOX}\n\n{BOX} 0.25 0.5 2 0.5 0.5 2 0.5 0.25 2\n")
    (root / "labels/train/b.txt").write_text("")
    (root / "labels/classes.txt").write_text("head\n")
    _, labels = read_labels(root)
    assert labels.left_out == {"box without keypoints": 1}
    assert [(image.name, len(image.marks)) for image in labels.images] == [("images/train/a.png", 3), ("train/b", 0)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            f"{BOX} 0.1 0.1 2 0 0 0 0 0 0\n{BOX} 0.1 0.1 2 0 0 0 0 0 0",
            r"a\.txt:2: images/train/a\.png: found 2 objects with keypoints, expected one",
        ),
        (f"{BOX} 0.1 0.1 2", r"a\.txt:1: found 8 numbers, expected 5 and 3 for each of 3 keypoints"),
        (f"{BOX} 0.1 x 2 0 0 0 0 0 0", r"a\.txt:1: found x, expected numbers"),
        (f"{BOX} 0.1 0.1 3 0 0 0 0 0 0", r"a\.txt:1: 'N': found the third number 3, expected 0, 1 or 2"),
        ("1.5" + BOX[1:] + " 0.1 0.1 2 0 0 0 0 0 0", r"a\.txt:1: found the class 1\.5"),
        (f"{BOX} nan 0.1 2 0 0 0 0 0 0", r"a\.txt:1: 'N': found nan, expected a finite number"),
    ],
)
def test_faults_name_the_line(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_labels(dataset(tmp_path / "heads", line))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DATA.replace("[3, 3]", "[3, 4]"), r"heads\.yaml: kpt_shape: found \[3, 4\]"),
        (DATA.replace("    - Me\n", ""), r"heads\.yaml: kpt_names: expected a list of 3 names"),
        (DATA.replace("[3, 3]", "[3, 3"), r"heads\.yaml: the file is no yaml"),
        (DATA.replace("[3, 3]", "!!python/name:os.system"), r"heads\.yaml: the file is no yaml"),
    ],
)
def test_faults_of_the_yaml(data: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_labels(dataset(tmp_path / "heads", f"{BOX} 0.1 0.1 2 0 0 0 0 0 0", data))


def test_without_the_image_its_size_is_asked_for(tmp_path: Path) -> None:
    root = dataset(tmp_path / "heads", f"{BOX} 0.1 0.1 2 0 0 0 0 0 0")
    (root / "images/train/a.png").unlink()
    with pytest.raises(DataError, match=r"a\.txt:1: the size of the image 'train/a' is not known.*--images"):
        read_labels(root)


def test_what_is_written_is_what_the_loader_takes(tmp_path: Path) -> None:
    """``verify_image_label``: 5 + 3 n numbers, none below 0, no point above 1; a box without area is left out."""
    marks = {("anna", "N"): Mark(-0.5, 399.5), ("anna", "Me"): Mark(10, 20, Flag.HIDDEN)}
    images = (LabelledImage("x/a.png", (200, 400), None, marks), LabelledImage("b.png", (10, 10)))
    labels = LabelSet(("N", "S", "Me"), ("anna",), images)
    lost = label_format("yolo").write(labels, tmp_path / "out", ImageFolder())
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert (
        data["kpt_shape"] == [3, 3] and data["kpt_names"] == {0: ["N", "S", "Me"]} and data["names"] == {0: "landmarks"}
    )
    listed = (tmp_path / "out" / data["train"]).read_text().split()
    assert listed == ["./images/x/a.png", "./images/b.png"]
    assert (tmp_path / "out" / "labels" / "b.txt").read_text() == ""
    line = np.array((tmp_path / "out" / "labels" / "x" / "a.txt").read_text().split(), float)
    assert len(line) == 5 + 3 * 3 and line.min() >= 0 and line[0] == 0
    points = line[5:].reshape(3, 3)
    assert points[:, :2].max() <= 1 and list(points[:, 2]) == [2, 0, 1]
    np.testing.assert_allclose(points[0, :2] * (200, 400) - 0.5, (-0.5, 399.5), atol=1e-9)
    x, y, width, height = line[1:5]
    assert 0 < width <= 1 and 0 < height <= 1
    for point in points[[0, 2], :2]:
        assert abs(point[0] - x) <= width / 2 + 1e-12 and abs(point[1] - y) <= height / 2 + 1e-12
    assert lost == ["YOLO pose keeps no annotator's name", "YOLO pose keeps no size of images (2 images)"]


def test_what_ultralytics_would_pass_over_is_said(tmp_path: Path) -> None:
    out = LabelSet(("N",), ("annotator",), (LabelledImage("a.png", (9, 9), None, {("annotator", "N"): Mark(9, 3)}),))
    lost = label_format("yolo").write(out, tmp_path / "out", ImageFolder())
    assert lost[-1] == "YOLO pose reads no image with points outside it (1 point)"
    twins = LabelSet(("N",), ("annotator",), (LabelledImage("a.png", (9, 9)), LabelledImage("a.jpg", (9, 9))))
    with pytest.raises(UserError, match="one text for images that differ in their endings"):
        label_format("yolo").write(twins, tmp_path / "twins", ImageFolder())

"""A folder with labels of a tool trains without a conversion: the same samples as our table with the same points."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels import Flag, ImageFolder, LabelledImage, LabelSet, Mark, label_format
from landmark_diffusion.data.labels.label_set import ABSENT
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.studies.suggest.pool import labelled_names, own_labels

SIZE = (64, 80)
NAMES = ("N", "S", "Me")
FORMS = ("coco", "labelme", "cvat", "cvat-skeleton", "label-studio", "via", "via-csv", "slicer", "yolo", "deeplabcut")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def points(number: int, who: int = 0) -> dict[str, Mark]:
    """Each image lacks a point; one is hidden, and one is said not to be in the image."""
    marks = {name: Mark(5.25 + number + 9 * n + who, 7.5 + 2 * number, Flag.VISIBLE) for n, name in enumerate(NAMES)}
    marks["N"] = Mark(marks["N"].x, marks["N"].y, Flag.HIDDEN)
    if number == 1:
        marks["Me"] = ABSENT
    if number == 2:
        del marks["S"]
    return marks


def label_set(people: tuple[str, ...] = ("anna",), count: int = 4) -> LabelSet:
    images = [
        LabelledImage(f"x/{number}.png", SIZE, None, {
            (by, name): mark for who, by in enumerate(people) for name, mark in points(number, who).items()
        })
        for number in range(count)
    ]  # fmt: skip
    return LabelSet((*NAMES, "never"), people, (*images, LabelledImage("x/bare.png", SIZE)))


def folder(root: Path, form: str, labels: LabelSet) -> Path:
    """Images in ``x``, and the labels of all of them as the tool would leave them in the root."""
    (root / "x").mkdir(parents=True)
    for number, image in enumerate(labels.images):
        ramp = (np.add.outer(np.arange(SIZE[1]), np.arange(SIZE[0])) % 200 + 10 * number).astype(np.uint8)
        Image.fromarray(ramp).save(root / image.name)
    made = label_format(form)
    target = root / f"labels{made.suffix}" if made.suffix else root
    made.write(labels, target, ImageFolder(root), overwrite=True)
    for beside in root.glob("labels.*.xml"):  # the interface of Label Studio is no labels
        beside.unlink()
    return root


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_samples_of_our_table(form: str, tmp_path: Path) -> None:
    table = FolderDataset(folder(tmp_path / "csv", "csv", label_set().__class__(
        NAMES, ("anna",), tuple(image for image in label_set().images if image.marks)
    )), split="all")  # fmt: skip
    dataset = FolderDataset(folder(tmp_path / "own", form, label_set()), split="all")
    assert set(dataset.landmark_names) == set(NAMES) and dataset.unit == "px"
    order = [dataset.landmark_names.index(name) for name in table.landmark_names]
    expected = {sample.image_id.rpartition("/")[2]: sample for sample in table.samples("train")}
    found = {sample.image_id.rpartition("/")[2]: sample for sample in dataset.samples("train")}
    assert found.keys() == expected.keys()
    for name, sample in expected.items():
        np.testing.assert_allclose(found[name].annotations[:, order], sample.annotations, atol=1e-6)
        np.testing.assert_array_equal(dataset.load_image(found[name]), table.load_image(sample))
    notes = "\n".join(dataset.notes())
    assert "read as " in notes and "1 of 5 images has no point and is left out: bare.png" in notes
    assert not [finding for finding in dataset.check() if finding.level == "error"]


def test_several_annotators_are_kept(tmp_path: Path) -> None:
    dataset = FolderDataset(folder(tmp_path / "own", "label-studio", label_set(("anna", "bo"))), split="all")
    assert dataset.annotator_names == ("anna", "bo")
    sample = dataset.samples("train")[0]
    assert sample.annotations.shape == (2, 3, 2)
    np.testing.assert_allclose(sample.annotations[1, 1] - sample.annotations[0, 1], (1, 0), atol=1e-6)
    assert any("marked by anna, bo" in note for note in dataset.notes())


def test_labels_of_a_tool_in_another_folder_and_their_form_can_be_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "own", "coco", label_set())
    (root / "more").mkdir()
    (root / "labels.json").rename(root / "more" / "points.json")
    with pytest.raises(
        DataError, match="no CSV file in this folder; expected the one with the landmarks, or labels of"
    ):
        FolderDataset(root)
    for form in (None, "coco"):
        dataset = FolderDataset(root, csv="more/points.json", split="all", form=form)
        assert len(dataset.samples("train")) == 4


def test_labels_where_exports_have_them_and_by_the_form_alone(tmp_path: Path) -> None:
    """COCO of CVAT: annotations/person_keypoints_default.json beside images."""
    root = folder(tmp_path / "own", "coco", label_set())
    (root / "annotations").mkdir()
    exported = root / "annotations" / "person_keypoints_default.json"
    (root / "labels.json").rename(exported)
    dataset = FolderDataset(root, split="all")
    assert dataset.table.path == exported and len(dataset.samples("train")) == 4
    label_format("via").write(label_set(count=3), root / "annotations" / "via.json", ImageFolder(root))
    with pytest.raises(
        DataError, match=r"\(annotations/person_keypoints_default\.json \(COCO keypoints\), annotations/"
    ):
        FolderDataset(root)
    marked = tuple(image for image in label_set(count=3).images if image.marks)
    label_format("csv").write(LabelSet(NAMES, ("anna",), marked), root / "points.csv", ImageFolder(root))
    with pytest.raises(DataError, match=r"form: found 0 files in this folder that end in \.json, expected one of COCO"):
        FolderDataset(root, form="coco")
    exported.rename(root / "labels.json")
    assert len(FolderDataset(root, form="coco", split="all").samples("train")) == 4
    assert len(FolderDataset(root, split="all").samples("train")) == 3  # by the table
    assert main(["data", "check", "--form", "coco", "--root", str(root), "--no-decode"]) == 0


def test_a_folder_of_labelme_files_beside_its_images(tmp_path: Path) -> None:
    """As LabelMe itself saves them."""
    root = folder(tmp_path / "own", "labelme", label_set())
    assert (root / "x" / "0.json").exists()
    dataset = FolderDataset(root, split="all")
    assert dataset.landmark_names == NAMES and "never" in "".join(dataset.notes())
    content = json.loads((root / "x" / "3.json").read_text())
    content["shapes"][1]["points"] = [[500, 30]]
    content["imageWidth"] = 128
    (root / "x" / "3.json").write_text(json.dumps(content))
    errors = [finding.message for finding in FolderDataset(root).check() if finding.level == "error"]
    assert errors == [
        f"{root / 'x' / '3.json'}: landmark 'S' of 'x/3.png' lies at (499.5, 29.5), outside its image of 64x80 px; "
        "expected pixels (x, y) of the full image, counted from the top left",
        f"{root / 'x' / '3.json'}: width and height are 128x80, but 'x/3.png' has 64x80 px",
    ]
    content["shapes"].append(content["shapes"][0])
    (root / "x" / "3.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"the landmark 'N' is marked twice"):
        FolderDataset(root)


def test_several_labels_a_damaged_one_and_a_table_beside(tmp_path: Path) -> None:
    root = folder(tmp_path / "own", "coco", label_set())
    other = label_set(count=3)
    label_format("via").write(other, root / "via.json", ImageFolder(root))
    said = (
        r"2 files with labels in this folder \(labels\.json \(COCO keypoints\), via\.json \(VIA\)\); name the one .*csv"
    )
    with pytest.raises(DataError, match=said):
        FolderDataset(root)
    (root / "via.json").unlink()
    whole = (root / "labels.json").read_text()
    (root / "labels.json").write_text(whole[:-30])
    with pytest.raises(DataError, match=r"labels\.json:\d+: the file is no whole JSON"):
        FolderDataset(root)
    (root / "labels.json").write_text(whole)
    label_format("csv").write(other, root / "points.csv", ImageFolder(root))
    dataset = FolderDataset(root, split="all")
    assert dataset.table.path.name == "points.csv"
    assert any("not used: 1 file beside this table that may hold labels (labels.json)" in n for n in dataset.notes())


def test_missing_images_and_the_same_image_twice_name_the_entry(tmp_path: Path) -> None:
    root = folder(tmp_path / "own", "labelme", label_set())
    (root / "x" / "1.png").unlink()
    (root / "x" / "2.png").write_bytes((root / "x" / "3.png").read_bytes())
    errors = [finding.message for finding in FolderDataset(root).check() if finding.level == "error"]
    assert len(errors) == 2 and errors[0].startswith(f"{root / 'x' / '1.json'}: the image 'x/1.png' is not there")
    with pytest.raises(DataError, match="these labels have no column 'part', and none at all"):
        FolderDataset(root, split_column="part")


def test_points_of_a_model_are_told(tmp_path: Path) -> None:
    """Predictions for correcting lie in the same form as labels."""
    marks = {("anna", "N"): Mark(3, 4, origin="model"), ("anna", "S"): Mark(5, 6, origin="corrected")}
    root = folder(
        tmp_path / "own", "labelme", LabelSet(NAMES, ("anna",), (LabelledImage("x/0.png", SIZE, None, marks),))
    )
    assert any("1 of 2 points are a model's, which nobody corrected" in note for note in FolderDataset(root).notes())


def test_labels_without_any_point_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "own", "coco", LabelSet(NAMES, ("anna",), (LabelledImage("x/a.png", SIZE),)))
    with pytest.raises(DataError, match=r"labels\.json: found no point in the labels \(COCO keypoints\) of 1"):
        FolderDataset(root)


def test_suggest_knows_which_images_a_tool_has_labelled(tmp_path: Path) -> None:
    root = folder(tmp_path / "own", "labelme", label_set())
    found = own_labels(root)
    assert found == root and labelled_names(found) == [f"x/{number}.png" for number in range(4)]
    coco = own_labels(folder(tmp_path / "coco", "coco", label_set()))
    assert coco is not None and labelled_names(coco) == [f"x/{number}.png" for number in range(4)]
    (tmp_path / "none").mkdir()
    assert own_labels(tmp_path / "none") is None


@pytest.mark.parametrize("form", ["label-studio", "coco", "cvat", "via", "deeplabcut"])
def test_images_in_sub_folders_that_the_labels_do_not_name_are_found(form: str, tmp_path: Path) -> None:
    """As `ldx data convert` finds them: Label Studio and others export the bare names of files."""
    labels = label_set()
    bare = [LabelledImage(Path(each.name).name, each.size, None, each.marks) for each in labels.images]
    labels = LabelSet(labels.landmark_names, labels.annotator_names, tuple(bare[:-1]))
    (tmp_path / "x" / "left side").mkdir(parents=True)
    for number, image in enumerate(labels.images):
        Image.fromarray(np.full((SIZE[1], SIZE[0]), 10 * number + np.arange(SIZE[0]), np.uint8)).save(
            tmp_path / ("x" if number % 2 else "x/left side") / image.name
        )
    made = label_format(form)
    made.write(labels, tmp_path / f"labels{made.suffix}", ImageFolder(tmp_path), overwrite=True)
    for beside in tmp_path.glob("labels.*.xml"):
        beside.unlink()
    read = FolderDataset(tmp_path, split="all")
    assert [each.image_id for each in read.samples("train")] == [f"{number}.png" for number in range(4)]
    assert not [each for each in read.check() if each.level == "error"]
    (note,) = (each for each in read.notes() if "matched" in each)
    assert note.endswith("4 names matched although the file differs in the folder: '0.png' is 'x/left side/0.png', ...")
    shutil.copy(tmp_path / "x" / "1.png", tmp_path / "x" / "left side" / "1.png")
    with pytest.raises(DataError, match=r"the image '1\.png' can mean .*x/1\.png, .*x/left side/1\.png"):
        FolderDataset(tmp_path, split="all").samples("train")

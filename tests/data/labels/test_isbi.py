"""ISBI 2015's text files: as the data set isbi2015 reads them, and the challenge's own where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.labels import ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES, Isbi2015Dataset, read_points


def label_set(*names: str, annotators: tuple[str, ...] = ("senior", "junior")) -> LabelSet:
    images = []
    for shift, name in enumerate(names):
        marks = {
            (by, landmark): Mark(100.0 * n + shift + 0.25, 20.0 * n + a / 3)
            for a, by in enumerate(annotators) for n, landmark in enumerate(LANDMARK_NAMES)
        }  # fmt: skip
        images.append(LabelledImage(name, None, None, marks))
    return LabelSet(LANDMARK_NAMES, annotators, tuple(images))


def test_a_round_trip_in_the_folders_that_the_data_set_reads(tmp_path: Path) -> None:
    labels = label_set("001.jpg", "x/002.jpg")
    assert label_format("isbi").write(labels, tmp_path / "out", ImageFolder()) == [
        "ISBI 2015 keeps no folder and ending of an image's name (2 images)"
    ]
    points, faults = read_points(tmp_path / "out" / "400_junior" / "002.txt")
    assert not faults and np.array_equal(points, labels.points(labels.images[1])[1])
    form, found = read_labels(tmp_path / "out")
    assert form.name == "isbi" and [image.name for image in found.images] == ["001", "002"]
    for image, expected in zip(found.images, labels.images, strict=True):
        assert image.marks == expected.marks


def test_what_it_cannot_hold(tmp_path: Path) -> None:
    labels = label_set("001", "002")
    del labels.images[1].marks["junior", "sella"]
    lost = label_format("isbi").write(labels, tmp_path / "out", ImageFolder())
    assert lost == ["ISBI 2015 has no line for a missing point: left out 1 images or readings, 002"]
    assert not (tmp_path / "out" / "400_junior" / "002.txt").exists()
    says = r"senior and junior alone, found 'anna': .* put senior or junior for 'anna' in its column annotator.* that$"
    with pytest.raises(UserError, match=says):
        label_format("isbi").write(label_set("1", annotators=("anna",)), tmp_path / "no", ImageFolder())
    both = label_set("1", annotators=("anna", "junior"))
    with pytest.raises(UserError, match=r"or write junior alone by --annotator junior$"):
        label_format("isbi").write(both, tmp_path / "no", ImageFolder())
    with pytest.raises(UserError, match="its 19 landmarks without their names, and 'sella' is missing"):
        label_format("isbi").write(LabelSet(("N",), ("senior",), ()), tmp_path / "no", ImageFolder())
    with pytest.raises(UserError, match=r"two images would have the file 400_senior/001\.txt"):
        label_format("isbi").write(label_set("001.jpg", "x/001.jpg"), tmp_path / "no", ImageFolder())


def test_a_faulty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "400_senior").mkdir()
    (tmp_path / "400_senior" / "001.txt").write_text("1,2\n" * 18)
    with pytest.raises(DataError, match=r"001\.txt:19: found 18 points, expected 19 lines x,y"):
        read_labels(tmp_path)


def test_the_challenge_s_own_files(shared_data: Callable[[str], Path]) -> None:
    """All that the data set finds in them, by image, doctor and landmark."""
    root = shared_data("isbi2015")
    form, labels = read_labels(root)
    assert form.name == "isbi" and labels.annotator_names == ("senior", "junior")
    by_stem = {Path(image.name).stem: image for image in labels.images}
    samples = Isbi2015Dataset(root).samples("train")
    assert len(samples) == 150
    for sample in samples:
        assert np.array_equal(labels.points(by_stem[sample.image_id]), sample.annotations)

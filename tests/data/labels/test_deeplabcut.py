"""DeepLabCut: tables as pandas 3.1.1 wrote frames of scorer, bodyparts and coords; it read what is written here."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels import ImageFolder, LabelledImage, LabelSet, Mark, label_format, read_labels

ONE_COLUMN = """scorer,Anna,Anna,Anna,Anna
bodyparts,snout,snout,tail base,tail base
coords,x,y,x,y
labeled-data/video/img001.png,12.5,34.0,,
labeled-data/video/img002.png,1.0,2.0,3.0,4.25
"""
THREE_COLUMNS = """scorer,,,Anna,Anna,Anna,Anna
bodyparts,,,snout,snout,tail base,tail base
coords,,,x,y,x,y
labeled-data,video,img001.png,12.5,34.0,,
labeled-data,video,img002.png,1.0,2.0,3.0,4.25
"""
"""As versions from 2.3 on write it, with an index of three levels."""
PREDICTED = """scorer,DLC_resnet50,DLC_resnet50,DLC_resnet50
bodyparts,snout,snout,snout
coords,x,y,likelihood
img001.png,12.5,34.0,0.75
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "CollectedData_Anna.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [ONE_COLUMN, THREE_COLUMNS, ONE_COLUMN.replace("\n", "\r\n")])
def test_both_kinds_of_index_are_read_without_a_shift(text: str, tmp_path: Path) -> None:
    form, labels = read_labels(written(tmp_path, text))
    assert form.name == "deeplabcut" and labels.landmark_names == ("snout", "tail base")
    assert labels.annotator_names == ("Anna",)
    first, second = labels.images
    assert first.name == "labeled-data/video/img001.png" and first.marks == {("Anna", "snout"): Mark(12.5, 34)}
    assert second.marks["Anna", "tail base"] == Mark(3, 4.25)


def test_images_are_called_by_their_place_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine" / "video").mkdir(parents=True)
    Image.new("L", (9, 9)).save(tmp_path / "mine" / "video" / "img001.png")
    _, labels = read_labels(written(tmp_path, ONE_COLUMN), images=tmp_path / "mine")
    assert labels.images[0].name == "video/img001.png"


def test_predictions_have_a_score(tmp_path: Path) -> None:
    _, labels = read_labels(written(tmp_path, PREDICTED))
    assert labels.images[0].marks == {("DLC_resnet50", "snout"): Mark(12.5, 34, score=0.75)}


def test_several_animals_are_refused_and_one_is_read(tmp_path: Path) -> None:
    head, _, rest = ONE_COLUMN.partition("\n")
    _, labels = read_labels(written(tmp_path, f"{head}\nindividuals,m1,m1,m1,m1\n{rest}"))
    assert labels.landmark_names == ("snout", "tail base")
    with pytest.raises(DataError, match=r"Anna\.csv:2: found 2 individuals \('m1', 'm2'\), expected one object"):
        read_labels(written(tmp_path, f"{head}\nindividuals,m1,m1,m2,m2\n{rest}"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("12.5", "far", r"Anna\.csv:4: x: found 'far', expected a number"),
        ("3.0,4.25", "3.0,", r"Anna\.csv:5: y: found nan, expected a finite number"),
        ("3.0,4.25", "3.0", r"Anna\.csv:5: found 4 cells, expected 5"),
        ("coords,x,y,x,y", "coords,x,y,x,z", r"Anna\.csv:3: coords: found 'z' for 'tail base'"),
        ("snout,snout,tail base,tail base", "snout,snout,snout,snout", r"Anna\.csv:3: coords: found 'x' for 'snout'"),
        ("img002", "img001", r"Anna\.csv:5: the image 'labeled-data/video/img001\.png' is there twice"),
    ],
)
def test_faults_name_the_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in ONE_COLUMN
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, ONE_COLUMN.replace(old, new)))


def test_what_is_written_has_its_three_rows(tmp_path: Path) -> None:
    marks = {("Anna", "snout"): Mark(12.5, 34)}
    image = LabelledImage("labeled-data/video/img001.png", (640, 480), None, marks)
    labels = LabelSet(("snout", "tail base"), ("Anna",), (image,))
    lost = label_format("deeplabcut").write(labels, tmp_path / "CollectedData_Anna.csv", ImageFolder())
    assert (tmp_path / "CollectedData_Anna.csv").read_text().splitlines() == ONE_COLUMN.splitlines()[:4]
    assert lost == ["DeepLabCut keeps no size of images (1 image)"]

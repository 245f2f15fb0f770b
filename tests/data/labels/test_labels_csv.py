"""Our CSV as a form of labels: flags beside points, by the same rules as the folder data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.labels import Flag, Mark, read_labels
from landmark_diffusion.data.labels.label_set import ABSENT
from landmark_diffusion.data.sources.folder.table import read_table

LONG = """image,annotator,landmark,x,y,flag,origin,time,score,width,height
b/a.png,anna,N,1.5,2,hidden,corrected,2026-01-01T10:00:00,0.25,300,400
b/a.png,anna,S,,,absent,,,,300,400
b/a.png,bo,N,3,4,unsure,,,,300,400
b/a.png,bo,S,,,,,,,300,400
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_said_of_points_is_read(tmp_path: Path) -> None:
    form, labels = read_labels(written(tmp_path, LONG))
    assert form.name == "csv" and labels.landmark_names == ("N", "S") and labels.annotator_names == ("anna", "bo")
    (image,) = labels.images
    assert (image.name, image.size) == ("b/a.png", (300, 400))
    assert image.marks["anna", "N"] == Mark(1.5, 2, Flag.HIDDEN, "corrected", "2026-01-01T10:00:00", 0.25)
    assert image.marks["bo", "N"] == Mark(3, 4, Flag.UNSURE)
    assert image.marks["anna", "S"].flag is ABSENT.flag and len(image.marks) == 3


def test_the_folder_data_set_reads_the_same_points(tmp_path: Path) -> None:
    """Absent and missing points train nothing; flags are no points."""
    table = read_table(written(tmp_path, LONG), "split")
    assert not table.faults and {mark[:2] for mark in table.rows["b/a.png"].marks} == {("anna", "N"), ("bo", "N")}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,anna,N,1,2,seen,,,,,", r"csv:2: flag: found 'seen', expected visible, hidden, unsure or absent"),
        ("a.png,anna,N,1,2,absent,,,,,", r"csv:2: flag: found 'absent' beside a point of 'N'"),
        ("a.png,anna,N,1,2,,mine,,,,", r"csv:2: origin: found 'mine', expected by hand, model, corrected"),
        ("a.png,anna,N,1,2,,,,high,,", r"csv:2: score: found 'high', expected a number"),
        ("a.png,anna,N,1,9e9,,,,,,", r"csv:2: y: found 9e\+09, expected pixels of the image"),
        ("a.png,anna,N,1,,,,,,,", r"csv:2: landmark 'N': found only one of x and y"),
    ],
)
def test_faults_name_the_line(row: str, said: str, tmp_path: Path) -> None:
    header = LONG.partition("\n")[0]
    with pytest.raises(DataError, match=said):
        read_labels(written(tmp_path, f"{header}\n{row}\n"))

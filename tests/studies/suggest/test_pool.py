"""Which images there are, and which of them have labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.studies.suggest.pool import (
    PoolImage,
    drawn,
    folder_images,
    labelled_names,
    match_names,
    own_table,
)


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.arange(600, dtype=np.uint8).reshape(20, 30))


def listed(root: Path, results: str = "out") -> list[str]:
    return [each.name for each in folder_images(root, root / results, lambda line: None)]


def test_images_lie_in_the_folder_else_below(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "er" / "c.png")
    write(tmp_path / ".thumbs" / "d.png")
    write(tmp_path / "out" / "suggestions.png")
    assert listed(tmp_path) == ["deep/er/c.png"]
    write(tmp_path / "images" / "b.tif")
    assert listed(tmp_path) == ["b.tif"]
    write(tmp_path / "a.bmp")
    assert listed(tmp_path) == ["a.bmp"]
    assert folder_images(tmp_path, tmp_path / "out", print)[0].read().grey.shape == (20, 30)


def test_images_in_folders_that_are_not_looked_at_are_counted(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "b/1.png",
        "b/deep/2.png",
        "\u00dcbung A/3.png",
        "out/4.png",
        ".thumbs/5.png",
        "b/.old/6.png",
    ):
        write(tmp_path / name)
    (tmp_path / "notes").mkdir()
    told: list[str] = []
    folder_images(tmp_path, tmp_path / "out", told.append)
    assert told == ["3 images in sub-folders are not looked at (b/, \u00dcbung A/); for those name the sub-folder"]
    (tmp_path / "a.png").unlink()
    told.clear()
    folder_images(tmp_path, tmp_path / "out", told.append)
    assert told == []  # those in all folders are
    write(tmp_path / "images" / "c" / "7.png")
    folder_images(tmp_path, tmp_path / "out", told.append)
    assert told == ["3 images in sub-folders are not looked at (b/, \u00dcbung A/); for those name the sub-folder"]


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no radiograph found"):
        listed(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        listed(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,a_x,a_y\n1.png,3,4\n2.png,,\n3.png,,5\n", ["1.png", "3.png"]),
        ("file;landmark;x;y\n1;a;3;4\n1;b;3;4\n2;a;;\n", ["1"]),
        ("rank,image,reason\n1,b.png,typical\n2,c.png,other\n,,\n", ["b.png", "c.png"]),
        ("id\n007\n008\n", ["007", "008"]),
    ],
)
def test_rows_with_points_name_the_labelled_ones(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert labelled_names(tmp_path / "t.csv") == expected


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="no column with the image"):
        labelled_names(tmp_path / "t.csv")


def test_names_are_matched_as_people_write_them() -> None:
    images = ["a/001.png", "a/002.PNG", "b/001.png", "x.1.dcm", "7.png", "07.png"]
    assert match_names(images, ["a/001.png"]) == ({0}, [])
    assert match_names(images, ["001"]) == ({0, 2}, [])
    assert match_names(images, ["a\\002.png", "2"]) == ({1}, [])
    assert match_names(images, ["x.1", "7.png"]) == ({3, 4}, [])
    assert match_names(images, ["0007", "nobody.png"]) == (set(), ["0007", "nobody.png"])


def test_several_tables_have_to_be_told_apart(tmp_path: Path) -> None:
    assert own_table(tmp_path) is None
    (tmp_path / "book.xlsx").write_bytes(b"")
    assert own_table(tmp_path) == tmp_path / "book.xlsx"
    (tmp_path / "a.csv").write_text("image\n")
    assert own_table(tmp_path) == tmp_path / "a.csv"
    (tmp_path / "b.tsv").write_text("image\n")
    with pytest.raises(DataError, match="--labelled"):
        own_table(tmp_path)


def test_of_too_many_a_draw_is_looked_at_with_all_that_have_labels() -> None:
    def read() -> None:
        raise AssertionError

    images = [PoolImage(str(place), "", read) for place in range(50)]  # type: ignore[arg-type]
    assert drawn(images, {3}, 0, most=50) == list(range(50))
    some = drawn(images, {3, 40}, 0, most=10)
    assert len(some) == 10 and {3, 40} <= set(some) and some == sorted(some)
    assert some == drawn(images, {3, 40}, 0, most=10) != drawn(images, {3, 40}, 1, most=10)

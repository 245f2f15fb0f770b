"""Which files are looked at: nothing twice, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.inputs import find_images


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with pictures, something else, and a folder below it."""
    monkeypatch.chdir(tmp_path)
    for name in ("x/2.png", "x/10.JPG", "x/1.dcm", "x/notes.txt", "x/.hidden.png", "x/deep/3.tif", "empty/readme.md"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("no image: nothing is opened here")


def found(*asked: str, recursive: bool = False) -> list[str]:
    return [str(path) for path in find_images(asked, recursive)]


def test_folder_gives_its_radiographs_in_order_and_those_below_only_when_asked() -> None:
    assert found("x") == ["x/1.dcm", "x/10.JPG", "x/2.png"]
    assert found("x", recursive=True) == ["x/1.dcm", "x/10.JPG", "x/2.png", "x/deep/3.tif"]


def test_pattern_gives_what_matches_but_no_folders() -> None:
    assert found("x/*.png") == ["x/2.png"]
    assert found("x/*") == ["x/1.dcm", "x/10.JPG", "x/2.png", "x/notes.txt"]
    assert "x/deep/3.tif" in found("x/**")


def test_order_is_that_of_the_command_line() -> None:
    assert found("x/deep/3.tif", "x/2.png", "x/1.dcm") == ["x/deep/3.tif", "x/2.png", "x/1.dcm"]


def test_file_that_is_named_in_several_ways_is_looked_at_once() -> None:
    """Twice the same radiograph would count twice in whatever is made of the table."""
    again = ["x/2.png", "./x/2.png", "x/../x/2.png", str(Path("x/2.png").absolute()), "x/*.png"]
    assert found(*again) == ["x/2.png"]
    assert found("x/2.png", "x") == ["x/2.png", "x/1.dcm", "x/10.JPG"]


def test_what_is_passed_over_is_told() -> None:
    """Pictures of other kinds were dropped without a word, as was a file that stands twice in the command."""
    for name in ("x/anim.gif", "x/webp.webp", "x/deep/b.WEBP", "x/.hidden.gif"):
        Path(name).touch()
    said: list[str] = []
    assert [str(path) for path in find_images(["x", "x/2.png", "x/2.png"], tell=said.append)] == found("x")
    assert said == [
        "2 files of other kinds (.gif, .webp) were not looked at",
        "1 file is named more than once and is looked at once: x/2.png",
    ]
    said.clear()
    find_images(["x/2.png", "x/1.dcm"], tell=said.append)
    assert said == []
    Path("empty/a.gif").touch()
    with pytest.raises(UserError, match=r"no radiograph .*; 1 file of another kind \(\.gif\) was not looked at"):
        find_images(["empty"])


def test_file_that_is_named_itself_is_listed_whatever_it_is() -> None:
    """It is told of by name when it is read, and the others are finished."""
    assert found("x/notes.txt", "gone.png", "n" * 300 + ".png") == ["x/notes.txt", "gone.png", "n" * 300 + ".png"]


def test_file_whose_name_looks_like_a_pattern_is_taken_by_its_name() -> None:
    Path("x/a[0].png").touch()
    Path("x/a0.png").touch()
    assert found("x/a[0].png") == ["x/a[0].png"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("empty", "empty: found no radiograph in the folder"),
        ("y/*.png", r"y/\*.png: no file matches this pattern"),
        ("n" * 300 + "*", "no file matches this pattern"),
        ("nope/", "nope/: the folder does not exist"),
        ("", "found an empty name"),  # a shell's variable that is not set, not the current folder
    ],
)
def test_nothing_found_is_said(asked: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        find_images(["x/2.png", asked])


def test_folder_with_radiographs_below_alone_says_how_to_reach_them() -> None:
    Path("x/deep/er").mkdir()
    Path("x/deep/er/4.png").touch()
    Path("x/deep/3.tif").unlink()
    with pytest.raises(UserError, match="--recursive looks into its sub-folders"):
        find_images(["x/deep"])


def test_pictures_of_an_earlier_run_are_not_taken_for_radiographs(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "out" / "overlays").mkdir(parents=True)
    for name in ("a.png", "out/overlays/a.png", "outside.png"):
        (folder / name).touch()
    found = find_images([str(folder)], recursive=True, results=folder / "out")
    assert [path.name for path in found] == ["a.png", "outside.png"]
    named = folder / "out" / "overlays" / "a.png"
    assert find_images([str(named)], results=folder / "out") == [named]  # asked for by its own name

"""`ldx data check` lists every fault at once and tells by its exit status; `ldx cache clear` says what it removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli.data_verbs import run_cache_clear, run_data_check
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.cache import ImageCache
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.training.datamodule import LandmarkDataModule


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a folder with a rather long name that would be wrapped by an eighty column table"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.add.outer(np.arange(30), np.arange(40)).astype(np.uint8)).save(folder / name)
    (folder / "points.csv").write_text("image,x1,y1,part\na.png,1,2,train\nb.png,3,4,val\nc.png,5,6,test\n")
    return folder


def test_good_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_data_check(["--dataset", "folder", "--root", str(root), "--split-column", "part"]) == 0
    out = capsys.readouterr().out
    assert "train 1, val 1, test 1" in out and "error:" not in out


def test_a_config_of_another_dataset_keeps_its_split_to_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It came to "split: found 'official'"."""
    config = ["--config", "ceph_diffusion_small.yaml", "--dataset", "folder", "--root", str(root)]
    assert run_data_check(config) == 0
    assert "train 1, val 1, test 1" in capsys.readouterr().out
    assert run_data_check([*config, "--split", "folds:3/1"]) == 0


def test_all_faults_at_once_each_on_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "points.csv").write_text("image,x1,y1\na.png,nan,2\nb.png,3,400\ne.png,5,6\n")
    (root / "b.png").write_bytes((root / "b.png").read_bytes()[:50])
    assert run_data_check(["--csv", "points.csv", "--root", str(root)]) == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 5
    places = (*(f"points.csv:{line}: " for line in (2, 3, 4)), "c.png: ", "b.png: ")
    for place in (f"{root}/{name}" for name in places):
        assert sum(place in line for line in errors) == 1
    assert run_data_check(["--csv", "points.csv", "--root", str(root), "--no-decode"]) == 1
    assert f"{root}/b.png: " not in capsys.readouterr().out


def test_how_the_table_was_read_and_divided_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = root / "points.csv"
    table.write_bytes("image;x1;y1;set;Größe\na;1,5;2;train;3\nb;3;4;val;3\nc;5;6;test;3\n".encode("cp1252"))
    assert run_data_check(["--dataset", "folder", "--root", str(root)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert [line for line in notes if "were not looked for" not in line] == [
        f"note: {table}: the file is not UTF-8; it was read as Windows-1252 (Western European)",
        f"note: {table}: decimal comma in 1 cell, such as 1,5 in line 2",
        f"note: {table}: not used: the column Größe",
        f"note: {table}: split by the column 'set': train 1, val 1, test 1",
        f"note: {table}: only 1 test image: the figures will say little; `ldx crossval` tests every image once",
    ]


def test_config_tells_the_dataset_and_options_come_over_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(
        f"data:\n  dataset: folder\n  root: {root}\n  dataset_options:\n    split_column: part\n"
    )
    assert run_data_check(["--config", "mine.yaml"]) == 0
    assert "val 1" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"no column 'parts'\. Did you mean 'part'"):
        run_data_check(["--config", "mine", "--split-column", "parts"])
    Path("nested.yaml").write_text(f"data:\n  class_path: X\n  init_args:\n    dataset: folder\n    root: {root}\n")
    assert run_data_check(["-c", "nested.yaml"]) == 0


@pytest.mark.parametrize("option", ["--landmark_names", "--data.landmark_names"])
def test_landmarks_can_be_given_names(root: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    """Summary, findings and faults speak of the names that were given, in the table's order."""
    (root / "points.csv").write_text("image,x1,y1,x2,y2,part\na,1,2,0,0,train\nb,3,4,5,6,val\nc,5,6,7,8,test\n")
    folder = ["--dataset", "folder", "--root", str(root), "--split-column", "part"]
    assert run_data_check([*folder, option, "[sella, nasion]"]) == 0
    out = capsys.readouterr().out
    assert "2: sella, nasion" in out
    assert "the exact point (0, 0) stands 1 times in 1 of 3 images (a), for nasion:" in out
    assert f"note: {root}/points.csv: split by the column 'part'" in out  # the table's own notes are still said
    assert run_data_check([*folder, option, "{2: nasion}"]) == 0
    assert "for nasion:" in capsys.readouterr().out
    Path("named.yaml").write_text("data: {dataset: folder, landmark_names: [sella, nasion]}\n")
    assert run_data_check([*folder, "--config", "named.yaml"]) == 0  # as it is the config's in `ldx fit`
    assert "2: sella, nasion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[sella]", "data.landmark_names: found 1 names, expected 2 ('1', '2')"),
        ("[sella, Sella]", "expected 2 different names"),
        ("{N: nasion}", "data.landmark_names: the data has no landmark 'N'"),
        ("sella", "--landmark_names: found 'sella', expected all names in the data's order, '[sella, nasion]', or"),
        ("[sella", "--landmark_names: found '[sella', expected"),
        ("[[sella], nasion]", "--landmark_names: found"),
    ],
)  # fmt: skip
def test_names_that_do_not_fit_are_refused(root: Path, given: str, said: str) -> None:
    (root / "points.csv").write_text("image,x1,y1,x2,y2\na,1,2,0,0\nb,3,4,5,6\nc,5,6,7,8\n")
    with pytest.raises(UserError) as caught:
        run_data_check(["--dataset", "folder", "--root", str(root), "--landmark_names", given])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_annotator_whose_name_is_markup_is_shown_as_text(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{image},[/bold],1,{k},3\n" for k, image in enumerate("abc"))
    (root / "points.csv").write_text("image,annotator,landmark,x,y\n" + rows)
    assert run_data_check(["--dataset", "folder", "--root", str(root)]) == 0
    assert "[/bold]" in capsys.readouterr().out


def test_images_of_known_and_of_unknown_spacing_are_one_error_with_a_cure(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No table at the end of a run could be in one unit: said here, and before an image is decoded by fit and test."""
    (root / "points.csv").write_text("image,x1,y1,spacing\na,1,2,0.1\nb,3,4,\nc,5,6,n/a\n")
    assert run_data_check(["--dataset", "folder", "--root", str(root), "--no-decode"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
    said = (
        f"{root}/points.csv:3: the spacing of 'b' (and of 1 more: c) is empty, while 1 other images have one: errors "
        "would be in mm for some and in px for others. Fill in the missing ones, or remove the spacing to measure all "
        "in px"
    )
    assert line == f"error: {said}"
    for stage in ("fit", "test", "validate", "predict"):
        with pytest.raises(DataError) as caught:
            LandmarkDataModule("folder", str(root), size=(8, 8)).setup(stage)
        assert str(caught.value) == said
    assert not Path("cache").exists() or not list(Path("cache").rglob("*.png"))


def test_a_config_without_labels_asks_for_no_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "points.csv").unlink()
    Path("bare.yaml").write_text(f"data: {{dataset: folder, root: {str(root)!r}, labels: false}}\n")
    assert run_data_check(["--config", "bare.yaml"]) == 0
    assert "train 3, val 0, test 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "name what to check, by --config NAME or by --dataset NAME --root PATH"),
        (["--rot", "x"], "unknown option '--rot'. Did you mean --root"),
        (["--dataset", "isbi2016", "--root", "."], "unknown dataset 'isbi2016'. Did you mean isbi2015"),
        (["--config", "nothing_like_it"], "config 'nothing_like_it'"),
        (["--config", "broken.yaml"], "broken.yaml:2: not valid yaml"),
    ],
)
def test_arguments_that_cannot_be_used(root: Path, argv: list[str], said: str) -> None:
    Path("broken.yaml").write_text("data:\n  a: b: c\n")
    with pytest.raises(UserError) as caught:
        run_data_check(argv)
    assert said in str(caught.value)


def test_cache_clear_says_what_it_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = build_dataset("folder", root, split_column="part")
    (sample,) = dataset.samples("train")
    ImageCache().get(dataset, sample, Frame.fit(sample.size, (8, 8)))
    assert run_cache_clear([]) == 0
    assert "removed 2 files" in capsys.readouterr().out  # the image and the remembered headers
    assert run_cache_clear(["--folder", str(root)]) == 0
    assert "removed 0 files" in capsys.readouterr().out
    assert (root / "a.png").exists()

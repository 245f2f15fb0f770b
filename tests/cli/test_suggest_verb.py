"""``ldx suggest`` on folders and data sets: a ranked list with reasons, nothing labelled in it, no traceback."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.studies.suggest.files import COLUMNS
from tests.detection.tiny_model import write_positions

IMAGES = 9
ROOT = Path("xrays")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    source = PhantomDataset(count=(IMAGES, 0, 0), image_size=(97, 120))
    for place, sample in enumerate(source.samples("train")):
        cv2.imwrite(str(folder / f"{place:03}.png"), source.load_image(sample))
    return folder


@pytest.fixture(autouse=True)
def _folder(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(drawn, ROOT)


def suggest(*arguments: str) -> int:
    return main(["suggest", "--data.root", str(ROOT), "--output", "out", *arguments])


def table(folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "suggestions.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_list_a_picture_and_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest("--count", "6") == 0
    printed = " ".join(capsys.readouterr().out.split())
    rows = table()
    assert tuple(rows[0]) == COLUMNS and [row["rank"] for row in rows] == list("123456")
    assert len({row["image"] for row in rows}) == 6 and all(Path(row["file"]).is_file() for row in rows)
    assert rows[0]["reason"].startswith("the most typical of 9 images")
    assert "ldx adapt MODEL.ldx --data.root xrays --output mine.ldx" in printed
    assert "ldx fit --config folder_diffusion_small.yaml --data.root xrays --data.split all" in printed
    with Image.open("out/suggestions.png") as picture:
        assert picture.width > 1000 and len(np.unique(np.asarray(picture))) > 50


def test_the_same_command_gives_the_same_list_and_keeps_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest("--count", "3") == 0
    before = Path("out/suggestions.csv").read_bytes()
    assert suggest("--count", "2") == 0
    assert (
        "in out: suggestions.csv, suggestions.png; the list before is now suggestions_1.csv" in capsys.readouterr().out
    )
    assert Path("out/suggestions_1.csv").read_bytes() == before and Path("out/suggestions_1.png").is_file()
    assert suggest("--count", "1") == 0 and len(table()) == 1
    assert Path("out/suggestions_1.csv").read_bytes() == before and Path("out/suggestions_2.csv").is_file()
    Path("out/suggestions.csv").write_text("image,mine\n")  # somebody else's
    assert suggest("--count", "3") == 1
    assert Path("out/suggestions.csv").read_text() == "image,mine\n"
    assert suggest("--count", "9", "--overwrite") == 0
    longer = table()
    assert suggest("--count", "3", "--overwrite") == 0
    assert Path("out/suggestions.csv").read_bytes() == before
    assert [row["image"] for row in longer][:3] == [row["image"] for row in table()]


def test_what_has_labels_is_never_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    (ROOT / "landmarks.csv").write_text("image,a_x,a_y\n000,3,4\n4.png,5,6\n005,,\nnobody,1,1\n")
    assert suggest("--count", "20") == 0
    captured = capsys.readouterr()
    assert {row["image"] for row in table()} == {f"{n:03}.png" for n in range(IMAGES)} - {"000.png", "004.png"}
    assert "2 images with labels by xrays/landmarks.csv" in captured.err
    assert "of xrays/landmarks.csv no image is here for 1 name: nobody" in captured.err
    assert "suggest: 7 of 20: beside these there are 2 images with labels" in captured.out
    Path("done.csv").write_text("image\n" + "\n".join(f"{n:03}" for n in range(IMAGES)))
    assert suggest("--labelled", "done.csv", "--overwrite") == 1
    assert "nothing to suggest: all 9 images have labels" in capsys.readouterr().err
    assert suggest("--labelled", "none", "--count", "20", "--overwrite") == 0
    assert len(table()) == IMAGES
    assert f"suggest: {IMAGES} of 20: these are all the images" in capsys.readouterr().out


def test_its_own_list_says_what_is_done_and_copies_do_not_come_again() -> None:
    cv2.imwrite(str(ROOT / "copy.png"), cv2.imread(str(ROOT / "003.png"), 0))
    assert suggest("--count", "4") == 0
    first = [row["image"] for row in table()]
    assert main(
        ["suggest", "--data.root", str(ROOT), "--count", "20", "--labelled", "out/suggestions.csv", "--output", "more"]
    ) == 0  # fmt: skip
    more = [row["image"] for row in table("more")]
    assert not set(first) & set(more) and len(first) + len(more) == IMAGES
    assert len({"copy.png", "003.png"} & {*first, *more}) == 1


def test_files_that_cannot_be_used_are_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    (ROOT / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (ROOT / "empty.dcm").write_bytes(b"")
    cv2.imwrite(str(ROOT / "flat.png"), np.full((40, 40), 7, np.uint8))
    cv2.imwrite(str(ROOT / "icon.png"), np.random.default_rng(0).integers(0, 256, (3, 900), dtype=np.uint8))
    assert suggest("--count", "20") == 0
    told = capsys.readouterr().err
    assert all(name in told for name in ("broken.png", "empty.dcm", "flat.png"))
    assert "icon.png: found 900x3 px, expected 32 or more on each side" in told
    assert "left out: 4 of 13 images" in told and "Traceback" not in told
    assert "error:" not in told  # the run succeeds
    assert len(table()) == IMAGES


def test_one_image_and_others_of_odd_sizes() -> None:
    for path in ROOT.iterdir():
        path.unlink()
    noise = np.random.default_rng(0).integers(0, 256, (900, 700), dtype=np.uint8)
    cv2.imwrite(str(ROOT / "only.png"), noise)
    assert suggest() == 0
    assert [row["image"] for row in table()] == ["only.png"]
    cv2.imwrite(str(ROOT / "thin.png"), noise[:40])
    Image.fromarray(noise.astype(np.uint16) * 16).save(ROOT / "deep.tif")
    assert suggest("--overwrite") == 0
    assert {row["image"] for row in table()} <= {"only.png", "thin.png", "deep.tif"} and len(table()) >= 2


def test_a_folder_of_nothing_usable_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for path in ROOT.iterdir():
        path.write_bytes(b"nothing")
    assert suggest() == 1
    assert "no image could be used" in capsys.readouterr().err and not Path("out/suggestions.csv").exists()


def test_a_model_says_what_it_expects(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(write_positions(Path("tiny.ldx")))
    (ROOT / "done.csv").write_text("image\n002\n")
    assert suggest("--count", "5", "--model", model, "--batch-size", "2") == 0
    rows = table()
    assert len(rows) == 5 and "002.png" not in {row["image"] for row in rows}
    assert all(float(row["expected_error"]) > 0 and float(row["moved"]) >= 0 for row in rows)
    assert all("the model expects errors of" in row["reason"] and "least sure of" in row["reason"] for row in rows)
    assert "ldx adapt tiny.ldx --data.root xrays" in " ".join(capsys.readouterr().out.split())
    before = Path("out/suggestions.csv").read_bytes()
    assert suggest("--count", "5", "--model", model, "--overwrite") == 0
    assert Path("out/suggestions.csv").read_bytes() == before


def test_a_data_set_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    first = PhantomDataset().samples("val")[0].image_id
    Path("done.csv").write_text(f"image\n{first}\n")
    arguments = ["suggest", "--data.dataset", "phantom", "--count", "2", "--part", "val", "--output", "out"]
    assert main([*arguments, "--labelled", "done.csv"]) == 0
    names = [first, *(row["image"] for row in table())]
    assert len(set(names)) == 3
    printed = " ".join(capsys.readouterr().out.split())
    assert f"--data.dataset phantom --data.train_images '{json.dumps(names)}'" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--count", "0"], "--count: found 0"),
        (["--seed", "-1"], "--seed: found -1"),
        (["--fast"], "--fast: only with --model"),
        (["--device", "cpu"], "--device: only with --model"),
        (["--data.split", "official"], "--data.split: all images of a folder"),
        (["--part", "val"], "--part: all images of a folder"),
        (["--labelled", "nowhere.csv"], "nowhere.csv"),
        (["--model", "nowhere.ldx"], "nowhere.ldx"),
        (["--data.root", "nowhere"], "the folder does not exist"),
        (["--data.root", "xrays/000.png"], "found a file, expected the folder"),
        (["--data.dataset", "foldr"], "foldr"),
        (["--cuont", "3"], "unknown option '--cuont'"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert suggest(*arguments) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert words in told and "Traceback" not in told
    assert not Path("out/suggestions.csv").exists()


def test_a_table_that_names_no_image_is_no_reason_to_guess(capsys: pytest.CaptureFixture[str]) -> None:
    (ROOT / "notes.csv").write_text("when,what\ntoday,nothing\n")
    assert suggest("--count", "3") == 1
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "notes.csv" in told and "no column with the image" in told and "--labelled names another table, or none" in told
    )
    assert suggest("--count", "3", "--labelled", "none") == 0


def test_a_folder_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest"]) == 1
    assert "needs --data.root PATH" in capsys.readouterr().err

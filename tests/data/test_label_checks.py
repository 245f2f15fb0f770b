"""Labels in another unit or frame, and marks for missing points, are told; labels as they should be are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.checks.labels import check_labels, tell_labels
from landmark_diffusion.data.checks.outliers import find_outliers
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.training.datamodule import LandmarkDataModule

SIZE = np.array((600, 800))
SHAPE = np.random.default_rng(5).uniform(0.2, 0.9, (8, 2)) * SIZE
NAMES = [f"p{number}" for number in range(8)]
Change = Callable[[int, np.ndarray], np.ndarray]


def _samples(change: Change = lambda index, points: points, count: int = 24) -> list[LandmarkSample]:
    rng = np.random.default_rng(0)
    points = SHAPE + rng.normal(0, 10, (count, 1, 1, 2)) + rng.normal(0, 4, (count, 1, 8, 2))
    changed = [change(index, each) for index, each in enumerate(points)]
    return [LandmarkSample(f"{i:02d}", (600, 800), each, None, None, "t.csv:2") for i, each in enumerate(changed)]


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        (lambda i, p: p / SIZE, "error", "all points of all 24 images lie within 0..1: shares"),
        (lambda i, p: 2 * p / SIZE - 1, "error", "lie within -1..1: shares"),
        (lambda i, p: 100 * p / SIZE, "error", "percent of its size?"),
        (lambda i, p: p / 2, "warning", "a copy up to 2 times smaller?"),
        (lambda i, p: p / (1 + i % 2), "warning", "12 of 24 images are 0.51 times as large"),
        (lambda i, p: p / (SIZE if i < 3 else 1), "error", "all points of 3 of 24 images lie within 0..1"),
        (lambda i, p: p * 2, "error", "marked on a copy 2 times as large?"),
        (lambda i, p: p[..., ::-1], "error", "with x and y exchanged: are they exchanged?"),
        (lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 16), 0.0, p), "warning", "(0, 0) stands 16 times"),
        (lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 5), 7.0, p), "warning", "(7, 7) stands 5 times"),
    ],
)  # fmt: skip
def test_what_is_no_pixel_of_the_image_is_named(change: Change, level: str, said: str) -> None:
    (finding,) = check_labels(_samples(change), NAMES)
    assert finding.level == level and said in finding.message


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        (lambda i, p: p / SIZE, "error", "all points of all 9 images lie within 0..1: shares"),
        (lambda i, p: p / 2, "warning", "a copy up to 2 times smaller?"),
        (lambda i, p: p / (1 + i % 2), "warning", "4 of 9 images are 0.51 times as large"),
        (lambda i, p: p * 2, "error", "marked on a copy 2 times as large?"),
        (lambda i, p: p[..., ::-1], "error", "with x and y exchanged: are they exchanged?"),
        (lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 1), 0.0, p), "warning", "(0, 0) stands 1 times"),
    ],
)
def test_the_same_of_few_images(change: Change, level: str, said: str) -> None:
    (finding,) = check_labels(_samples(change, 9), NAMES)
    assert finding.level == level and said in finding.message


@pytest.mark.parametrize("count", [9, 24])
def test_points_that_did_not_follow_their_images_size_are_named(count: int) -> None:
    """A third of the images was halved after marking, or marked on another copy: 2 times as large by their size."""
    samples = _samples(lambda i, p: p * 0.45, count)
    samples = [replace(each, size=(300, 400)) if i % 3 == 0 else each for i, each in enumerate(samples)]
    (finding,) = [each for each in check_labels(samples, NAMES) if "times as large as the others'" in each.message]
    assert finding.level == "warning" and finding.message.startswith("t.csv:2: ")
    assert f"the points of {count // 3} of {count} images are " in finding.message
    why = "their size differs (300x400, others 600x800), but their points do not; marked on another copy?"
    assert why in finding.message


@pytest.mark.parametrize("count", [3, 24])
def test_a_row_that_is_a_copy_of_another_is_named(count: int) -> None:
    samples = _samples(count=count)
    samples[2] = replace(samples[2], annotations=samples[0].annotations.copy(), source="t.csv:9")
    (finding,) = check_labels(samples, NAMES)
    said = "t.csv:9: 2 images have exactly the same points (00, 02): a row copied, or the same image twice?"
    assert (finding.level, finding.message) == ("warning", said)
    samples[2].annotations[0, 0, 0] += 0.01  # not to the last digit: another mark
    assert check_labels(samples, NAMES) == []


def test_pixels_are_left_in_peace_and_an_error_has_a_way_out() -> None:
    assert check_labels(_samples(), NAMES) == []
    dataset = build_dataset("phantom", None)
    with pytest.raises(UserError, match=r"--data\.check_labels false"):
        tell_labels(_samples(lambda i, p: p / SIZE), dataset)


def test_marks_for_missing_points_do_not_make_the_right_ones_suspects() -> None:
    samples = _samples(lambda i, p: np.where((np.arange(8) == 3)[:, None] & (i < 16), 0.0, p))
    assert find_outliers(samples) == []


def _folder(root: Path, samples: list[LandmarkSample], landmarks: int = 8) -> Path:
    """Write images and the table of these samples; a missing point is an empty cell."""
    header = ",".join(f"p{n}_{axis}" for n in range(landmarks) for axis in "xy")
    rows = [f"image,{header}"]
    for index, sample in enumerate(samples):
        name, values = f"{sample.image_id}.png", sample.annotations[0, :landmarks].ravel()
        rows.append(f"{name}," + ",".join("" if np.isnan(value) else f"{value:.3f}" for value in values))
        Image.fromarray(np.add.outer(np.arange(80), np.arange(60) + index).astype(np.uint8)).resize(sample.size).save(
            root / name
        )
    (root / "points.csv").write_text("\n".join(rows) + "\n")
    return root


def _fit_data(root: Path, **options: bool) -> LandmarkDataModule:
    return LandmarkDataModule("folder", str(root), size=(24, 32), cache_folder=str(root / "cache"), **options)


def test_fit_refuses_shares_before_an_image_is_decoded(tmp_path: Path) -> None:
    data = _fit_data(_folder(tmp_path, _samples(lambda i, p: p / SIZE, 8)))
    with pytest.raises(UserError) as caught:
        data.setup("fit")
    said = str(caught.value)
    assert "all points of all 8 images lie within 0..1: shares of the image's size? Expected pixels" in said
    assert f"{tmp_path}/points.csv:" in said and "\n" not in said and "--data.check_labels false" in said
    assert not (tmp_path / "cache").exists()
    _fit_data(tmp_path, check_labels=False).setup("fit")  # the way out that is named


def test_fit_warns_of_marks_that_stand_for_missing_points(tmp_path: Path) -> None:
    """(0, 0) in two images, one of which is in the test part: told once, before training, and the run goes on."""
    data = _fit_data(_folder(tmp_path, _samples(lambda i, p: np.where(_third(i < 2), 0.0, p), 8)))
    with pytest.warns(UserWarning, match=r"the exact point \(0, 0\) stands 2 times in 2 of 8 images") as caught:
        data.setup("fit")
    (said,) = [str(each.message) for each in caught if "exact point" in str(each.message)]
    assert "(00.png, 01.png), for p3: a mark that is missing? Leave such cells empty" in said
    assert f"{tmp_path}/points.csv:2" in said and "\n" not in said


def _third(which: bool) -> np.ndarray:
    return (np.arange(8) == 3)[:, None] & which


@pytest.mark.parametrize("count", [9, 24])
def test_a_doubt_names_the_likely_cause(tmp_path: Path, count: int) -> None:
    """By the row's line: exchanged points, a lost digit, a mirrored row; the other rows are left in peace."""

    def spoil(index: int, points: np.ndarray) -> np.ndarray:
        if index == 1:
            return points[:, [0, 5, 2, 3, 4, 1, 6, 7]]
        if index == 3:
            return np.where((np.arange(8) == 2)[:, None] & (np.arange(2) == 1), points // 10, points)
        return points * (-1, 1) + (599, 0) if index == 6 else points

    dataset = FolderDataset(_folder(tmp_path, _samples(spoil, count)))
    lines = [each.message for each in dataset.check(decode=False) if each.level == "warning"]
    told = {int(line.split("points.csv:")[1].split(":")[0]): line for line in lines if "far from" in line}
    assert told.keys() == {3, 5, 8}
    assert "; exchanged with p5?)" in told[3] and "; exchanged with p1?)" in told[3]
    assert "p2 (" in told[5] and "; its y 10 times too small (a digit lost, or the decimal point moved?))" in told[5]
    assert "(is the whole row mirrored left to right?)" in told[8]


@pytest.mark.parametrize(
    ("count", "landmarks", "said"),
    [
        (24, 8, None),
        (9, 8, "compared by the images' shapes alone (all landmarks: fewer than 20 images have them)"),
        (9, 3, "not looked for (all landmarks: fewer than 20 images have them; expected 20 images, or 4 landmarks for"),
        (2, 8, "not looked for (all landmarks: fewer than 20 images have them; expected 3 images with 4 landmarks or"),
    ],
)  # fmt: skip
def test_what_could_not_be_judged_is_noted(tmp_path: Path, count: int, landmarks: int, said: str | None) -> None:
    dataset = FolderDataset(_folder(tmp_path, _samples(count=count), landmarks))
    notes = [each.message for each in dataset.check(decode=False) if each.level == "note"]
    assert len(notes) == (said is not None)
    assert all(note.startswith(f"{tmp_path}/points.csv:2: ") and str(said) in note for note in notes)


def test_a_landmark_that_few_images_have_is_noted(tmp_path: Path) -> None:
    samples = _samples(lambda i, p: np.where(_third(i > 4), np.nan, p))
    (note,) = [e.message for e in FolderDataset(_folder(tmp_path, samples)).check(decode=False) if e.level == "note"]
    assert "(1 of 8 landmarks: fewer than 20 images have them)" in note


@pytest.mark.parametrize("name", ["isbi2015", "chest15", "hand", "phantom"])
def test_real_labels_are_left_in_peace(name: str, shared_data: Callable[[str], Path]) -> None:
    root = None if name == "phantom" else shared_data(name)
    options = {"split": "all_train"} if name == "hand" else {}
    dataset = build_dataset("folder" if name == "chest15" else name, root, **options)
    stages = ("train", "val", "test")
    samples = [sample for stage in stages for sample in dataset.samples(stage)]  # type: ignore[arg-type]
    assert len(samples) >= 9 and check_labels(samples, dataset.landmark_names) == []

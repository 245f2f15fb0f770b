"""Chests: shares become pixels, errors are told on the 256 grid, and the nine excluded images stay out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli.data_verbs import run_data_check
from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources.chest import ChestDataset, read_points
from landmark_diffusion.data.splits import CHEST_EXCLUDED, split_by_name

SHARES = np.array([[0.25, 0.1], [0.5, 0.2], [0.75, 0.3], [0.25, 0.8], [0.5, 0.85], [0.75, 0.9]])
FEW = pytest.mark.filterwarnings("ignore:.*annotated names, expected")  # these sets are small on purpose


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def _image(root: Path, name: str, size: tuple[int, int] = (40, 20)) -> None:
    (root / "pngs").mkdir(parents=True, exist_ok=True)
    ramp = np.add.outer(np.arange(size[1]), np.arange(size[0])).astype(np.uint8)
    Image.fromarray(ramp).save(root / "pngs" / f"{name}.png")


def _label(root: Path, name: str, lines: list[str] | None = None) -> Path:
    (root / "labels").mkdir(parents=True, exist_ok=True)
    path = root / "labels" / f"{name}.txt"
    path.write_text("\n".join(lines if lines is not None else _lines()) + "\n")
    return path


def _lines() -> list[str]:
    return ["6", *(f"{x} {y}" for x, y in SHARES)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("CHNCXR_0002_0", "CHNCXR_0001_0", "CHNCXR_0059_0"):  # the last one is excluded
        _image(tmp_path / "chest", name)
        _label(tmp_path / "chest", name)
    return tmp_path / "chest"


@FEW
def test_points_and_the_length_of_a_pixel(root: Path) -> None:
    dataset = ChestDataset(root)
    samples = dataset.samples("train")
    assert [sample.image_id for sample in samples] == ["CHNCXR_0001_0", "CHNCXR_0002_0"]
    assert samples[0].size == (40, 20) and dataset.unit == "px256"
    np.testing.assert_allclose(samples[0].annotations, SHARES[None] * [40, 20])
    assert samples[0].spacing is not None
    # the points in that unit are the shares of a 256x256 image, whatever the film's shape
    np.testing.assert_allclose(samples[0].annotations[0] * samples[0].spacing, SHARES * 256)


def test_real_labels_give_the_papers_parts(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("chest6_labels")
    paths = sorted((root / "labels").glob("*.txt"))
    assert len(paths) == 279 and {path.stem for path in paths} >= CHEST_EXCLUDED and len(CHEST_EXCLUDED) == 9
    for path in paths:
        points, faults = read_points(path, (3000, 2900))
        assert faults == [] and not np.isnan(points).any()
    names = [path.stem for path in paths if path.stem not in CHEST_EXCLUDED]
    parts = split_by_name(names, ChestDataset.split_counts)
    assert [len(parts[stage]) for stage in ("train", "val", "test")] == [195, 34, 41]


@pytest.mark.parametrize(("stage", "count"), [("train", 195), ("val", 34), ("test", 41)])
def test_real_absent_images_are_counted_and_the_option_named(
    shared_data: Callable[[str], Path], stage: str, count: int
) -> None:
    said = rf"{count} of the {count} images of this part .* pngs/CHNCXR_\d+_\d\.png; set .*require_all: false"
    with pytest.raises(DataError, match=said):
        ChestDataset(shared_data("chest6_labels")).samples(stage)  # type: ignore[arg-type]


def test_real_labels_with_some_images_keep_their_parts(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "labels").symlink_to(shared_data("chest6_labels") / "labels")
    for name in ("CHNCXR_0002_0", "CHNCXR_0246_0", "CHNCXR_0282_0"):  # train, val and test by the sorted names
        _image(tmp_path, name)
    dataset = ChestDataset(tmp_path, require_all=False)
    for stage, there in (("train", "0002"), ("val", "0246"), ("test", "0282")):
        with pytest.warns(UserWarning, match=r"are not there, .*; going on with 1$") as told:
            samples = dataset.samples(stage)  # type: ignore[arg-type]
        assert [sample.image_id for sample in samples] == [f"CHNCXR_{there}_0"] and len(told) == 1
    assert len(ChestDataset(tmp_path, split="all_train").samples("train")) == 3


def test_without_labels(root: Path) -> None:
    for path in (root / "labels").iterdir():
        path.write_text("not read")
    _image(root, "CHNCXR_0500_1")
    dataset = ChestDataset(root, split="all_train", labels=False)
    samples = dataset.samples("train")
    assert [sample.image_id[7:11] for sample in samples] == ["0001", "0002", "0500"]
    assert {sample.annotations.shape for sample in samples} == {(1, 0, 2)} and dataset.landmark_names == ()
    for path in (root / "labels").iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match="found 3 images without any annotation, expected 270"):
        assert len(ChestDataset(root, labels=False).samples("train")) == 3
    with pytest.raises(DataError, match=r"chest: no label file found; expected labels/\*\.txt in this folder"):
        ChestDataset(root).samples("train")


@FEW
@pytest.mark.parametrize(
    ("edit", "line", "said"),
    [
        ({0: "5"}, 1, "found '5', expected 6, the number of points"),
        ({0: ""}, 2, r"found '0\.25 0\.1', expected 6"),
        ({6: ""}, 7, "found 5 points, expected 6 lines x y"),
        ({6: "0.1 0.1\n0.2 0.2"}, 8, "found 7 points, expected 6"),
        ({2: "nan 0.5"}, 3, "found 'nan', expected a finite number for landmark 2"),
        ({3: "0.5"}, 4, "found '0.5', expected x y for landmark 3"),
        ({4: "1200 900"}, 5, r"found '1200 900', expected shares of the image's width and height in 0\.\.1"),
        ({5: "1.0 0.5"}, 6, r"landmark 5 lies at \(40, 10\), outside its image of 40x20 px"),
    ],
)
def test_bad_labels_name_file_and_line(root: Path, edit: dict[int, str], line: int, said: str) -> None:
    lines = [edit.get(index, text) for index, text in enumerate(_lines())]
    path = _label(root, "CHNCXR_0002_0", lines)
    if 6 in edit and not edit[6]:
        path.write_text("\n".join(lines[:6]) + "\n")
    with pytest.raises(DataError, match=rf"CHNCXR_0002_0\.txt:{line}: {said}"):
        ChestDataset(root).samples("train")


def test_check_lists_all_faults_at_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _label(root, "CHNCXR_0003_0", ["6", "nan 0.1", *_lines()[2:]])  # and no image
    _label(root, "CHNCXR_0002_0", ["6", "0.1 1", *_lines()[2:]])
    _label(root, "CHNCXR_0059_0", ["excluded, so not read"])
    _image(root, "CHNCXR_0004_0")
    (root / "pngs" / "CHNCXR_0001_0.png").write_bytes(b"x")
    assert run_data_check(["--dataset", "chest", "--root", str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    expected = [
        "CHNCXR_0003_0.txt:2: found 'nan'",
        "CHNCXR_0002_0.txt:2: landmark 1 lies at (4, 20), outside",
        "CHNCXR_0001_0.png: 1 bytes that are no known image format",
        "1 of the 3 annotated images are not there, the first is pngs/CHNCXR_0003_0.png",
    ]
    assert len(errors) == len(expected)
    for part in expected:
        assert sum(part in line for line in errors) == 1, part
    assert any("CHNCXR_0004_0.png: 1 images without annotation" in line for line in lines)


def test_an_unusual_point_is_doubted_by_its_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(1, 31):
        shares = SHARES + rng.normal(0, 0.005, SHARES.shape)
        if number == 7:
            shares[3] = 0.9, 0.1
        _image(tmp_path, f"CHNCXR_{number:04d}_0", (400, 400))
        _label(tmp_path, f"CHNCXR_{number:04d}_0", ["6", *(f"{x:.5f} {y:.5f}" for x, y in shares)])
    doubts = [finding.message for finding in ChestDataset(tmp_path).check(decode=False)]
    assert any("CHNCXR_0007_0.txt:5: " in message and ": landmark 4 (" in message for message in doubts)


@FEW
def test_a_pair_with_a_hole_is_refused(root: Path) -> None:
    _label(root, "CHNCXR_0002_0", ["6", "0.1,,0.2", *_lines()[2:]])
    with pytest.raises(DataError, match=r"CHNCXR_0002_0\.txt:2: found '0\.1,,0\.2', expected x y"):
        ChestDataset(root).samples("train")


def test_labels_and_images_that_are_left_out_are_told(root: Path) -> None:
    _image(root, "CHNCXR_0004_0")
    _label(root, "CHNCXR_0005_0")
    with pytest.warns(UserWarning) as told:
        assert len(ChestDataset(root, split="all_train").samples("train")) == 2
    messages = [str(warning.message) for warning in told]
    assert len(messages) == 2 and "1 of the 3 annotated images are not there" in messages[0]
    assert "CHNCXR_0004_0.png: 1 images without annotation" in messages[1]


def test_labels_of_excluded_images_alone_are_none(tmp_path: Path) -> None:
    _image(tmp_path, "CHNCXR_0001_0")
    _label(tmp_path, "CHNCXR_0059_0")
    with pytest.raises(DataError, match="no label file found"):
        ChestDataset(tmp_path).samples("train")

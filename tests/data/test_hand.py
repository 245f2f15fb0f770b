"""Hands: the scale comes from each wrist, the split from all 910 rows, and absent images are never passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli.data_verbs import run_data_check
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.sources.hand import HandDataset, read_table
from landmark_diffusion.data.splits import split_by_name

FEW = pytest.mark.filterwarnings("ignore:.*annotated names, expected")  # these sets are small on purpose


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def _points(seed: int) -> np.ndarray:
    """37 points inside 60x80 px whose landmarks 1 and 5 are 3-4-5 apart: 25 px, so 2 mm a pixel."""
    points = np.random.default_rng(seed).integers(0, 60, (37, 2))
    points[0], points[4] = (5, 10), (20, 30)
    return points


def _row(name: str, seed: int = 0) -> str:
    return ",".join([name, *(str(value) for value in _points(seed).ravel())])


def _write(root: Path, rows: list[str], images: list[str]) -> Path:
    (root / "jpg").mkdir(parents=True)
    (root / "all.csv").write_text("\n".join(rows) + "\n")
    for name in images:
        Image.fromarray(np.add.outer(np.arange(80), np.arange(60)).astype(np.uint8)).save(root / "jpg" / f"{name}.jpg")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = ["3", "20", "1"]
    return _write(tmp_path / "hand", [_row(name, seed) for seed, name in enumerate(names)], names)


def test_real_wrists_are_50_mm_wide(shared_data: Callable[[str], Path]) -> None:
    dataset = HandDataset(shared_data("hand"), split="all_train")
    samples = dataset.samples("train")
    assert len(samples) == 9 and len({sample.spacing for sample in samples}) == 9
    assert dataset.samples("val") == dataset.samples("test") == []
    for sample in samples:
        assert sample.spacing is not None
        ends = sample.annotations[0, [0, 4]] * sample.spacing
        assert np.hypot(*(ends[1] - ends[0])) == pytest.approx(50.0, abs=1e-9)
        assert sample.annotations.shape == (1, 37, 2)
    levels = [finding.level for finding in dataset.check(decode=False)]
    assert sorted(levels) == ["note", "warning"]  # the 901 images, and few are judged by their shapes alone


def test_real_split_is_made_over_all_rows(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("hand")
    rows, faults = read_table(root / "all.csv")
    assert len(rows) == 910 and faults == []
    parts = split_by_name(list(rows), HandDataset.split_counts)
    assert [len(parts[stage]) for stage in ("train", "val", "test")] == [550, 59, 301]
    dataset = HandDataset(root, require_all=False)
    for stage, there in (("train", 5), ("val", 0), ("test", 4)):
        with pytest.warns(UserWarning, match=rf"of the {len(parts[stage])} images .*; going on with {there}$") as told:
            ids = [sample.image_id for sample in dataset.samples(stage)]  # type: ignore[arg-type]
        assert len(ids) == there and set(ids) <= set(parts[stage]) and len(told) == 1


@pytest.mark.parametrize("labels", [True, False])
def test_real_absent_images_are_counted_and_the_option_named(shared_data: Callable[[str], Path], labels: bool) -> None:
    said = r"545 of the 550 images .* the first is jpg/3142\.jpg; set data\.dataset_options\.require_all: false"
    dataset = HandDataset(shared_data("hand"), labels=labels)
    with pytest.raises(DataError, match=said):
        dataset.samples("train")
    assert any(finding.level == "error" and "901 of the 910" in finding.message for finding in dataset.check(False))


@FEW
def test_points_scale_and_order(root: Path) -> None:
    samples = HandDataset(root).samples("train")
    assert [sample.image_id for sample in samples] == ["1", "20", "3"]  # by name, not by number
    np.testing.assert_array_equal(samples[2].annotations, _points(0)[None])
    assert samples[0].spacing == (2.0, 2.0) and samples[0].size == (60, 80)
    assert samples[0].source.endswith("all.csv:3")


@FEW
def test_a_header_is_skipped_and_lines_still_count(root: Path) -> None:
    header = "id," + ",".join(f"x{n},y{n}" for n in range(1, 38))
    (root / "all.csv").write_text("\n".join([header, _row("1"), _row("3"), _row("20") + ",7"]))
    with pytest.raises(DataError, match=r"all\.csv:4: found 75 values behind '20', expected 74"):
        HandDataset(root).samples("train")


def test_a_smaller_table_is_told_because_its_parts_differ(root: Path) -> None:
    with pytest.warns(UserWarning, match="found 3 annotated names, expected 910: the parts of split paper_b"):
        HandDataset(root).samples("train")


def test_without_labels_no_number_of_the_table_is_read(root: Path) -> None:
    (root / "all.csv").write_text("1,nan\n3\n")
    dataset = HandDataset(root, split="all_train", labels=False)
    samples = dataset.samples("train")
    assert [sample.image_id for sample in samples] == ["1", "20", "3"]
    assert {sample.annotations.shape for sample in samples} == {(1, 0, 2)} and samples[0].spacing is None
    assert dataset.landmark_names == dataset.annotator_names == ()


def test_without_labels_and_table_the_files_are_split(tmp_path: Path) -> None:
    root = _write(tmp_path / "hand", [], ["b", "a"])
    (root / "all.csv").unlink()
    with pytest.warns(UserWarning, match="found 2 images without any annotation, expected 910: the parts"):
        samples = HandDataset(root, labels=False).samples("train")
    assert [sample.image_id for sample in samples] == ["a", "b"]
    with pytest.raises(DataError, match=r"hand: no table of landmarks; expected all\.csv in this folder"):
        HandDataset(root).samples("train")


def test_no_image_at_all(tmp_path: Path) -> None:
    dataset = HandDataset(_write(tmp_path / "hand", [_row("1")], []), split="all_train")
    with pytest.raises(DataError, match=r"hand: no image found; expected jpg/\*\.jpg in this folder"):
        dataset.samples("train")
    assert any("no image found" in finding.message for finding in dataset.check())


def test_check_lists_an_unusable_table_instead_of_stopping(root: Path) -> None:
    for spoil in (lambda path: path.write_bytes(b"\xff\xfe\x00"), lambda path: path.unlink()):
        spoil(root / "all.csv")
        findings = HandDataset(root).check()
        assert [finding.level for finding in findings] == ["error"] and "all.csv" in findings[0].message
        assert len(HandDataset(root, split="all_train", labels=False).samples("train")) == 3


def test_a_table_that_names_no_image_is_refused(root: Path) -> None:
    (root / "all.csv").write_text(_row("1.jpg") + "\n")
    with pytest.raises(DataError, match=r"none of the 3 images .* first image is named 1, the first annotation 1\.jpg"):
        HandDataset(root, split="all_train").samples("train")


def test_unknown_split(root: Path) -> None:
    with pytest.raises(UserError, match="split: found 'official', expected one of paper_b, all_train"):
        HandDataset(root, split="official")


def test_check_lists_all_faults_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [_row("one").split(",") for _ in range(7)]
    for name, row in zip(("good", "short", "nan", "wrist", "outside", "good", "absent"), cells, strict=True):
        row[0] = name
    cells[1].pop()
    cells[2][3] = "nan"  # x of landmark 2
    cells[3][9:11] = [f"{float(value) + 0.5}" for value in cells[3][1:3]]  # landmark 5 beside landmark 1: 70 mm a pixel
    cells[4][74] = "80"  # y of landmark 37
    images = ["good", "short", "nan", "wrist", "outside", "unlisted", "broken"]
    root = _write(tmp_path / "hand", [",".join(row) for row in [*cells, ["broken", *cells[0][1:]]]], images)
    (root / "jpg" / "broken.jpg").write_bytes(b"x")
    assert run_data_check(["--dataset", "hand", "--root", str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    expected = [
        "all.csv:2: found 73 values behind 'short', expected 74",
        "all.csv:3: found 'nan', expected a finite number for x of landmark 2 of 'nan'",
        "all.csv:4: landmark 1 and landmark 5 of 'wrist', the ends of the wrist, are less than a pixel apart",
        "all.csv:5: landmark 37 of outside lies at",
        "all.csv:6: the image 'good' is there twice, first in line 1",
        "1 of the 7 annotated images are not there, the first is jpg/absent.jpg",
        "broken.jpg: 1 bytes that are no known image format",
    ]
    assert len(errors) == len(expected)
    for part in expected:
        assert sum(part in line for line in errors) == 1, part
    assert any("unlisted.jpg: 1 images without annotation (unlisted)" in line for line in lines)


@FEW
@pytest.mark.parametrize("split", ["paper_b", "all_train"])
def test_an_image_whose_row_was_lost_is_told(root: Path, split: str) -> None:
    (root / "all.csv").write_text("\n".join(_row(name) for name in ("3", "20")))
    with pytest.warns(UserWarning, match=r"1\.jpg: 1 images without annotation \(1\); they are left out"):
        assert [sample.image_id for sample in HandDataset(root, split).samples("train")] == ["20", "3"]

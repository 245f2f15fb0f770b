"""Images without labels (pre-training): no table is needed, and nothing of one reaches the samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.sources.folder.source import FolderDataset


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def _images(folder: Path, *names: str) -> Path:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.add.outer(np.arange(20), np.arange(30)) + 10 * index).astype(np.uint8)).save(folder / name)
    return folder


def _ids(dataset: FolderDataset, stage: str = "train") -> list[str]:
    return [sample.image_id for sample in dataset.samples(stage)]  # type: ignore[arg-type]


def test_a_bare_folder_trains_on_every_image(tmp_path: Path) -> None:
    dataset = FolderDataset(_images(tmp_path / "own", "b.png", "a.jpg", "c.tif"), labels=False)
    assert dataset.landmark_names == () and dataset.annotator_names == ()
    assert _ids(dataset) == ["a.jpg", "b.png", "c.tif"] and _ids(dataset, "val") == _ids(dataset, "test") == []
    for sample in dataset.samples("train"):
        assert sample.annotations.shape == (1, 0, 2) and sample.mean_points.shape == (0, 2)
        assert sample.spacing is None and sample.size == (30, 20)
        assert dataset.load_image(sample).shape == (20, 30)
    assert dataset.check() == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("images/a.png", "images/site 2/a.png", "other/x.png"), ["a.png", "site 2/a.png"]),
        (("2019/a.png", "2020/deep/a.png"), ["2019/a.png", "2020/deep/a.png"]),
        (("a.png", "masks/a.png"), ["a.png"]),
        (("2019/a.png", ".thumbnails/a.png", "2019/.cache/b.png"), ["2019/a.png"]),
    ],
    ids=["images/", "folders within", "the root alone", "hidden folders"],
)
def test_where_images_are_found(tmp_path: Path, files: tuple[str, ...], expected: list[str]) -> None:
    assert _ids(FolderDataset(_images(tmp_path / "own", *files), labels=False)) == expected


def test_a_seeded_split_is_the_one_with_labels(tmp_path: Path) -> None:
    names = [f"{number:02d}.png" for number in range(20)]
    root = _images(tmp_path / "own", *names)
    (root / "points.csv").write_text("image,x1,y1\n" + "".join(f"{name},1,2\n" for name in names))
    with_labels, without = FolderDataset(root), FolderDataset(root, labels=False, split="seeded")
    for stage, count in (("train", 14), ("val", 3), ("test", 3)):
        assert _ids(with_labels, stage) == _ids(without, stage) and len(_ids(without, stage)) == count


def test_the_table_is_not_read(tmp_path: Path) -> None:
    root = _images(tmp_path / "own", "a.png", "b.png")
    for name in ("one.csv", "two.csv"):
        (root / name).write_bytes(b"\xff\x00 no table")
    assert _ids(FolderDataset(root, labels=False)) == ["a.png", "b.png"]


def test_a_split_column_that_is_asked_for_keeps_test_images_out_of_training(tmp_path: Path) -> None:
    root = _images(tmp_path / "own", "a.png", "b.png", "c.png")
    (root / "points.csv").write_text("image,x1,y1,part\na,1,2,train\nb,3,4,val\nc,5,6,test\n")
    dataset = FolderDataset(root, labels=False, split_column="part")
    assert [_ids(dataset, stage) for stage in ("train", "val", "test")] == [["a"], ["b"], ["c"]]
    assert dataset.samples("train")[0].annotations.shape == (1, 0, 2) and dataset.landmark_names == ()
    assert dataset.check() == []


def test_broken_images_are_named(tmp_path: Path) -> None:
    root = _images(tmp_path / "own", "a.png", "b.png", "c.png")
    (root / "b.png").write_bytes(b"no image")
    (root / "c.png").write_bytes((root / "c.png").read_bytes()[:50])
    dataset = FolderDataset(root, labels=False)
    with pytest.raises(DataError, match=r"own/b\.png: 8 bytes that are no known image format"):
        dataset.samples("train")
    errors = [finding.message for finding in dataset.check()]
    assert len(errors) == 2 and "b.png: " in errors[0] and "c.png: the image cannot be decoded" in errors[1]


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"own: no image found here or in the folders within; expected \.jpg"):
        FolderDataset(tmp_path / "own", labels=False)


def test_real_chests_without_their_table(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("chest15")
    assert len(FolderDataset(root, labels=False).samples("train")) == 146
    by_column = FolderDataset(root, labels=False, split_column="author_split")
    assert [len(by_column.samples(stage)) for stage in ("train", "val", "test")] == [100, 23, 23]  # type: ignore[arg-type]


def test_real_cephalograms_without_labels(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / "isbi"
    root.mkdir()
    (root / "cepha400").symlink_to(shared_data("isbi2015") / "cepha400")
    dataset = build_dataset("isbi2015", root, labels=False)
    samples = dataset.samples("train")
    assert len(samples) == 150 and {sample.annotations.shape for sample in samples} == {(1, 0, 2)}

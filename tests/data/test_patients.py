"""Patients stay in one part, and the same image under two names is told, wherever images are divided."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.checks.duplicates import SeenPixels, same_files
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.data.splits import few_shot_order, seeded_split
from landmark_diffusion.studies.calibrate.folds import make_folds


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path_factory.mktemp("cache")))


IDS = [f"{number:02d}" for number in range(40)]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=3, max_size=30), seed=st.integers(0, 5))
def test_no_patient_is_in_two_parts_and_parts_are_near_their_shares(sizes: list[int], seed: int) -> None:
    patients = {f"{who:02d}_{number}": f"P{who}" for who, size in enumerate(sizes) for number in range(size)}
    parts = seeded_split(list(patients), (0.7, 0.15, 0.15), seed, patients)
    assert sorted(image for part in parts.values() for image in part) == sorted(patients)
    where = {stage: {patients[image] for image in part} for stage, part in parts.items()}
    assert all(where.values()) and sum(map(len, where.values())) == len(sizes)
    for stage in ("val", "test"):  # half a patient off, or one patient where that is more than its share
        assert abs(len(parts[stage]) - 0.15 * len(patients)) <= max(sizes)


def test_patients_of_one_image_change_nothing() -> None:
    patients = {image: f"patient {image}" for image in IDS}
    assert seeded_split(IDS, seed=3, patients=patients) == seeded_split(IDS, seed=3)
    assert few_shot_order(IDS, 1, 0, patients) == few_shot_order(IDS, 1, 0)
    assert make_folds(IDS, 4, Path("f"), 0, patients) == make_folds(IDS, 4, Path("f"))
    order = few_shot_order(IDS, 0, 0)
    assert [set(fold.held_out) for fold in make_folds(IDS, 4, Path("f"))] == [set(order[n::4]) for n in range(4)]


def test_a_draw_has_whole_patients_but_for_the_last() -> None:
    patients = {image: image[1] for image in IDS}  # ten patients of four images
    order = few_shot_order(IDS, 2, 0, patients)
    assert sorted(order) == IDS
    assert [{patients[image] for image in order[at : at + 4]} for at in range(0, 40, 4)] == [
        {patients[order[at]]} for at in range(0, 40, 4)
    ]
    assert len({patients[image] for image in order[:10]}) == 3


def test_a_fold_holds_out_whole_patients() -> None:
    patients = {image: image[1] for image in IDS}
    folds = make_folds(IDS, 5, Path("folds"), 0, patients)
    assert [len(fold.held_out) for fold in folds] == [8] * 5
    assert sorted(who for fold in folds for who in {patients[image] for image in fold.held_out}) == list("0123456789")
    with pytest.raises(UserError, match="--folds: found 11, expected 2 to 10, the number of patients"):
        make_folds(IDS, 11, Path("folds"), 0, patients)


def folder(root: Path, header: str, rows: dict[str, str], same: dict[str, str] | None = None) -> FolderDataset:
    """A data set of one landmark; ``same`` names images that are copies of others."""
    root.mkdir(parents=True, exist_ok=True)
    for grey, name in enumerate(rows):
        Image.fromarray(np.full((8, 10), grey, np.uint8)).save(root / name)
    for copy, original in (same or {}).items():
        if Path(copy).suffix == Path(original).suffix:
            (root / copy).write_bytes((root / original).read_bytes())
        else:
            Image.open(root / original).save(root / copy)
    lines = [f"{name},1,{number % 7},{rows[name]}" for number, name in enumerate(rows)]
    (root / "points.csv").write_text("\n".join([f"image,x1,y1,{header}", *lines]))
    return FolderDataset(root)


def test_an_automatic_split_keeps_patients_together_and_says_so(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "own", "patient", {f"{number:02d}.png": f"P{number // 3}" for number in range(30)})
    parts = {stage: {s.image_id for s in dataset.samples(stage)} for stage in ("train", "val", "test")}  # type: ignore[arg-type]
    who = {stage: {int(image[:2]) // 3 for image in images} for stage, images in parts.items()}
    assert sum(map(len, who.values())) == len(set.union(*who.values())) == 10
    assert dataset.notes()[-2].endswith(
        "split at random (no split column; 0.7/0.15/0.15, seed 0): train "
        f"{len(parts['train'])}, val {len(parts['val'])}, test {len(parts['test'])}, 10 patients kept together "
        "(column 'patient')"
    )


def test_a_group_that_is_no_patient_is_refused_or_warned_of(tmp_path: Path) -> None:
    """``group`` can be the arm of a study: its two values would make train and test, and no val."""
    arms = {f"{number:02d}.png": "case" if number % 2 else "control" for number in range(12)}
    with pytest.raises(DataError, match=r"csv:1: the column 'group' has 2 values for 12 images; .* 3 parts cannot be"):
        folder(tmp_path / "arms", "group", arms).samples("train")
    sites = {f"{number:02d}.png": "abc"[number % 3] for number in range(30)}
    dataset = folder(tmp_path / "sites", "group", sites)
    said = r"the split is uneven \(train 10, val 10, test 10\), since all images with one value of the column 'group'"
    with pytest.warns(UserWarning, match=said):
        dataset.samples("train")


def test_a_split_that_tears_a_patient_apart_is_warned_of(tmp_path: Path) -> None:
    rows = {"a.png": "P1,train", "b.png": "P1,test", "c.png": "P2,train", "d.png": "P2,val", "e.png": ",test"}
    dataset = folder(tmp_path / "own", "patient,split", rows)
    said = "the split tears patients apart: 'P1' has images in train and test and 1 others like that"
    assert [finding.level for finding in dataset.check() if said in finding.message] == ["warning"]
    with pytest.warns(UserWarning, match=said):
        dataset.samples("train")
    assert dataset.notes()[0] == f"{dataset.table.path}: split by the column 'split': train 2, val 1, test 2"


def test_the_val_share_of_a_split_column_keeps_patients_together(tmp_path: Path) -> None:
    rows = {f"{number:02d}.png": f"P{number // 3},{'test' if number >= 24 else 'train'}" for number in range(30)}
    dataset = folder(tmp_path / "own", "patient,part", rows)
    train, val = ({int(s.image_id[:2]) // 3 for s in dataset.samples(stage)} for stage in ("train", "val"))  # type: ignore[arg-type]
    assert train and val and not train & val
    said = "split by the column 'part', 0.15 of train as val: train 21, val 3, test 6, 10 patients"
    assert said in dataset.notes()[-2]


def test_the_same_image_under_two_names(tmp_path: Path) -> None:
    rows = {"a.png": "train", "b.png": "test", "c.png": "train", "d.png": "train", "e.bmp": "test"}
    dataset = folder(tmp_path / "own", "split", rows, {"b.png": "a.png", "e.bmp": "d.png"})
    pair = "'a.png' (line 2, train) and 'b.png' (line 3, test)"
    said = f"the same image under two names in different parts of the split: {pair}"
    with pytest.warns(UserWarning) as caught:
        dataset.samples("train")
    assert [str(each.message) for each in caught] == [said]
    (doubt,) = [finding.message for finding in dataset.check() if "same image" in finding.message]
    assert doubt == f"{dataset.table.path}: {said}, and 1 more like it"  # d.png and e.bmp, by their pixels
    (doubt,) = [finding.message for finding in dataset.check(decode=False) if "same image" in finding.message]
    assert doubt == f"{dataset.table.path}: {said}"


def test_files_are_read_only_where_another_has_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"a": b"x" * 9000, "b": b"x" * 9000, "d": b"x", "e": b"yx", "f": b"y"}
    contents["c"] = b"x" * 4500 + b"y" + b"x" * 4499
    contents["g"] = b"z" + b"x" * 8999  # like a but for the first byte
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    opened: list[str] = []
    before = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(path.name) or before(path, *rest))
    assert same_files({name: tmp_path / name for name in contents}) == [["a", "b"]]
    assert sorted(opened) == ["a", "b", "c", "d", "f", "g"]


def test_pixels_of_another_shape_are_another_image() -> None:
    seen = SeenPixels()
    for name, shape in (("a", (4, 6)), ("b", (6, 4)), ("c", (4, 6))):
        seen.add(name, np.zeros(shape, np.uint8))
    assert seen.same() == [["a", "c"]]

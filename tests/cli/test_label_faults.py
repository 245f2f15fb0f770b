"""`ldx data check --model`: bad input ends in one clear line, and real radiographs with faults in them are told."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli.data_verbs import run_data_check
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources import build_dataset
from tests.detection.tiny_model import picture, write_positions

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "ceph_small.ldx"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        Image.fromarray(picture(seed)).save(folder / f"{name}.png")
    _write(folder, "sella_x,sella_y,nasion_x,nasion_y,menton_x,menton_y")
    return folder


def _write(folder: Path, names: str, values: str = "40,50,100,60,90,150") -> None:
    rows = [f"image,{names}", *(f"{name}.png,{values}" for name in "abc")]
    (folder / "landmarks.csv").write_text("\n".join(rows) + "\n")


def _check(root: Path, *more: str) -> int:
    return run_data_check(["--dataset", "folder", "--root", str(root), *more])


def test_options_of_a_model_without_one(root: Path) -> None:
    for option in (["--output", "x"], ["--cases", "3"], ["--fast"], ["--overwrite"]):
        with pytest.raises(UserError, match=f"{option[0]}: only with --model"):
            _check(root, *option)
    with pytest.raises(UserError, match="--cases: found 0"):
        _check(root, "--model", "m.ldx", "--cases", "0")


def test_a_model_of_another_anatomy(root: Path) -> None:
    _write(root, "wrist_x,wrist_y,thumb_x,thumb_y,radius_x,radius_y")
    model = write_positions(root.parent / "m.ldx")
    with pytest.raises(UserError, match=r"no landmark in common: it finds 'sella'.*have 'wrist'"):
        _check(root, "--model", str(model))


def test_a_folder_without_labels(root: Path) -> None:
    _write(root, "sella_x,sella_y,nasion_x,nasion_y,menton_x,menton_y", ",,,,,")
    model = write_positions(root.parent / "m.ldx")
    with pytest.raises(UserError, match="no point at all"):
        _check(root, "--model", str(model))
    (root / "landmarks.csv").unlink()
    with pytest.raises(UserError, match="no CSV file in this folder"):
        _check(root, "--model", str(model))


def test_no_file_no_place(root: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.ldx"):
        _check(root, "--model", "nowhere.ldx")
    model = write_positions(root.parent / "m.ldx")
    (root.parent / "taken").write_text("")
    with pytest.raises(UserError, match=r"--output taken.*cannot be written to"):
        _check(root, "--model", str(model), "--output", "taken")
    (root.parent / "out").mkdir()
    (root.parent / "out" / "label_faults.csv").write_text("mine")
    with pytest.raises(UserError, match=r"label_faults\.csv exists already"):
        _check(root, "--model", str(model), "--output", "out")
    assert (root.parent / "out" / "label_faults.csv").read_text() == "mine"


@pytest.mark.slow
def test_real_radiographs(
    shared_data: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As image 322 in a copy of ISBI 2015: pixels mirrored, labels not; and two rows exchanged."""
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))
    source = build_dataset("isbi2015", shared_data("isbi2015"))
    samples = source.samples("train")[:22]
    root = tmp_path / "spoilt"
    root.mkdir()
    points = {sample.image_id: sample.mean_points for sample in samples}
    points["007"], points["012"] = points["012"], points["007"]
    names = [name.replace(" ", "_") for name in source.landmark_names]
    rows = ["image," + ",".join(f"{name}_x,{name}_y" for name in reversed(names))]
    for sample in samples:
        pixels = source.load_image(sample)
        pixels = np.ascontiguousarray(pixels[:, ::-1]) if sample.image_id == "004" else pixels
        Image.fromarray(pixels).save(root / f"{sample.image_id}.png", compress_level=1)
        rows.append(f"{sample.image_id}.png," + ",".join(f"{v:.1f}" for v in points[sample.image_id][::-1].ravel()))
    (root / "landmarks.csv").write_text("\n".join(rows) + "\n")
    assert _check(root, "--no-decode", "--model", str(SHIPPED), "--output", str(tmp_path / "out"), "--fast") == 0
    assert "the image lies mirrored" in " ".join(capsys.readouterr().out.split())
    found = list(csv.DictReader((tmp_path / "out" / "label_faults.csv").open()))
    assert {(row["image"], row["kind"]) for row in found} == {
        ("004.png", "image turned"), ("007.png", "other image"), ("012.png", "other image")
    }  # fmt: skip
    assert {row["other_image"] for row in found} == {"", "007.png", "012.png"}
    assert (tmp_path / "out" / "label_faults.png").is_file()

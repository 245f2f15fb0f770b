"""Training and testing on a folder of DICOM files gives what the same pixels as PNG give, to the last digit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.sources.phantom import PhantomDataset
from tests.detection.bad_inputs import deep, write_dicom
from tests.end_to_end.console import NETWORK, ldx, read_rows

COUNT = 8
FIT = (
    *("fit", "--config", "folder_diffusion_small.yaml", *NETWORK, "--data.batch_size=4"),
    *("--trainer.max_steps=2", "--trainer.log_every_n_steps=1"),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``png`` and ``dicom``: the same phantoms with the same points, as 8-bit PNG and as 12-bit DICOM of two kinds."""
    home = tmp_path_factory.mktemp("dicom_folder")
    phantom = PhantomDataset(count=(COUNT, 0, 0), image_size=(129, 160), seed=3)
    for kind in ("png", "dicom"):
        (home / kind).mkdir()
    columns = [f"{name}_{axis}" for name in phantom.landmark_names for axis in "xy"]
    for kind, more in (("png", ["spacing"]), ("dicom", [])):
        with (home / kind / "points.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "split", *columns, *more])
            for number, sample in enumerate(phantom.samples("train")):
                part = ("train", "train", "train", "val", "test")[number % 5]
                points = [f"{value:.6f}" for value in sample.mean_points.ravel()]
                rows.writerow([f"{number:02d}", part, *points, *(["0.2"] if more else [])])
    for number, sample in enumerate(phantom.samples("train")):
        grey = phantom.load_image(sample)
        Image.fromarray(grey).save(home / "png" / f"{number:02d}.png")
        turned = number % 2  # MONOCHROME1: 0 is white
        path = home / "dicom" / f"{number:02d}{'.dcm' if turned else ''}"
        write_dicom(
            path, deep(12, 255 - grey if turned else grey), BitsStored=12,
            ImagerPixelSpacing=[0.2, 0.2], PhotometricInterpretation=f"MONOCHROME{2 - turned}",
        )  # fmt: skip
    return home


def test_a_training_on_dicom_is_that_on_png(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders)
    found = {}
    for kind in ("png", "dicom"):
        outcome = ldx(*FIT, f"--data.root={kind}", f"--run_folder=runs/{kind}")
        assert outcome.status == 0, outcome.err
        assert ldx("test", f"runs/{kind}", "--pictures=0").status == 0
        rows = read_rows(Path("runs", kind, "test", "predictions.csv"))
        losses = [row["train/loss"] for row in read_rows(Path("runs", kind, "logs", "version_0", "metrics.csv"))]
        assert rows and len(losses) == 2 and {row["unit"] for row in rows} == {"mm"}
        found[kind] = (losses, rows)
    assert found["png"] == found["dicom"]


def test_the_other_verbs_take_the_folder(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders)
    outcome = ldx("data", "check", "--dataset=folder", "--root=dicom")
    assert outcome.status == 0 and "spacing from the DICOM files: ImagerPixelSpacing in 8 images" in outcome.out
    suggested = ldx("suggest", "--data.root=dicom", "--count=2", "--labelled=none", "--output=suggested")
    assert suggested.status == 0, suggested.err
    broken = folders / "broken"
    broken.mkdir()
    for path in (folders / "dicom").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    frames = np.zeros((4, 4), np.uint8)
    write_dicom(broken / "02", frames, NumberOfFrames=2, PixelData=bytes(32))
    outcome = ldx("data", "check", "--dataset=folder", "--root=broken")
    assert outcome.status == 1 and "broken/02: found 2 frames, expected one image" in outcome.out
    assert sum(line.startswith("error: ") for line in outcome.out.splitlines()) == 1
    outcome = ldx(*FIT, "--data.root=broken", "--run_folder=runs/broken")
    assert outcome.status == 1 and "broken/02: found 2 frames, expected one image" in outcome.err
    assert not Path("runs/broken/checkpoints").exists()

"""The user's own images: a public chest set as it is, and images that a network must be able to learn by heart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.sources.phantom import PhantomDataset
from tests.end_to_end.console import NETWORK, column, ldx, read_rows

pytestmark = pytest.mark.slow

CHEST = ('--data.dataset_options={"split_column": "author_split"}', "--data.dataset=folder")


def test_chest15_works_as_it_is(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    root = shared_data("chest15")
    options = ("--config", "phantom_diffusion_paper_a.yaml", *NETWORK, *CHEST, f"--data.root={root}")
    run = ("--run_folder", str(tmp_path / "run"))
    assert ldx("fit", *options, *run, "--trainer.max_steps=3").status == 0
    assert ldx("test", *options, *run).status == 0
    rows = read_rows(tmp_path / "run" / "test" / "predictions.csv")
    table = {row["image"]: row for row in read_rows(root / "landmarks.csv")}
    assert {row["image_id"] for row in rows} == {name for name, row in table.items() if row["author_split"] == "test"}
    assert {row["unit"] for row in rows} == {"px"}
    truth = [[float(table[row["image_id"]][f"{axis}{row['landmark']}"]) for axis in "xy"] for row in rows]
    assert np.array_equal(column(rows, "x_true", "y_true"), np.array(truth))
    metrics = json.loads((tmp_path / "run" / "test" / "metrics.json").read_text())
    assert metrics["variants"]["multi-step"]["mre"] == pytest.approx(column(rows, "error").mean(), abs=1e-6)


def test_data_check_finds_the_outlier_of_chest15(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("chest15")
    outcome = ldx("data", "check", "--dataset=folder", f"--root={root}", "--split-column=author_split", "--no-decode")
    assert outcome.status == 0
    line = next(line for line in outcome.out.splitlines() if "viral-pneumonia-595" in line)
    assert line.startswith(f"warning: {root / 'landmarks.csv'}:59: ") and "landmark 14" in line


def write_learnt_by_heart(root: Path, images: int = 2) -> None:
    """Write phantoms, each once as a training and once as a test image, with annotations that agree."""
    phantom = PhantomDataset(count=(images, 0, 0), image_size=(129, 160), seed=3)
    names = phantom.landmark_names
    lines = ["image,split," + ",".join(f"x{number},y{number}" for number in range(1, len(names) + 1))]
    for number, sample in enumerate(phantom.samples("train")):
        points = ",".join(f"{value:.6f}" for value in sample.mean_points.ravel())
        for part in ("train", "test"):
            Image.fromarray(phantom.load_image(sample)).save(root / f"{part}{number}.png")
            lines.append(f"{part}{number}.png,{part},{points}")
    (root / "points.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("config", "limit"), [("phantom_baseline.yaml", 0.05), ("phantom_diffusion_paper_a.yaml", 0.5)]
)
def test_a_network_learns_two_images_by_heart(config: str, limit: float, tmp_path: Path) -> None:
    """A pixel of the network is two of the image here: a shift of half of one is 0.7 px (0.0004 and 0.24 found)."""
    (tmp_path / "own").mkdir()
    write_learnt_by_heart(tmp_path / "own")
    options = (
        *("--config", config, "--config", _write(tmp_path / "tiny.yaml")),
        *(f"--data.root={tmp_path / 'own'}", "--run_folder", str(tmp_path / "run")),
    )
    outcome = ldx("fit", *options)
    assert outcome.status == 0, outcome.err
    assert ldx("test", *options).status == 0
    for path in sorted((tmp_path / "run" / "test").glob("predictions*.csv")):
        error = column(read_rows(path), "error")
        assert error.mean() < limit and error.max() < 4 * limit, (
            f"{path.name}: {error.mean():.2f}, {error.max():.2f} px"
        )


def _write(path: Path) -> str:
    path.write_text(
        """
trainer: {max_steps: 400, precision: 32-true, accelerator: cpu, check_val_every_n_epoch: 1000}
data:
  dataset: folder
  dataset_options: {val_fraction: 0}
  size: [64, 80]
  recipe: none
  batch_size: 2
model:
  init_args:
    network:
      class_path: UNet
      init_args:
        encoder_channels: [16, 32, 48]
        decoder_channels: [48, 32, 16]
        attention_factors: []
    target: {nll: subpixel}  # exact at the point; one hot pixel could only be learnt to half a pixel
    optimisation: {learning_rate: 0.003, warmup_steps: 20, ema_decay: 0.98}
"""
    )
    return str(path)

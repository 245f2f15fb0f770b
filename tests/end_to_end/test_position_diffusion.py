"""Diffusion of positions through the real entry: fit, test with its spread beside the annotators, export."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from tests.end_to_end.console import column, ldx, ldx_in, read_rows

CONFIG = """
seed_everything: 3
trainer: {max_steps: 3, precision: bf16-mixed, accelerator: cpu, check_val_every_n_epoch: 1}
data:
  dataset: phantom
  dataset_options: {count: [4, 2, 3]}
  size: [64, 80]
  recipe: mild
  batch_size: 2
  eval_batch_size: 2
  num_workers: 0
model:
  class_path: PositionDiffusionModule
  init_args:
    coarse_factor: 2
    network:
      class_path: UNet
      init_args:
        encoder_channels: [8, 16]
        decoder_channels: [16, 8]
        blocks_per_level: 1
        attention_factors: []
    window_network:
      class_path: UNet
      init_args:
        encoder_channels: [8]
        decoder_channels: [8]
    windows: {size: 16}
    sampling: {steps: 4, validation_steps: 2, start_noise: 0.5, samples: 2}
    optimisation: {learning_rate: 0.001, ema_decay: 0.5}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was trained for three updates, tested and exported."""
    home = tmp_path_factory.mktemp("positions")
    (home / "positions.yaml").write_text(CONFIG)
    ldx_in(
        home,
        ("fit", "--config=positions.yaml", "--run_folder=runs/a"),
        ("test", "--config=positions.yaml", "--run_folder=runs/a", "--pictures=1"),
        ("export", "runs/a/checkpoints/best.ckpt", "b.ldx"),
    )
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_both_networks_were_trained_and_validated(home: Path) -> None:
    content = torch.load("runs/a/checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == 3
    assert {name.split(".")[0] for name in content["state_dict"]} == {"network", "window_network", "shape_prior"}
    curves = read_rows(home / "runs/a/logs/version_0/metrics.csv")
    shown = {name for row in curves for name, value in row.items() if value}
    assert {"val/mre", "val/mre_single_step", "val/mre_multi_step"} <= shown


def test_the_test_measures_both_and_the_spread() -> None:
    metrics = json.loads(Path("runs/a/test/metrics.json").read_text())
    assert set(metrics["variants"]) == {"single-step", "multi-step"}
    rows, first = (read_rows(Path(f"runs/a/test/predictions{end}.csv")) for end in ("", "_single_step"))
    assert len(rows) == len(first) == 3 * (len(read_rows(Path("runs/a/test/annotators.csv"))) - 1)
    assert np.abs(column(rows, "x", "y") - column(first, "x", "y")).max() > 0.1
    spread = column(read_rows(Path("runs/a/test/annotators.csv")), "spread")
    assert np.isfinite(spread).all() and (spread > 0).all()


def test_the_report_shows_maps_and_the_process() -> None:
    report = Path("runs/a/test/report")
    for pattern in ("overlay_*.png", "process_*.png", "heatmaps_*.png"):
        pictures = sorted(report.glob(pattern))
        assert pictures, pattern
        assert matplotlib.image.imread(pictures[0])[..., :3].std() > 0.02, pictures[0]
    linked = re.findall(r"\]\(([^)]+\.png)\)", (report / "README.md").read_text())
    assert linked and all((report / name).is_file() for name in linked)


def test_an_exported_model_measures_as_its_checkpoint() -> None:
    # in the run's own precision: by itself a processor without bfloat16 would measure in float32
    outcome = ldx("test", "b.ldx", "--pictures=0", "--trainer.precision=bf16-mixed")
    assert outcome.status == 0, outcome.err
    assert "warning" not in outcome.err
    for name in ("predictions.csv", "predictions_single_step.csv", "annotators.csv"):
        assert Path(f"runs/a/test/{name}").read_bytes() == Path(f"runs/b.ldx/test/{name}").read_bytes(), name


@pytest.mark.slow
def test_the_first_network_alone_is_measured_with_its_pictures() -> None:
    """``sampling_steps`` 1 on the same weights: the baseline."""
    one = ("--model.init_args.sampling.steps=1", "--run_folder=runs/c", "--pictures=1")
    outcome = ldx("test", "--config=positions.yaml", *one, "--ckpt_path=runs/a/checkpoints/best.ckpt")
    assert outcome.status == 0, outcome.err
    ours, theirs = Path("runs/c/test/predictions.csv"), Path("runs/a/test/predictions_single_step.csv")
    assert ours.read_bytes() == theirs.read_bytes()


def test_an_option_that_cannot_work_is_one_message() -> None:
    outcome = ldx("fit", "--config=positions.yaml", "--run_folder=runs/d", "--model.init_args.windows.patch=5")
    assert outcome.status == 1 and "Traceback" not in outcome.err
    assert "model.windows.patch: found 5, expected a divisor of size (16)" in outcome.err
    assert not Path("runs/d").exists()

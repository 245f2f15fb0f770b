"""Determinism on demand: the same weights twice, and every sampled point again from the seed that lies beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.detection.tiny_model import picture
from tests.end_to_end.console import column, ldx, ldx_in, read_rows
from tests.training.tiny import differences, trained_state

DATA = """
data:
  dataset: phantom
  dataset_options: {count: [4, 2, 3]}
  size: [64, 80]
  recipe: mild
  batch_size: 2
  eval_batch_size: 2
  num_workers: 0
trainer: {max_steps: 3, accelerator: cpu, check_val_every_n_epoch: 1, deterministic: true}
"""
NETWORK = """
    network:
      class_path: UNet
      init_args:
        encoder_channels: [8, 16]
        decoder_channels: [16, 8]
        blocks_per_level: 1
        attention_factors: [2]
        attention_heads: 2
        dropout: 0.1
    optimisation: {ema_decay: 0.5}
"""
METHODS = {
    "PositionDiffusionModule": """
    coarse_factor: 2
    window_network:
      class_path: UNet
      init_args: {encoder_channels: [8], decoder_channels: [8], dropout: 0.1}
    windows: {size: 16}
    sampling: {steps: 4, validation_steps: 2, start_noise: 0.5, samples: 2, eta: 1.0}
""",
    "DiffusionHeatmapModule": "    sampling: {steps: 2}\n",
    "HeatmapFinetuneModule": "",
    "DDPMPretrainModule": "    sampling: {steps: 2}\n    noise: {steps: 20}\n",
}


@pytest.fixture(scope="module", autouse=True)
def _torch_as_before() -> Iterator[None]:
    """Lightning switches torch's determinism on for the whole process, and leaves it so."""
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)
    if workspace is None:
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config for each method."""
    home = tmp_path_factory.mktemp("determinism")
    for name, options in METHODS.items():
        config = f"{DATA}model:\n  class_path: {name}\n  init_args:{NETWORK}{options}"
        (home / f"{name}.yaml").write_text(config)
    return home


@pytest.fixture(scope="module")
def tested(home: Path) -> Path:
    """The run folder of diffusion of positions, fitted and tested with seed 5."""
    options = ("--config=PositionDiffusionModule.yaml", "--seed_everything=5", "--run_folder=seen")
    ldx_in(
        home, ("fit", *options), ("test", *options, "--pictures=0"), ("export", "seen/checkpoints/last.ckpt", "m.ldx")
    )
    return home / "seen"


def fitted(home: Path, method: str, folder: str, seed: int = 0) -> dict:
    ldx_in(home, ("fit", f"--config={method}.yaml", f"--run_folder={folder}", f"--seed_everything={seed}"))
    assert torch.are_deterministic_algorithms_enabled()  # an operation without a deterministic form would have raised
    return trained_state(torch.load(home / folder / "checkpoints/last.ckpt", weights_only=True))


SLOW = ("HeatmapFinetuneModule", "DDPMPretrainModule", "DiffusionHeatmapModule")


@pytest.mark.parametrize("method", [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in METHODS])
def test_the_same_seed_gives_the_same_weights_twice(home: Path, method: str) -> None:
    """Weights, moving average, optimiser, schedule and best score, with no operation that torch knows as random."""
    first, second = (fitted(home, method, f"{method}_{n}") for n in range(2))
    assert first["global_step"] == 3
    assert list(differences(first, second)) == []


def test_another_seed_gives_other_weights(home: Path) -> None:
    """Else the test above could not tell two runs apart."""
    first, second = (fitted(home, "DiffusionHeatmapModule", f"seed_{seed}", seed) for seed in (1, 2))
    assert len(list(differences(first, second))) > 10


def test_predictions_of_ldx_test_come_again_from_the_seed_in_metrics_json(tested: Path) -> None:
    seed = json.loads((tested / "test/metrics.json").read_text())["extra"]["seed"]
    assert seed == 5
    first = (tested / "test/predictions.csv").read_bytes()
    rows = read_rows(tested / "test/predictions.csv")
    line = ["test", "--config=PositionDiffusionModule.yaml", "--run_folder=seen", "--pictures=0"]
    ldx_in(tested.parent, (*line, f"--seed_everything={seed}"))
    assert (tested / "test/predictions.csv").read_bytes() == first
    ldx_in(tested.parent, (*line, f"--seed_everything={seed + 1}"))
    others = read_rows(tested / "test/predictions.csv")
    assert np.abs(column(rows, "x", "y") - column(others, "x", "y")).max() > 1e-3  # the points hang on the seed


def test_points_of_ldx_detect_come_again_from_the_seed_in_points_json(tested: Path) -> None:
    """In another order, in another batch and under other names."""
    home = tested.parent
    for folder, names in (("x", "abc"), ("y", "cba")):
        (home / folder).mkdir()
        for number, name in enumerate(names):
            Image.fromarray(picture(number)).save(home / folder / f"{name}.png")

    def found(folder: str, output: str, *options: str) -> dict:
        ldx_in(home, ("detect", folder, "--model=m.ldx", "--to=json", f"--output={output}", *options))
        return json.loads((home / output / "points.json").read_text())

    def points(content: dict) -> np.ndarray:
        images = content["images"]
        return np.array([[each["point_px"] for each in image["landmarks"]] for image in images])

    first = found("x", "first", "--samples=3", "--seed=11")
    seed = {each["settings"]["seed"] for each in [first, *first["images"]] if "settings" in each}
    assert seed == {11}
    again = found("y", "again", "--samples=3", f"--seed={seed.pop()}", "--batch-size=1")
    assert np.abs(points(first) - points(again)[::-1]).max() < 1e-3
    other = found("x", "other", "--samples=3", "--seed=12")
    assert np.abs(points(first) - points(other)).max() > 1e-2


def test_the_seed_is_one_option_and_is_kept_with_the_run(tested: Path) -> None:
    assert "seed_everything: 5" in (tested / "config.yaml").read_text()
    assert ldx("fit", "--config=PositionDiffusionModule.yaml", "--data.seed=3").status == 1

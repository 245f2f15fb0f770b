"""An exported model measures as its checkpoint did, to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.model_file import read_model_file
from tests.end_to_end.console import PHANTOM, ldx, ldx_in

ASKED = ("--model.sampling.steps=3", "--model.network.channels_last=true", "--seed_everything=5", "--pictures=0")
"""Options of the measurement, not of the training: the export has to follow them."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was trained with an average of the weights, tested and exported."""
    home = tmp_path_factory.mktemp("export")
    ldx_in(
        home,
        ("fit", *PHANTOM, "--trainer.max_steps=4", "--model.optimisation.ema_decay=0.5", "--run_folder=runs/a"),
        ("test", *PHANTOM, *ASKED, "--model.optimisation.ema_decay=0.5", "--run_folder=runs/a"),
        ("export", "runs/a/checkpoints/best.ckpt", "weights/b.ldx"),
    )
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def same(name: str, folder: str) -> bool:
    return Path(f"runs/a/test/{name}").read_bytes() == Path(f"{folder}/{name}").read_bytes()


def test_it_measures_as_its_checkpoint(home: Path) -> None:
    outcome = ldx("test", "weights/b.ldx", "--pictures=0")
    assert outcome.status == 0, outcome.err
    assert "warning" not in outcome.err
    assert same("predictions.csv", "runs/b.ldx/test") and same("predictions_single_step.csv", "runs/b.ldx/test")
    ours, theirs = (json.loads(Path(f"runs/{run}/test/metrics.json").read_text()) for run in ("a", "b.ldx"))
    assert ours.pop("extra")["updates"] == (extra := theirs.pop("extra"))["updates"]
    assert ours == theirs
    assert extra["command"] == "ldx test weights/b.ldx --pictures=0"  # as the reader can repeat it
    facts = read_model_file("weights/b.ldx").facts
    assert facts.measured["variants"] == ours["variants"] and extra["model_file"] == facts.weights_sha256


def test_a_config_with_the_file_as_checkpoint_measures_the_same(home: Path) -> None:
    outcome = ldx(
        "test",
        *PHANTOM,
        *ASKED,
        "--model.optimisation.ema_decay=0.5",
        "--run_folder=runs/c",
        "--ckpt_path=weights/b.ldx",
    )
    assert outcome.status == 0, outcome.err
    assert same("predictions.csv", "runs/c/test")


def test_it_holds_the_average(home: Path) -> None:
    content, model = read_checkpoint("runs/a/checkpoints/best.ckpt"), read_model_file("weights/b.ldx")
    averaged, raw = content["state_dict"], content["current_model_state"]
    assert all(torch.equal(averaged[name], value) for name, value in model.weights.items())
    assert not all(torch.equal(raw[name], value) for name, value in model.weights.items())


def test_further_options_override_its_own(home: Path) -> None:
    for verb in ("validate", "predict"):
        outcome = ldx(verb, "weights/b.ldx", "--model.decoding.decoder=argmax", "--run_folder=runs/d")
        assert outcome.status == 0, outcome.err
    assert Path("runs/d/validate/metrics.json").is_file()
    assert not same("predictions.csv", "runs/d/predict")


def test_training_from_it_is_refused(home: Path) -> None:
    outcome = ldx("fit", *PHANTOM, "--trainer.max_steps=5", "--run_folder=runs/e", "--ckpt_path=weights/b.ldx")
    assert outcome.status == 1 and "no training can go on from it" in outcome.err
    assert not Path("runs/e").exists()


def test_another_network_is_refused_by_name(home: Path) -> None:
    outcome = ldx(
        "test", "weights/b.ldx", "--model.network.encoder_channels=[8,24]", "--model.network.decoder_channels=[24,8]"
    )
    assert outcome.status == 1
    assert "encoder_channels: [8, 16] in the checkpoint, [8, 24] in the config" in outcome.err

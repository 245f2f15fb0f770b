"""Pre-training without labels, then fine-tuning from its checkpoint, through the real entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.end_to_end.console import ldx, read_rows, run
from tests.end_to_end.wandb_file import history_keys

NETWORK = (
    "--data.size=[32,40]",
    "--model.network.encoder_channels=[8,16]",
    "--model.network.decoder_channels=[16,8]",
    "--model.network.attention_factors=[]",
    "--model.network.blocks_per_level=1",
    "--trainer.precision=32-true",
    "--trainer.accelerator=cpu",
    "--data.batch_size=2",
    "--data.eval_batch_size=2",
)
PHANTOM = ("--data.dataset=phantom", "--data.split=null", "--data.root=null", "--data.dataset_options.count=[4,2,5]")
PRETRAIN = (
    *("--config", "phantom_ddpm_pretrain.yaml", *NETWORK, "--data.dataset_options.count=[4,2,5]"),
    *(
        "--trainer.max_steps=6",
        "--trainer.check_val_every_n_epoch=1",
        "--snapshots=[2,6]",
        "--model.optimisation.warmup_steps=0",
    ),
    *(
        "--model.sampling.every=4",
        "--model.sampling.count=2",
        "--model.sampling.statistics_count=2",
        "--model.sampling.steps=3",
    ),
)
FINETUNE = (
    *(
        "--config",
        "ceph_finetune_small.yaml",
        *NETWORK,
        *PHANTOM,
        "--trainer.max_steps=6",
        "--model.optimisation.warmup_steps=0",
    ),
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after pre-training."""
    folder = tmp_path_factory.mktemp("few_labels") / "pretrain"
    outcome = ldx("fit", *PRETRAIN, "--run_folder", str(folder))
    assert outcome.status == 0, outcome.err
    return folder


def test_pretraining_leaves_snapshots_samples_and_curves(pretrained: Path) -> None:
    kept = {path.name for path in (pretrained / "checkpoints").glob("*.ckpt")}
    assert kept == {"best.ckpt", "last.ckpt", "step_2.ckpt", "step_6.ckpt"}
    samples = {path.name for path in (pretrained / "samples").iterdir()}
    assert {"step_000004.png", "step_000006.png", "statistics.csv"} <= samples
    assert [row["step"] for row in read_rows(pretrained / "samples" / "statistics.csv")] == ["4", "6"]
    curves = read_rows(pretrained / "logs" / "version_0" / "metrics.csv")
    assert len([row for row in curves if row.get("val/loss")]) == 3
    best = torch.load(pretrained / "checkpoints" / "best.ckpt", weights_only=True)
    followed = next(state for name, state in best["callbacks"].items() if "RunCheckpoint" in name)
    assert followed["monitor"] == "val/loss" and followed["best_score"] > 0


def test_testing_a_pretrained_network_tells_its_loss_and_predicting_is_refused(pretrained: Path) -> None:
    outcome = ldx("test", *PRETRAIN, "--run_folder", str(pretrained))
    assert outcome.status == 0, outcome.err
    assert "test/loss" in outcome.out
    refused = ldx("predict", *PRETRAIN, "--run_folder", str(pretrained))
    assert refused.status == 1 and "finds no landmarks" in refused.err


@pytest.fixture(scope="module")
def finetuned(pretrained: Path) -> Path:
    """A run folder after fine-tuning two images from the snapshot of the second update."""
    folder = pretrained.parent / "finetune"
    start = pretrained / "checkpoints" / "step_2.ckpt"
    outcome = ldx(
        "fit", *FINETUNE, "--model.pretrained", str(start), "--data.samples_per_epoch=4",
        "--data.train_images=[phantom_train_000000,phantom_train_000002]", "--run_folder", str(folder),
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "after 2 updates" in outcome.out + outcome.err
    assert "conv_out.weight, conv_out.bias (the last layer is replaced)" in outcome.out + outcome.err
    return folder


def test_finetuning_is_tested_by_both_protocols(finetuned: Path) -> None:
    outcome = ldx("test", *FINETUNE, "--run_folder", str(finetuned), "--protocols=[paper_b]", "--pictures=0")
    assert outcome.status == 0, outcome.err
    metrics = json.loads((finetuned / "test" / "metrics.json").read_text())
    assert metrics["variants"]["heatmap"]["images"] == 5
    grid = metrics["other_protocols"]["paper_b"]
    assert "rounded" in grid["protocol"]
    assert grid["variants"]["heatmap"]["mre"] != metrics["variants"]["heatmap"]["mre"]
    assert "As the released code of paper B measures" in outcome.out


def test_pretraining_another_network_is_refused_before_anything_is_lost(pretrained: Path, finetuned: Path) -> None:
    before = (finetuned / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    outcome = ldx(
        "fit", *FINETUNE, "--model.pretrained", str(pretrained / "checkpoints" / "last.ckpt"),
        "--model.network.blocks_per_level=2", "--run_folder", str(finetuned), "--overwrite", "true",
    )  # fmt: skip
    assert outcome.status == 1
    assert "model.init_args.network.init_args.blocks_per_level: 1 in the checkpoint, 2 in the config" in outcome.err
    assert (finetuned / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    missing = ldx("fit", *FINETUNE, "--model.pretrained", "nowhere.ckpt", "--run_folder", str(finetuned.parent / "new"))
    assert missing.status == 1 and "nowhere.ckpt" in missing.err


def test_an_unknown_protocol_is_refused_before_the_test_runs(finetuned: Path) -> None:
    outcome = ldx("test", *FINETUNE, "--run_folder", str(finetuned), "--protocols=[paper_c]")
    assert outcome.status == 1 and "paper_c" in outcome.err


TWO = ("--config", "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2")


@pytest.mark.slow
def test_both_stages_on_two_processes(tmp_path: Path) -> None:
    """No weight is left without a gradient, three images count three times, and samples are written once."""
    first, second = tmp_path / "pretrain", tmp_path / "finetune"
    outcome = run(["fit", *PRETRAIN, *TWO, "--run_folder", str(first)], tmp_path)
    assert outcome.status == 0, outcome.err
    assert [row["step"] for row in read_rows(first / "samples" / "statistics.csv")] == ["4", "6"]
    start = ("--model.pretrained", str(first / "checkpoints" / "step_6.ckpt"))
    plateau = (
        "--model.optimisation.lr_schedule=plateau",
        "--model.optimisation.plateau_patience=0",
        "--model.optimisation.early_stopping_patience=2",
    )
    options = [*FINETUNE, *start, *plateau, "--data.dataset_options.count=[4,3,5]", "--run_folder", str(second)]
    outcome = run(["fit", *options, *TWO], tmp_path)
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("the last layer is replaced") == 1
    found = {}
    for name, more in (("one", ()), ("two", TWO)):
        outcome = run(["validate", *options, *more, "--data.eval_batch_size=1"], tmp_path)
        assert outcome.status == 0, outcome.err
        found[name] = json.loads((second / "validate" / "metrics.json").read_text())["variants"]["heatmap"]
    assert found["one"]["images"] == 3
    assert found["one"]["mre"] == pytest.approx(found["two"]["mre"], abs=1e-6)


@pytest.mark.slow
def test_samples_and_curves_go_to_weights_and_biases(tmp_path: Path) -> None:
    """Offline: neither an account nor a network is needed."""
    folder, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    surroundings = {"HOME": str(home), "WANDB_API_KEY": "", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    options = ("--trainer.log_every_n_steps=1", "--wandb", "offline", "--run_folder", str(folder))
    outcome = run(["fit", *PRETRAIN, *options], tmp_path, **surroundings)
    assert outcome.status == 0, outcome.err
    (file,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    assert {"train/loss", "val/loss", "samples/generated", "samples/histogram_distance"} <= history_keys(file).keys()

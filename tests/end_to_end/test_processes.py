"""Real processes: signals, two processes on the CPU, Weights & Biases without an account."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.end_to_end.console import COUNT, PHANTOM, Outcome, column, read_rows, run, start
from tests.end_to_end.wandb_file import history_keys

pytestmark = pytest.mark.slow

LONG = ("--trainer.max_steps=150", "--trainer.check_val_every_n_epoch=5", "--model.optimisation.lr_schedule=cosine")
TWO = ("--config", "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2")


def stop_after_first_checkpoint(process: subprocess.Popen, run_folder: Path, number: signal.Signals) -> Outcome:
    deadline = time.monotonic() + 120
    while not (run_folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


def weights(run_folder: Path) -> dict:
    return torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_stopped_fit_says_how_to_go_on_and_ends_with_the_same_weights(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    stopped = tmp_path / "stopped"
    arguments = ["fit", *PHANTOM, *LONG, "--run_folder", str(stopped)]
    outcome = stop_after_first_checkpoint(start(arguments, tmp_path), stopped, number)
    assert outcome.status == status
    assert "Traceback" not in outcome.err
    at = weights(stopped)["global_step"]
    assert 0 < at < 150
    assert f"stopped at step {at} of 150" in outcome.err

    command = shlex.split(outcome.err.partition("go on with: ")[2].splitlines()[0])
    assert command[0] == "ldx" and command[-2:] == ["--ckpt_path", "last"]
    assert run(command[1:], tmp_path).status == 0
    straight = tmp_path / "straight"
    assert run(["fit", *PHANTOM, *LONG, "--run_folder", str(straight)], tmp_path).status == 0
    ours, theirs = weights(stopped), weights(straight)
    assert ours["global_step"] == theirs["global_step"] == 150
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert all(torch.equal(value, theirs["state_dict"][name]) for name, value in ours["state_dict"].items())


@pytest.fixture(scope="module")
def fitted_on_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    outcome = run(["fit", *PHANTOM, *TWO, "--trainer.max_steps=4", "--run_folder", str(folder)], folder.parent)
    assert outcome.status == 0, outcome.err
    assert weights(folder)["global_step"] == 4
    assert len(list((folder / "logs").iterdir())) == 1
    return folder


def measure(run_folder: Path, *options: str) -> Path:
    """Test one image a step: a convolution rounds float32 differently in batches of another size (5e-5 px seen)."""
    options = ("--data.eval_batch_size=1", *options)
    outcome = run(["test", *PHANTOM, *options, "--run_folder", str(run_folder)], run_folder.parent)
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("Results in") == 1
    return (run_folder / "test").rename(run_folder / f"test{len(list(run_folder.glob('test*')))}")


def test_two_processes_measure_what_one_does(fitted_on_two: Path) -> None:
    """Five images on two processes: Lightning's own sampler would count one of them twice."""
    two, one = measure(fitted_on_two, *TWO), measure(fitted_on_two)
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (one, two)]
    assert names[0] == names[1]
    for name in ("predictions.csv", "predictions_single_step.csv"):
        ours, theirs = read_rows(two / name), read_rows(one / name)
        assert [(row["image_id"], row["landmark"]) for row in ours] == [
            (row["image_id"], row["landmark"]) for row in theirs
        ]
        assert len({row["image_id"] for row in ours}) == COUNT[2]
        assert np.abs(column(ours, "x", "y", "error") - column(theirs, "x", "y", "error")).max() <= 2e-6
    found = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    for variant, metrics in found[0]["variants"].items():
        other = found[1]["variants"][variant]
        assert other["mre"] == pytest.approx(metrics["mre"], abs=1e-6)
        assert other["sdr"] == pytest.approx(metrics["sdr"], abs=1e-6)
        assert (other["images"], other["points"]) == (metrics["images"], metrics["points"])


def test_one_image_on_two_processes(fitted_on_two: Path) -> None:
    folder = measure(fitted_on_two, *TWO, "--data.dataset_options.count=[4,1,1]")
    assert {row["image_id"] for row in read_rows(folder / "predictions.csv")} == {"phantom_test_000000"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["variants"]["multi-step"]["images"] == 1


def test_weights_and_biases_works_without_account_and_network(tmp_path: Path) -> None:
    """Offline: a key or a network would be asked for otherwise; metrics and pictures lie in the run folder."""
    folder, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    surroundings = {"HOME": str(home), "WANDB_API_KEY": "", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    options = [*PHANTOM, "--run_folder", str(folder), "--wandb", "offline"]
    for arguments in (["fit", *options, "--trainer.max_steps=2", "--trainer.log_every_n_steps=1"], ["test", *options]):
        outcome = run(arguments, tmp_path, **surroundings)
        assert outcome.status == 0, outcome.err
        assert "Images sizes do not match" not in outcome.err
    files = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime)
    assert len(files) == 2
    assert len({path.stem for path in files}) == 1  # test belongs to the run that fit began
    curves, results = map(history_keys, files)
    assert {"train/loss", "val/mre"} <= curves.keys()
    metrics = json.loads((folder / "test" / "metrics.json").read_text())
    assert float(results["test/mre"]) == pytest.approx(metrics["variants"]["multi-step"]["mre"], rel=1e-6)
    assert "test/table" in results
    for picture in ("overlay_1_best", "process_1_best", "landmark_errors"):
        assert f"test/report/{picture}" in results
    pictures = {path.stat().st_size for path in files[1].parent.rglob("*.png")}
    written = {path.stat().st_size for path in (folder / "test" / "report").glob("*.png")}
    assert pictures == written


def test_two_processes_train_several_labelled_sets(tmp_path: Path) -> None:
    """Each process has batches of one set: the weights of a set that no process sees in a step have no gradient."""
    more = "[{dataset: phantom, name: more, dataset_options: {count: [3, 1, 1], image_size: [96, 120], seed: 5}}]"
    network = '{"class_path": "GU2Net", "init_args": {"channels": [4, 8, 8], "auxiliary": [12]}}'
    arguments = [
        *("fit", "--config", "rival_gu2net_small.yaml", "--data.dataset=phantom", "--data.split=null", *TWO),
        *("--data.dataset_options.count=[4,2,2]", "--data.size=[32,40]", "--data.batch_size=2"),
        *("--data.auxiliary", more, "--trainer.max_steps=4", "--data.samples_per_epoch=16"),
        *("--data.mixing.batches=one_set", "--data.mixing.balance=set", "--model.network", network),
    ]  # fmt: skip
    refused = run([*arguments, "--run_folder", str(tmp_path / "refused")], tmp_path)
    assert refused.status == 1 and "ddp_find_unused_parameters_true" in refused.err and "Traceback" not in refused.err
    folder = tmp_path / "run"
    done = run(
        [*arguments, "--trainer.strategy=ddp_find_unused_parameters_true", "--run_folder", str(folder)], tmp_path
    )
    assert done.status == 0, done.err
    found = weights(folder)
    assert found["global_step"] == 4
    assert all(value.isfinite().all() for value in found["state_dict"].values())

"""``ldx fewshot`` as a user meets it, in this process with fake cells, and once for real."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from landmark_diffusion.cli import fewshot_verb, main
from landmark_diffusion.cli.fewshot_verb import parse_arguments
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.studies.fewshot.results import read_results
from landmark_diffusion.studies.trainings import runner
from landmark_diffusion.studies.trainings.claims import acquire
from landmark_diffusion.studies.trainings.results import RESULT, cell_folder
from tests.end_to_end.console import run, start
from tests.studies.fewshot.grid import FAKE, trace, wait_until, write_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A grid on phantoms whose cells are fakes."""
    monkeypatch.setattr(runner, "CHILD", FAKE)
    monkeypatch.setattr(fewshot_verb, "check_before", lambda plan, manifest: None)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    return write_config(tmp_path, draws=1)


def test_arguments_are_divided_and_keep_their_texts() -> None:
    line = "--config c --data.root 001 --model.optimisation.learning_rate=0.1 --set draws=2 --set fewshot.n=[1,2]"
    more = ["--folder", "f", "--set", "data.size=[8,8]", "--cell", "3"]
    arguments, cell_options, changes = parse_arguments([*line.split(), *more])
    assert (arguments.config, arguments.cell) == (["c"], "3")
    assert cell_options == {"data.root": "001", "model.optimisation.learning_rate": 0.1, "data.size": [8, 8]}
    assert changes == {"folder": "f", "draws": 2, "n": [1, 2]}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--confg", "x"], "unknown option '--confg'. Did you mean --config?"),
        (["--run_folder", "x"], "unknown option '--run_folder'"),
        (["--data.root"], "--data.root needs a value"),
        (["stray"], "unknown argument 'stray'"),
        (["--set", "draws"], "expected KEY=VALUE"),
    ],
)
def test_what_is_mistyped_is_told(typed: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        parse_arguments(typed)


def test_a_grid_ends_with_its_table_and_where_it_lies(config: Path, capfd: pytest.CaptureFixture) -> None:
    assert main(["fewshot", "--config", str(config)]) == 0
    out = capfd.readouterr().out
    assert "1/2 scratch-n1-d0: finished" in out and "2/2 scratch-n3-d0: finished" in out
    assert "Few labels: phantom" in out
    assert "summary.md, summary.csv, cells.csv" in out
    summary = (config.parent / "grid" / "summary.md").read_text()
    assert "30 / 5 / 7; test images are measured" in summary
    assert main(["fewshot", "--config", str(config), "--list"]) == 0
    assert capfd.readouterr().out.splitlines()[1].split() == ["2", "scratch-n3-d0", "finished"]
    assert main(["fewshot", "--config", str(config), "--only-summary"]) == 0


def test_starts_stand_in_the_order_of_the_config(config: Path) -> None:
    starts = {
        "scratch": {},
        "wide": {"model.optimisation.learning_rate": 0.01},
        "early": {"model.optimisation.learning_rate": 0.1},
    }
    config = write_config(config.parent, starts=starts, n=[1])
    assert main(["fewshot", "--config", str(config)]) == 0
    rows = (config.parent / "grid" / "summary.csv").read_text().splitlines()[1:]
    assert list(dict.fromkeys(row.split(",")[0] for row in rows)) == ["scratch", "wide", "early"]


def test_one_cell_alone(config: Path, capfd: pytest.CaptureFixture) -> None:
    assert main(["fewshot", "--config", str(config), "--cell", "2"]) == 0
    assert trace(config.parent / "grid") == ["began scratch-n3-d0", "ended scratch-n3-d0"]
    assert main(["fewshot", "--config", str(config), "--cell", "scratch-n4-d0"]) == 1
    assert "Did you mean scratch-n" in capfd.readouterr().err


def test_failed_and_foreign_cells_are_told_and_set_the_exit_status(
    config: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "scratch-n3-d0")
    claim = acquire(cell_folder(config.parent / "grid", "scratch-n1-d0"))
    assert main(["fewshot", "--config", str(config)]) == 1
    told = capfd.readouterr()
    assert "1 of 2 cells failed: scratch-n3-d0" in told.err
    assert "scratch-n1-d0 is still run by process" in told.out
    claim.release("stopped")
    assert main(["fewshot", "--config", str(config)]) == 1
    assert "Few labels: phantom" in capfd.readouterr().out  # what is finished is summed up all the same
    monkeypatch.delenv("FAKE_FAIL")
    assert main(["fewshot", "--config", str(config)]) == 0


def test_commands_can_be_read_before_anything_is_run(config: Path, capfd: pytest.CaptureFixture) -> None:
    assert main(["fewshot", "--config", str(config), "--print-command", "--cell", "1"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "# scratch-n1-d0"
    assert [line.split()[1] for line in lines[1:]] == ["fit", "test", "test"]
    assert '"phantom_train_0000' in lines[1]
    assert not (config.parent / "grid").exists()


def test_without_validation_images_best_is_skipped_with_a_word(config: Path, capfd: pytest.CaptureFixture) -> None:
    options = ["--set", "data.dataset_options.count=[30,0,7]"]
    assert main(["fewshot", "--config", str(config), "--cell", "1", *options]) == 0
    assert "`best` is skipped" in capfd.readouterr().out
    assert [result.checkpoint for result in read_results(config.parent / "grid")] == ["last"]
    assert main(["fewshot", "--config", str(config), "--set", "stage=val", *options]) == 1
    assert "the val part of phantom is empty" in capfd.readouterr().err


@pytest.mark.parametrize("place", ["starts", "options"])
def test_pseudo_labels_of_all_images_are_refused_before_any_cell(
    config: Path, capfd: pytest.CaptureFixture, place: str
) -> None:
    pseudo = {"data.pseudo_labels.rounds": [0.5]}
    changes = {"options": pseudo} if place == "options" else {"starts": {"scratch": {}, "more": pseudo}}
    assert main(["fewshot", "--config", str(write_config(config.parent, n=[3, 30], **changes))]) == 1
    message = capfd.readouterr().err
    name = "scratch" if place == "options" else "more"
    assert f"the cell {name}-n30-d0: data.pseudo_labels.rounds needs images without labels" in message
    assert f"take 30 out of fewshot.n, or give fewshot.starts.{name} its own n" in message
    assert not (config.parent / "grid").exists()
    assert main(["fewshot", "--config", str(write_config(config.parent, n=[3, 31], **changes))]) == 1
    assert "found 31, but the training part has 30 images" in capfd.readouterr().err
    if place == "starts":
        changes["starts"]["more"] = {**pseudo, "n": [3]}
        assert main(["fewshot", "--config", str(write_config(config.parent, n=[3, 30], draws=1, **changes))]) == 0


def test_nothing_to_sum_up_is_told(config: Path, capfd: pytest.CaptureFixture) -> None:
    assert main(["fewshot", "--config", str(config), "--only-summary"]) == 1
    assert "no cell was run there yet" in capfd.readouterr().err


def test_checkpoints_left_by_a_kill_are_removed_at_the_next_start(config: Path) -> None:
    main(["fewshot", "--config", str(config), "--cell", "1"])
    left = cell_folder(config.parent / "grid", "scratch-n1-d0") / "checkpoints"
    left.mkdir()
    main(["fewshot", "--config", str(config), "--cell", "1"])
    assert not left.exists()


NETWORK = """
seed_everything: 0
trainer: {max_steps: 120, check_val_every_n_epoch: 5, precision: 32-true, accelerator: cpu}
data: {dataset: phantom, dataset_options: {count: [6, 2, 3]}, size: [32, 40], batch_size: 2, eval_batch_size: 1}
model:
  class_path: HeatmapFinetuneModule
  init_args:
    network:
      class_path: UNet
      init_args:
        encoder_channels: [8, 16]
        decoder_channels: [16, 8]
        attention_factors: []
        blocks_per_level: 1
    target: {kind: one_hot, loss: spatial_ce}
    optimisation: {warmup_steps: 2, ema_decay: 0.9}
"""


@pytest.mark.slow
def test_a_real_grid_that_was_stopped_and_killed_gives_the_table_of_an_undisturbed_one(tmp_path: Path) -> None:
    write_config(tmp_path, n=[2], draws=2, stage="val")
    (tmp_path / "cell.yaml").write_text(NETWORK)
    arguments = ["fewshot", "--config", "fewshot.yaml", "--set", "data.samples_per_epoch=4"]
    assert run([*arguments, "--folder", "straight"], tmp_path).status == 0

    def stop(number: signal.Signals, cell: str) -> tuple[int, str]:
        process = start(arguments, tmp_path)
        wait_until(lambda: (tmp_path / "grid" / "cells" / cell / "checkpoints" / "last.ckpt").is_file(), 120)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    status, err = stop(signal.SIGINT, "scratch-n2-d0")
    assert status == 130 and "Traceback" not in err
    assert "stopped; go on with: ldx fewshot --config fewshot.yaml" in err
    assert "go on with" in (tmp_path / "grid" / "cells" / "scratch-n2-d0" / "log.txt").read_text()
    assert stop(signal.SIGKILL, "scratch-n2-d1")[0] == -signal.SIGKILL
    outcome = run(arguments, tmp_path)
    assert outcome.status == 0, outcome.err
    assert "2/2 scratch-n2-d1: finished" in outcome.out and "scratch-n2-d0: finished" not in outcome.out
    for cell in ("scratch-n2-d0", "scratch-n2-d1"):
        ours, theirs = (tmp_path / grid / "cells" / cell for grid in ("grid", "straight"))
        assert "continuing from" in (ours / "log.txt").read_text()
        found = [json.loads((folder / RESULT).read_text())["checkpoints"] for folder in (ours, theirs)]
        assert found[0] == found[1]
        for name in ("predictions_best.csv", "predictions_last.csv"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    table = [(tmp_path / folder / "summary.md").read_text() for folder in ("grid", "straight")]
    assert table[0] == table[1]


@pytest.mark.slow
def test_a_misspelt_option_is_told_before_any_cell_is_run(tmp_path: Path) -> None:
    write_config(tmp_path, starts={"scratch": {}, "other": {"model.learning_rat": 1}})
    (tmp_path / "cell.yaml").write_text(NETWORK)
    outcome = run(["fewshot", "--config", "fewshot.yaml"], tmp_path)
    assert outcome.status == 1
    assert "learning_rate" in outcome.err and "Traceback" not in outcome.err
    assert not (tmp_path / "grid" / "cells").exists() and not (tmp_path / "grid" / "manifest.json").exists()

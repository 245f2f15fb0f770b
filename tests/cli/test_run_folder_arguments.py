"""A run folder stands for the config in it, and only where a run is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from landmark_diffusion.cli import main
from landmark_diffusion.cli.run_folder_arguments import expanded_run_folder
from landmark_diffusion.core.errors import UserError

Ldx = Callable[[str], int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "x" / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "config.yaml").write_text("seed_everything: 1\n")
    (tmp_path / "runs" / "x" / "checkpoints" / "best.ckpt").touch()
    return "runs/x"


def test_a_folder_stands_for_its_config_and_itself(run: str) -> None:
    own = ["--config", "runs/x/config.yaml"]
    assert expanded_run_folder("test", [run, "--pictures", "0"]) == [*own, "--run_folder", run, "--pictures", "0"]
    behind = ["--data.root", "xrays"]
    assert expanded_run_folder("test", [*behind, run]) == [*own, "--run_folder", run, *behind]
    for given in (["--run_folder", run], [f"--run_folder={run}"]):
        assert expanded_run_folder("predict", given) == [*own, *given]
        assert expanded_run_folder("fit", [*given, "--ckpt_path", "last"]) == [*own, *given, "--ckpt_path", "last"]
    more = ["--config", "ddp.yaml"]  # on top of the run's own
    assert expanded_run_folder("test", [run, *more]) == [*own, "--run_folder", run, *more]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("test", ["--config", "a.yaml", "--run_folder", "runs/x"]),  # the user's own config counts alone, as ever
        ("fit", ["--run_folder", "runs/x"]),  # a new run without a config
        ("test", ["--data.root", "runs/x"]),  # an option's value
        ("test", ["--run_folder", "elsewhere", "--model", "PositionDiffusionModule"]),
        ("test", []),
    ],
)
def test_other_arguments_stay(run: str, verb: str, arguments: list[str]) -> None:
    assert expanded_run_folder(verb, arguments) == arguments


@pytest.mark.parametrize(
    ("verb", "arguments", "said"),
    [
        ("test", ["runs/y"], r"found 'runs/y', expected an option, .* Runs with checkpoints: runs/x\."),
        ("test", ["runs"], r"runs holds no config\.yaml, .* Runs with checkpoints: runs/x\."),
        ("test", ["--run_folder", "runs/y"], r"runs/y holds no config\.yaml, .* Runs with checkpoints: runs/x\."),
        ("test", ["runs/x", "--run_folder=runs/y"], "beside --run_folder, expected one of them"),
        ("fit", ["runs/x"], "go on with its run by --ckpt_path last, or begin a new one by --config NAME"),
    ],
)
def test_what_is_no_run(run: str, verb: str, arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        expanded_run_folder(verb, arguments)


def test_a_wrong_folder_is_told_before_the_heavy_import(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "landmark_diffusion.cli.lightning_cli", None)  # an import would fail
    assert main(["test", "runs/y"]) == 1
    assert "found 'runs/y'" in capsys.readouterr().err


def test_fit_ends_with_the_next_commands_and_test_takes_the_runs_config(
    ldx: Ldx, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ldx("fit --config tiny.yaml --run_folder runs/mine --model.channels 6") == 0
    out = capsys.readouterr().out
    assert "fit: the best weights are runs/mine/checkpoints/best.ckpt (val/mre " in out
    assert ldx("test runs/mine") == 0  # the tiny model's channels are in the run's config alone
    out = capsys.readouterr().out
    assert "test: using the config runs/mine/config.yaml" in out
    assert "test: using the checkpoint runs/mine/checkpoints/best.ckpt" in out
    assert ldx("test --run_folder runs/mine --model.channels 7") == 1  # options on top still count
    assert "model.init_args.channels: 6 in the checkpoint, 7 in the config" in capsys.readouterr().err


def test_results_of_a_model_file_have_a_folder_of_their_own(tmp_path: Path) -> None:
    from landmark_diffusion.cli.checkpoint_choice import default_run_folder

    hub = tmp_path / "my_xrays"
    hub.mkdir()
    (hub / "model.safetensors").touch()
    assert default_run_folder(["/tmp/x/my_xrays.yaml"], "", str(hub)) == "runs/my_xrays.ldx"
    assert default_run_folder(["/tmp/x/my_xrays.yaml"], "", "weights/my_xrays.ldx") == "runs/my_xrays.ldx"
    assert default_run_folder(["ceph.yaml"], "", "best") == "runs/ceph"
    assert default_run_folder(["runs/my_xrays/config.yaml"], "", None) == "runs/my_xrays"  # not runs/config for all
    assert default_run_folder([], "a.b.TinyModel") == "runs/TinyModel"

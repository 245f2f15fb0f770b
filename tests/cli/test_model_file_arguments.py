"""``ldx test x.ldx`` is ``ldx test`` with the config in the file, and only where a model is meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from landmark_diffusion.cli import main
from landmark_diffusion.cli.compatibility import read_content
from landmark_diffusion.cli.model_file_arguments import as_typed, expanded_model_file
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.export.hub import write_hub_folder
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from tests.options import nested

FACTS = ModelFacts(
    class_path="DiffusionHeatmapModule",
    model=nested({
        "num_landmarks": 12, "diffusion": False,
        "network.encoder_channels": [8, 16], "network.decoder_channels": [16, 8],
    }),
    landmark_names=(), data={"dataset": "phantom", "size": [32, 40]}, updates=6, seed=0, precision="32-true",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    write_model_file(Path("weights/x.ldx"), FACTS, {})
    return "weights/x.ldx"


@pytest.mark.parametrize("before", [[], ["--data.size=[16,16]"], ["--data.root", "here"]])
def test_a_model_stands_for_its_config_and_its_weights(model: str, before: list[str]) -> None:
    with expanded_model_file("test", [*before, model, "--pictures", "0"]) as arguments:
        option, config, *rest = arguments
        assert option == "--config"
        assert rest == ["--ckpt_path", model, *before, "--pictures", "0"]  # what the user gives comes last and wins
        inside = FACTS.config() | {"trainer": {"precision": "auto"}}  # the file's 32-true lies with the checkpoint
        assert yaml.safe_load(Path(config).read_text()) == inside
        assert read_content(Path(model)).precision == "32-true"
        assert as_typed(["test", *arguments]) == ["test", model, *before, "--pictures", "0"]
    assert not Path(config).parent.exists()


def test_a_hub_folder_stands_for_them_too(model: str) -> None:
    # more weights than a folder itself has bytes
    network = {"encoder_channels": [128, 256], "decoder_channels": [256, 128], "attention_factors": []}
    facts = replace(FACTS, model={**FACTS.model, "network": {"class_path": "UNet", "init_args": network}})
    write_hub_folder(Path("hub"), facts, {"some.weight": torch.zeros(2_000_000)})
    with expanded_model_file("test", ["hub"]) as arguments:
        assert arguments[2:] == ["--ckpt_path", "hub"]
        assert read_content(Path("hub")).precision == "32-true"


@pytest.mark.parametrize(
    "arguments", [[], ["--config", "a.yaml"], ["--ckpt_path", "x.ldx"], ["--ckpt_path=x.ldx"], ["x.ckpt"]]
)
def test_other_arguments_stay(arguments: list[str]) -> None:
    """Also a model as an option's value, with a config of the user's own."""
    for verb in ("fit", "test"):
        with expanded_model_file(verb, arguments) as expanded:
            assert expanded == arguments
            assert as_typed([verb, *expanded]) == [verb, *arguments]


def test_training_from_it_is_refused(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", model]) == 1
    assert "no state of the optimiser, so no training can go on from it" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["y.ldx", "--ckpt_path=best", "--ckpt_path best"])
def test_two_models_are_refused(model: str, other: str) -> None:
    with (
        pytest.raises(UserError, match="beside another model or --ckpt_path"),
        expanded_model_file("test", [model, *other.split()]),
    ):
        pass


def test_a_missing_or_broken_model_is_told_before_anything_is_imported(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "weights/y.ldx"]) == 1
    assert "weights/y.ldx: found nothing" in capsys.readouterr().err
    Path(model).write_bytes(Path(model).read_bytes()[:50])
    assert main(["predict", model]) == 1
    assert "weights/x.ldx: found a file of 50 bytes" in capsys.readouterr().err


def test_a_fault_in_its_config_names_the_model(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as an option that a later version of the package has no more."""
    stale = ModelFacts(**{**vars(FACTS), "model": {"num_landmarks": 12, "spin": 3}})
    write_model_file(Path(model), stale, {}, overwrite=True)
    assert main(["test", model]) == 1
    err = capsys.readouterr().err
    assert "weights/x.ldx (the config in it):" in err and "unknown option spin of DiffusionHeatmapModule" in err
    assert "ldx_model_" not in err


def test_a_model_that_is_not_there_is_told_with_those_beside_it(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", "phantom_baseline.yaml", "--ckpt_path", "weights/y.ldx"]) == 1
    error = capsys.readouterr().err
    assert "--ckpt_path weights/y.ldx: no such file." in error and "weights/x.ldx" in error

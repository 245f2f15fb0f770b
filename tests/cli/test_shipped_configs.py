"""Every config that is shipped is accepted by the real classes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from landmark_diffusion.cli import main
from landmark_diffusion.configuration.config_files import describe, installed_configs
from landmark_diffusion.methods import METHODS

METHOD = {  # config -> its method
    path: content["model"]["class_path"]
    for path in installed_configs()
    if "model" in (content := yaml.safe_load(path.read_text()))
}
ONE_EACH = {method: path for path, method in METHOD.items()}.values()


def test_each_is_listed_with_a_whole_sentence_and_no_more() -> None:
    """A sentence that lacks its full stop would take the next line of the comment along, or a part of it."""
    for path in installed_configs():
        lines = [line.lstrip("# ") for line in path.read_text().splitlines()[:6] if line.startswith("#")]
        told = describe(path)
        assert told and " ".join(lines).startswith(told), path.name
        assert not any(word in told for word in ("Section numbers", "Paper A:", "model.image_range", ". ")), path.name
        assert told.count("(") == told.count(")") and len(told) < 230, path.name


@pytest.mark.parametrize("path", METHOD, ids=lambda path: path.stem)
def test_config_parses_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _strategy(["--config", path.name], capsys) == "auto"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path not in ONE_EACH)) for path in METHOD],
    ids=lambda path: path.stem,
)
def test_config_parses_with_ddp(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _strategy(["--config", path.name, "--config", "ddp.yaml"], capsys) == "ddp"


def _strategy(configs: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *configs, "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["class_path"].rsplit(".", 1)[-1] in METHODS.built_in
    strategy: str = printed["trainer"]["strategy"]
    return strategy


def test_misspelt_option_of_the_real_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options that the class passes on to its base are known too."""
    monkeypatch.chdir(tmp_path)
    for typed, meant in (("optimisation.learning_rat", "learning_rate"), ("sampling.step", "steps")):
        assert main(["fit", "--config", "phantom_diffusion_paper_a.yaml", f"--model.{typed}", "1"]) == 1
        assert f"Did you mean {meant}" in capsys.readouterr().err
    assert "torch" in sys.modules


def test_a_grid_given_to_fit_is_told_its_own_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "ceph_fewshot.yaml"]) == 1
    assert "unknown section fewshot. It is for `ldx fewshot --config`" in capsys.readouterr().err

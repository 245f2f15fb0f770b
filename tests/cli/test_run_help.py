"""`ldx fit --help` is one page, ours first, and holds what the parser knows."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest
from lightning.pytorch.cli import LightningArgumentParser

from landmark_diffusion.cli import main
from landmark_diffusion.cli.lightning_cli import LdxCLI
from landmark_diffusion.cli.run_help import TRAINER, run_help
from landmark_diffusion.cli.trainer_checks import trainer_options
from landmark_diffusion.cli.verbs import RUN_VERBS
from landmark_diffusion.core.classes import subclasses
from landmark_diffusion.finders.method import Method
from landmark_diffusion.methods import METHODS, import_methods
from landmark_diffusion.methods.training import TrainedModule
from landmark_diffusion.training.datamodule import LandmarkDataModule
from tests.cli.test_entry import HEAVY


def named(page: str) -> set[str]:
    """Options of a page, those that share a line too."""
    found: set[str] = set()
    for line in re.findall(r"^  --(.*?)(?:   .*)?$", page, re.MULTILINE):
        section, dot, rest = line.partition(".")
        found |= {f"{section}.{name}" for name in rest.split(", ")} if dot else {line.split(" ")[0]}
    return found


def own_options() -> set[str]:
    """What LdxCLI adds to each verb."""
    parser = LightningArgumentParser(exit_on_error=False)
    LdxCLI.add_default_arguments_to_parser(object.__new__(LdxCLI), parser)
    return {action.dest for action in parser._actions if action.option_strings} - {"help", "config", "print_config"}


@pytest.mark.parametrize("verb", RUN_VERBS)
def test_a_page_that_can_be_read(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert main([verb, "--config", "nope", "-h"]) == 0
    assert capsys.readouterr().out == shown == run_help(verb)
    lines = shown.splitlines()
    assert len(lines) <= 120 and max(map(len, lines)) <= 110
    assert "--help=all" in shown and f"  ldx {verb} --config" in shown


def test_it_names_the_options_that_there_are() -> None:
    of_fit = named(run_help("fit"))
    data = {f"data.{name}" for name in inspect.signature(LandmarkDataModule).parameters}
    assert data <= of_fit
    assert {f"model.{name}" for name in inspect.signature(Method).parameters} <= of_fit
    assert {f"trainer.{name}" for name in TRAINER} <= of_fit and set(TRAINER) <= set(trainer_options())
    pages = {verb: named(run_help(verb)) for verb in RUN_VERBS}
    assert own_options() <= set().union(*pages.values())
    assert "pictures" in pages["test"] and "pictures" not in pages["fit"]
    assert "snapshots" in pages["fit"] and "snapshots" not in pages["test"]
    assert {"protocols"} <= pages["test"] & pages["validate"]
    assert {"config", "ckpt_path", "print_config", "allow_classes", "run_folder"} <= set.intersection(*pages.values())


def test_it_names_every_method() -> None:
    import_methods()
    own = {cls.__name__ for cls in subclasses(TrainedModule) if cls.__module__.startswith("landmark_diffusion.")}
    assert set(METHODS.built_in) == own - {"LandmarkModule", "EncoderPretrainModule"}  # bases of some of them


def test_defaults_are_those_of_the_code() -> None:
    page = " ".join(run_help("fit").split())
    for name, parameter in inspect.signature(LandmarkDataModule).parameters.items():
        if parameter.default not in (None, False):
            text = page.split(f"--data.{name} ")[1].split(" --")[0]
            assert f"(default {parameter.default!r})" in text


def test_it_imports_nothing_heavy() -> None:
    code = f"""
import sys
from landmark_diffusion.cli import main
assert main(["fit", "--help"]) == 0
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

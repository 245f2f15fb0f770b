"""Configs are found by name, listed, printed and copied without loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_diffusion.cli import main
from landmark_diffusion.configuration.config_files import (
    config_paths,
    describe,
    find_config,
    installed_configs,
    installed_folder,
    resolve_config_arguments,
)
from landmark_diffusion.core.errors import UserError


def test_current_folder_wins_over_the_installed(folder: Path) -> None:
    installed = installed_folder() / "phantom_diffusion.yaml"
    assert find_config("phantom_diffusion.yaml") == installed
    (folder / "phantom_diffusion.yaml").write_text("# mine")
    assert find_config("phantom_diffusion.yaml").resolve() == (folder / "phantom_diffusion.yaml").resolve()


def test_suffix_may_be_left_out(folder: Path) -> None:
    assert find_config("tiny") == Path("tiny.yaml")
    assert find_config("ddp").name == "ddp.yaml"


@pytest.mark.parametrize("typed", ["phantom_difusion.yaml", "phantom_difusion", "PHANTOM_DIFFUSION.YML"])
def test_unknown_config_names_the_nearest_first(folder: Path, typed: str) -> None:
    with pytest.raises(UserError, match=r"Did you mean phantom_diffusion\.yaml"):
        find_config(typed)


def test_unknown_path_names_its_neighbour_not_the_installed_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "mine.yaml").write_text("")
    with pytest.raises(UserError, match=r"Did you mean sub/mine\.yaml"):
        find_config("sub/mien.yaml")


def test_every_spelling_of_the_option_is_resolved(folder: Path) -> None:
    arguments = ["--config", "tiny", "-c", "ddp", "--config=tiny.yaml", "--data.root", "x"]
    resolved = resolve_config_arguments(arguments)
    ddp = installed_folder() / "ddp.yaml"
    assert resolved == ["--config", "tiny.yaml", "-c", str(ddp), "--config=tiny.yaml", "--data.root", "x"]
    assert config_paths(resolved) == [Path("tiny.yaml"), ddp, Path("tiny.yaml")]


def test_option_without_value(folder: Path) -> None:
    with pytest.raises(UserError, match="needs a value"):
        resolve_config_arguments(["--config"])


def test_list_has_a_described_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(installed_configs()) >= 8
    for path in installed_configs():
        assert len(describe(path)) > 20, f"{path.name} needs a first comment line that says what it is"
        assert any(line.startswith(path.name) and line.endswith(describe(path)) for line in lines)


def test_print_gives_the_very_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "ddp"]) == 0
    assert capsys.readouterr().out == (installed_folder() / "ddp.yaml").read_text()


def test_copy_never_overwrites(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "--copy", "ddp.yaml"]) == 0
    assert (folder / "ddp.yaml").read_text() == (installed_folder() / "ddp.yaml").read_text()
    (folder / "ddp.yaml").write_text("# mine")
    assert main(["configs", "--copy", "ddp.yaml"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (folder / "ddp.yaml").read_text() == "# mine"

"""A config of one dataset, used with another, keeps nothing that only the first one knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from landmark_diffusion.cli import main
from landmark_diffusion.configuration.config_files import find_config
from landmark_diffusion.configuration.own_split import foreign_options, foreign_words, sources_of

ISBI = {"data.dataset": "isbi2015", "data.split": "official", "data.dataset_options.require_all": False}
FOLDER = {"data.dataset": "folder"}


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ([ISBI], {}),
        ([ISBI, {}], {}),
        ([ISBI, FOLDER], {"data.split": "isbi2015", "data.dataset_options.require_all": "isbi2015"}),
        ([ISBI, {**FOLDER, "data.split": "seeded"}], {"data.dataset_options.require_all": "isbi2015"}),
        ([ISBI, {"data.split": "development"}], {}),  # said for what was there
        ([ISBI, FOLDER, {"data.split": "auto"}], {"data.dataset_options.require_all": "isbi2015"}),
        ([ISBI, {"data.dataset": "hand"}], {"data.split": "isbi2015"}),  # hands have require_all too
        ([ISBI, FOLDER, {"data.dataset": "isbi2015"}], {}),
        ([{"data.split": "auto"}, FOLDER], {}),  # a part of a config, for no dataset in particular
        ([ISBI, {"data.dataset": "foldr"}], {"data.split": "isbi2015"}),  # the misspelling is told by the data module
    ],
)
def test_what_was_said_for_another_dataset(sources: list[dict], found: dict) -> None:
    assert foreign_options(sources) == found


def test_the_command_line_is_a_source_behind_the_configs() -> None:
    path = find_config("ceph_diffusion_small.yaml")
    line = ["--config", str(path), "--data.dataset=folder", "--data.split", "folds:5/1"]
    assert sources_of(line)[-1] == {"data.dataset": "folder", "data.split": "folds:5/1"}
    assert foreign_options(sources_of(line)) == {}
    foreign = foreign_options(sources_of(line[:3]))
    assert foreign == {"data.split": "isbi2015"}
    first, second = foreign_words(foreign, "folder", [path])
    assert first.startswith("data.split of the config is for isbi2015 and left out: folder takes its own default split")
    assert second == "folder_diffusion_small.yaml is made for the dataset folder"


@pytest.mark.parametrize("config", ["ceph_diffusion_small.yaml", "phantom_diffusion.yaml"])
def test_configs_of_other_datasets_reach_ones_own_images(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They came to "split: found 'official'" and "no option 'count'"; now to the folder, which is empty here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    assert main(["fit", "--config", config, "--data.dataset", "folder", "--data.root", "own"]) == 1
    captured = capsys.readouterr()
    assert "no CSV file in this folder" in captured.err
    assert "of the config is for " in captured.out and "and left out: folder " in captured.out


def test_shipped_configs_say_their_dataset_beside_its_split() -> None:
    """Else the rule could not tell whose split it is."""
    from landmark_diffusion.configuration.config_files import installed_configs

    for path in installed_configs():
        data = yaml.safe_load(path.read_text()).get("data", {})
        assert "dataset" in data or not {"split", "dataset_options"} & data.keys(), path.name

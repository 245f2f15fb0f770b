"""A model as a folder for a hub: it finds what the file finds, says what it is, and is held to the same limits."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from landmark_diffusion.cli import main
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.export import hub
from landmark_diffusion.export.hub import card_metadata, write_hub_folder
from landmark_diffusion.modelfile import hub_folder
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint
from landmark_diffusion.modelfile.hub_folder import WEIGHTS
from landmark_diffusion.modelfile.model_file import is_model_file, model_in_folder, read_facts
from landmark_diffusion.studies.adapt.places import start_digest
from tests.detection.tiny_model import facts, picture, write_positions

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {"model.safetensors", "config.json", "README.md", "example.py", ".gitattributes"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model file and the folder of it."""
    place = tmp_path_factory.mktemp("hub")
    source = write_positions(place / "mine.ldx", note="For research: ask the *clinic*.")
    assert main(["export", str(source), "--hub", str(place / "mine")]) == 0
    return source, place / "mine"


def test_the_folder_finds_what_the_file_finds(exported: tuple[Path, Path]) -> None:
    source, folder = exported
    assert {path.name for path in folder.iterdir()} == FILES
    file, hubbed = Detector.load(source), Detector.load(folder)
    assert hubbed.model == "mine"
    for seed in range(3):
        ours, theirs = file(picture(seed)), hubbed(picture(seed))
        assert np.array_equal(ours.points, theirs.points)
        assert ours.covariance is not None and theirs.covariance is not None
        assert np.array_equal(ours.covariance, theirs.covariance)


def test_it_is_read_wherever_a_model_file_is(exported: tuple[Path, Path]) -> None:
    source, folder = exported
    assert is_model_file(folder) and read_facts(folder) == read_facts(source)
    file, hubbed = read_checkpoint(source), read_checkpoint(folder)  # the start of a training, an adaptation, a grid
    assert hubbed["hyper_parameters"] == file["hyper_parameters"]
    assert hubbed["state_dict"].keys() == file["state_dict"].keys()
    assert all(torch.equal(value, hubbed["state_dict"][name]) for name, value in file["state_dict"].items())
    assert start_digest(folder) == start_digest(folder / WEIGHTS)


def test_the_command_line_takes_it_as_a_model(exported: tuple[Path, Path], tmp_path: Path) -> None:
    source, folder = exported
    Image.fromarray(picture(5)).save(tmp_path / "x.png")
    found = []
    for model in (source, folder):
        output = tmp_path / model.name
        options = ["--model", str(model), "--output", str(output), "--to", "csv"]
        assert main(["detect", str(tmp_path / "x.png"), *options]) == 0
        lines = (output / "points.csv").read_text().splitlines()
        found.append([line.split(",")[:6] for line in lines])
    assert found[0] == found[1] and len(found[0]) == 4


def test_what_hubs_read_of_it(exported: tuple[Path, Path]) -> None:
    _, folder = exported
    config = json.loads((folder / "config.json").read_text())
    assert config["class_path"] == "PositionDiffusionModule" and config["library_name"] == "landmark_diffusion"
    assert config["landmark_names"] == ["sella", "nasion", "menton"]
    card = pytest.importorskip("huggingface_hub").ModelCard.load(folder / "README.md")  # an independent reader
    assert (card.data.license, card.data.license_name) == ("other", "terms-of-the-training-data")
    assert card.data.pipeline_tag == "keypoint-detection" and "radiograph" in card.data.tags
    assert card.data.eval_results is None and "None came with the export" in card.text
    assert "ldx detect IMAGES --model mine" in card.text and "ask the \\*clinic\\*" in card.text
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert set(file.keys()) == set(read_facts(folder / WEIGHTS).tensors)


def test_only_figures_that_were_measured_are_listed() -> None:
    read = read_facts(REPOSITORY / "weights" / "ceph.ldx")
    (model,) = card_metadata(read, "ceph")["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"name": "isbi2015 official", "type": "isbi2015", "split": "test"}
    values = {each["type"]: each["value"] for each in result["metrics"]}
    assert round(values["mre_mm"], 2) == 1.08 and round(values["sdr_2_mm"], 1) == 86.9  # as weights/ceph.md has them
    assert "model-index" not in card_metadata(facts(), "mine")


def test_the_example_runs_as_it_stands(
    exported: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = exported
    Image.fromarray(picture(1)).save(tmp_path / "x.png")
    monkeypatch.setattr(sys, "argv", ["example.py", str(tmp_path / "x.png")])
    runpy.run_path(str(folder / "example.py"))
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines() if "\t" in line]
    expected = Detector.load(source)(picture(1)).points
    assert [line[3:] for line in lines] == [[mark] if mark else [] for mark in Detector.load(source)(picture(1)).marks]
    lines = [line[:3] for line in lines]
    assert [line[0] for line in lines] == ["sella", "nasion", "menton"]
    assert np.abs(np.array([line[1:] for line in lines], dtype=float) - expected).max() <= 0.005


@pytest.mark.parametrize("arguments", [[], ["nowhere.png"], ["a.png", "b.png"]])
def test_the_example_tells_how_it_is_used(
    arguments: list[str], exported: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["example.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(exported[1] / "example.py"))
    said = str(caught.value)
    assert said.startswith("usage: python example.py IMAGE" if len(arguments) != 1 else "error: nowhere.png")
    assert len(said.splitlines()) == 1


# ---- limits ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(exported: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy to spoil."""
    place = tmp_path / "copy"
    place.mkdir()
    for path in exported[1].iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    return place


def _changed(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_config_of_another_model_is_refused(folder: Path) -> None:
    """Who edits it would believe that it acts."""
    _changed(folder, landmark_names=["a", "b", "c"])
    with pytest.raises(UserError, match=r"config\.json: 'landmark_names' is not what model\.safetensors .*export"):
        Detector.load(folder)


def test_what_a_hub_adds_to_the_config_does_not_matter(folder: Path) -> None:
    _changed(folder, _name_or_path="somebody/mine")
    assert model_in_folder(folder) == folder / WEIGHTS


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("[1]", "a JSON list"), ("{", "is no JSON"), ("[" * 100000, "is no JSON")],
)
def test_a_config_that_is_none_is_refused(text: str | None, words: str, folder: Path) -> None:
    (folder / "config.json").unlink() if text is None else (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=rf"config\.json: .*{words}"):
        Detector.load(folder)


def test_a_huge_config_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_folder, "MAX_CONFIG", 100)
    with pytest.raises(UserError, match=r"config\.json: found \d+ bytes, expected at most 100"):
        Detector.load(folder)


def test_weights_are_held_to_the_limits_of_a_model_file(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match="not those that were written"):
        Detector.load(folder)
    torch.save({"x": torch.zeros(3)}, folder / WEIGHTS)
    with pytest.raises(UserError, match="found a pickle or checkpoint"):
        Detector.load(folder)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found a folder without model\.safetensors, expected .*--hub FOLDER"):
        Detector.load(tmp_path)


def test_a_class_from_outside_is_refused_as_in_a_file(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "x", facts("evil.module.Method"), {"w": torch.zeros(1)})
    with pytest.raises(UserError, match=r"evil"):
        Detector.load(tmp_path / "x")
    assert "evil" not in sys.modules


def test_what_is_there_is_left_as_it_is(exported: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    command = ["export", str(exported[0]), "--hub", str(tmp_path / "mine")]
    assert main(command) == 1
    assert "the folder is not empty and was left as it is" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert {path.name for path in (tmp_path / "mine").iterdir()} == FILES | {"notes.txt"}
    (tmp_path / "file").write_text("mine")
    assert main(["export", str(exported[0]), "--hub", str(tmp_path / "file")]) == 1
    assert "found a file, expected the name of a folder" in capsys.readouterr().err


def test_a_folder_is_whole_or_absent(
    exported: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def fails(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr(hub, "atomic_write_bytes", fails)
    assert main(["export", str(exported[0]), "--hub", str(tmp_path / "a" / "mine")]) == 1
    assert len(written) == 2 and [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_names_that_hold_yaml_stay_texts(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "a: [b", facts(), {"w": torch.zeros(1)})
    text = (tmp_path / "a: [b" / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
